-- Looks an entry up that lies apart from what vouches for it: the first half of
-- a look-up in a namespace that is spread over the slots of a cluster. The
-- caller compares the entry's witness with what vouch answers for its tables.
--
-- KEYS  1 entry, 2 epoch of the entry's part of the namespace, 3 fences of it
-- ARGV  1 token, random per call; empty only looks
--       2 for how many ms a namespace settles that begins anew   3 meta in ms
-- Returns {epoch or "", 1 if fenced else 0, entry or ""}
-- Complexity O(entry + fences).
--
-- Wrong types and garbage under any key count as missing.
local token = ARGV[1]
local info = redis.pcall('INFO', 'replication')
local identity = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or 'none'

local head = redis.call('MGET', KEYS[1], KEYS[2])
local epoch = ''
if head[2] and string.sub(head[2], 1, #identity + 1) == identity .. ':' then
  epoch = string.sub(head[2], #identity + 2)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fields = redis.pcall('HGETALL', KEYS[3])
for j = 1, fields.err and 0 or #fields, 2 do
  if string.sub(fields[j], 1, 2) == 'f:' and (tonumber(fields[j + 1]) or 0) > now then
    return {epoch, 1, head[1] or ''}
  end
end

-- Made anew by each execution, as in acquire.
local fenced = 0
if epoch == '' and token ~= '' then
  epoch = token .. time[1] .. '.' .. time[2]
  redis.call('SET', KEYS[2], identity .. ':' .. epoch)
  local settle = tonumber(ARGV[2])
  if settle > 0 then -- as in acquire
    if fields.err then redis.call('UNLINK', KEYS[3]) end
    redis.call('HSET', KEYS[3], 'f:settle', string.format('%.0f', now + settle))
    redis.call('PEXPIRE', KEYS[3], 2 * math.max(tonumber(ARGV[3]), settle))
    fenced = 1
  end
end
return {epoch, fenced, head[1] or ''}
