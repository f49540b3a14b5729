-- Looks an entry up that lies apart from what vouches for it: the first half of
-- a look-up in a namespace that is spread over the slots of a cluster. The
-- caller compares the entry's witness with what vouch answers for its tables.
--
-- KEYS  1 entry, 2 epoch of the entry's part of the namespace, 3 fences of it
-- ARGV  1 token, random per call; empty only looks
--       2 for how many ms a namespace settles of which invalidations may have been
--         lost; 0: it needn't   3 for how many ms its fences must live at least
--       4 the version of the result that the caller has kept; empty: none
-- Returns {epoch or "", 1 if fenced else 0, entry or ""}; an entry of the version
--       that the caller has ends before its payload
-- Complexity O(entry + fences).
--
-- Wrong types and garbage under any key count as missing.
-- include master
-- include entry
-- include lifetime
local token = ARGV[1]

local head = redis.call('MGET', KEYS[1], KEYS[2])
local epoch = ''
if head[2] and string.sub(head[2], 1, #identity + 1) == identity .. ':' then
  epoch = string.sub(head[2], #identity + 2)
end

local entry = head[1] or ''
if ARGV[4] ~= '' and string.sub(entry, 2, 23) == ARGV[4] then
  local _, payload = result(entry)
  if payload then entry = string.sub(entry, 1, payload - 1) end
end

-- include clock
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
    if not settled then
      if fields.err then
        redis.call('SET', KEYS[3], '')
        redis.call('UNLINK', KEYS[3])
      end
      redis.call('HSET', KEYS[3], 'f:settle', string.format('%.0f', now + settle))
      fenced = 1
    end
    keep(KEYS[3], math.max(tonumber(ARGV[3]), settle))
  end
end
return {epoch, fenced, entry}
