-- Takes a lease on an entry whose dependencies have been registered and vouch
-- for it: the end of a look-up that missed, in a namespace that is spread over
-- the slots of a cluster.
--
-- KEYS  1 entry
-- ARGV  1 token, random per call   2 lease in ms   3 witness
-- Returns as acquire: {1, offset, entry} hit, somebody was faster | {2, lease id}
--       leased | {3, lease id} busy
-- Complexity O(entry).
local token, witness = ARGV[1], ARGV[3]
local entry = redis.pcall('GET', KEYS[1])
if type(entry) == 'string' then
  local prefix = 'V' .. #witness .. ':' .. witness
  if string.sub(entry, 1, #prefix) == prefix and #entry >= #prefix + 22 then return {1, #prefix + 22, entry} end
  local bar = string.sub(entry, 1, 1) == 'L' and string.find(entry, '|', 1, true)
  if bar and string.sub(entry, bar + 1) == witness and string.sub(entry, 2, #token + 1) ~= token then
    return {3, string.sub(entry, 2, bar - 1)}
  end
end
-- Made anew by each execution, as in acquire.
local time = redis.call('TIME')
local id = token .. time[1] .. '.' .. time[2]
redis.call('SET', KEYS[1], 'L' .. id .. '|' .. witness, 'PX', ARGV[2])
return {2, id}
