-- Replaces a lease by its result. Only the lease with this very id is replaced:
-- one that has been dropped by an invalidation, has run out or was taken over
-- is lost, and so is the result. The token of the lease becomes the result's
-- version: a look-up makes it, and its lease is saved once.
--
-- KEYS  1 entry, 2.. sets that the lease made live for longer than the result needs
-- ARGV  1 lease id   2 sum   3 payload   4 ttl in ms
--       5 for how many ms these sets must live
-- Returns 1 stored | 0 the lease is lost
-- Complexity O(payload + sets).
-- include held
-- include trim
local witness = held(KEYS[1], ARGV[1])
if not witness then return 0 end
redis.call('SET', KEYS[1], 'V' .. string.sub(ARGV[1], 1, 22) .. ARGV[2] .. #witness .. ':' .. witness .. ARGV[3], 'PX', ARGV[4])
for i = 2, #KEYS do trim(KEYS[i], ARGV[5]) end
return 1
