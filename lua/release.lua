-- Gives a lease up, so that others need not wait until it runs out.
--
-- KEYS  1 entry
-- ARGV  1 lease id
-- Returns 1 released | 0 it was no longer there
-- Complexity O(1).
-- include held
if not held(KEYS[1], ARGV[1]) then return 0 end
return redis.call('UNLINK', KEYS[1])
