-- Puts rows into a list that has been begun.
--
-- KEYS  1 head
-- ARGV  1 version   2 for how many ms the list is kept
--       3 the number of rows of the whole list, in the last call; empty before
--       4 layout of the rows   5 the place that the list ends at; empty if it has all
--       6.. per row: number, order, row
-- Returns 1 | 0 the list is gone, or filled already: this call came twice
-- Complexity O(rows log n).
-- include list
local version, life = ARGV[1], tonumber(ARGV[2])
if redis.pcall('HGET', KEYS[1], 'v') ~= version or redis.call('HGET', KEYS[1], 's') then return 0 end
local z, r = places(KEYS[1], version), rows(KEYS[1], version)
for i = 6, #ARGV, 3 do
  redis.call('ZADD', z, 0, ARGV[i + 1] .. ARGV[i])
  redis.call('HSET', r, ARGV[i], ARGV[i + 1] .. ARGV[i + 2])
end
-- The head goes first.
redis.call('PEXPIRE', z, life + 1000)
redis.call('PEXPIRE', r, life + 1000)
if ARGV[3] == '' then return 1 end
if not whole(KEYS[1], version, tonumber(ARGV[3])) then
  drop(KEYS[1], version)
  return 0
end
redis.call('HSET', KEYS[1], 's', '1', 'n', ARGV[3], 'l', ARGV[4], 'b', ARGV[5])
redis.call('PEXPIRE', KEYS[1], life)
return 1
