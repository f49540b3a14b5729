-- Looks an entry up that lies apart from what vouches for it: the first half of
-- a look-up in a namespace that is spread over the slots of a cluster. The
-- caller compares the entry's witness with what vouch answers for its tables.
--
-- KEYS  1 entry, 2 epoch of the entry's part of the namespace, 3 fences of it
-- ARGV  1 token, random per call; empty only looks
--       2 for how many ms a namespace settles of which invalidations may have been
--         lost; 0: it needn't   3 meta in ms: how long its fences must live at least
--       4 the version of the result that the caller has kept; empty: none
-- Returns {epoch or "", 1 if fenced else 0, entry or ""}; an entry of the version
--       that the caller has ends before its payload
-- Complexity O(entry + fences).
--
-- Wrong types and garbage under any key count as missing.
local token = ARGV[1]
local info = redis.pcall('INFO', 'replication')
if type(info) ~= 'string' then info = '' end
if string.find(info, 'role:slave', 1, true) then -- as in acquire
  return redis.error_reply('READONLY a replica answers no look-ups')
end
local identity = string.match(info, 'master_replid:(%x+)') or 'none'

local head = redis.call('MGET', KEYS[1], KEYS[2])
local epoch = ''
if head[2] and string.sub(head[2], 1, #identity + 1) == identity .. ':' then
  epoch = string.sub(head[2], #identity + 2)
end

local entry = head[1] or ''
if ARGV[4] ~= '' then
  local size, from = string.match(entry, '^V(%d%d?%d?):()')
  local payload = size and from + tonumber(size) + 22
  if payload and string.sub(entry, payload - 22, payload - 1) == ARGV[4] then entry = string.sub(entry, 1, payload - 1) end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fields = redis.pcall('HGETALL', KEYS[3])
local settled = false
for j = 1, fields.err and 0 or #fields, 2 do
  settled = settled or fields[j] == 'f:settle'
  if string.sub(fields[j], 1, 2) == 'f:' and (tonumber(fields[j + 1]) or 0) > now then
    return {epoch, 1, entry}
  end
end

-- Made anew by each execution, as in acquire.
local fenced, settle = 0, tonumber(ARGV[2])
if token ~= '' then
  if epoch == '' then
    epoch = token .. time[1] .. '.' .. time[2]
    redis.call('SET', KEYS[2], identity .. ':' .. epoch)
    settled = false
  end
  if settle > 0 then -- as in acquire
    local life = math.max(tonumber(ARGV[3]), settle)
    if not settled then
      if fields.err then
        redis.call('SET', KEYS[3], '')
        redis.call('UNLINK', KEYS[3])
      end
      redis.call('HSET', KEYS[3], 'f:settle', string.format('%.0f', now + settle))
      fenced = 1
    end
    if redis.call('PTTL', KEYS[3]) < life then redis.call('PEXPIRE', KEYS[3], 2 * life) end
  end
end
return {epoch, fenced, entry}
