-- Replaces a lease by its result. Only the lease with this very id is replaced:
-- one that has been dropped by an invalidation, has run out or was taken over
-- is lost, and so is the result. The token of the lease becomes the result's
-- version: a look-up makes it, and its lease is saved once.
--
-- KEYS  1 entry
-- ARGV  1 lease id   2 payload   3 ttl in ms
-- Returns 1 stored | 0 the lease is lost
-- Complexity O(payload).
local entry = redis.pcall('GET', KEYS[1])
local prefix = 'L' .. ARGV[1] .. '|'
if type(entry) ~= 'string' or string.sub(entry, 1, #prefix) ~= prefix then return 0 end
local witness = string.sub(entry, #prefix + 1)
redis.call('SET', KEYS[1], 'V' .. #witness .. ':' .. witness .. string.sub(ARGV[1], 1, 22) .. ARGV[2], 'PX', ARGV[3])
return 1
