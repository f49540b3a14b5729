-- Gives a lease up, so that others need not wait until it runs out.
--
-- KEYS  1 entry
-- ARGV  1 lease id
-- Returns 1 released | 0 it was no longer there
-- Complexity O(1).
local entry = redis.pcall('GET', KEYS[1])
local prefix = 'L' .. ARGV[1] .. '|'
if type(entry) ~= 'string' or string.sub(entry, 1, #prefix) ~= prefix then return 0 end
return redis.call('UNLINK', KEYS[1])
