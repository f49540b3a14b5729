-- Takes a lease on an entry whose dependencies have been registered and vouch
-- for it: the end of a look-up that missed, in a namespace that is spread over
-- the slots of a cluster.
--
-- KEYS  1 entry
-- ARGV  1 token, random per call   2 lease in ms   3 witness
-- Returns as acquire: {1, entry} hit, somebody was faster | {2, lease id}
--       leased | {3, lease id} busy
-- Complexity O(entry).
-- include entry
local token, witness = ARGV[1], ARGV[3]
local entry = redis.pcall('GET', KEYS[1])
if type(entry) == 'string' then
  if result(entry) == witness then return {1, entry} end
  local id, of = lease(entry)
  if id and of == witness and string.sub(id, 1, #token) ~= token then return {3, id} end
end
-- Made anew by each execution, as in acquire.
-- include clock
local id = token .. time[1] .. '.' .. time[2]
redis.call('SET', KEYS[1], 'L' .. id .. '|' .. witness, 'PX', ARGV[2])
return {2, id}
