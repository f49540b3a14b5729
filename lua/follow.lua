-- Takes, keeps or gives up the seat of a follower: the right, and the duty, to tell of
-- what others have committed in a database. It keeps the position that is told of in
-- the log, and reads the server's clock.
--
-- KEYS  1 seat
-- ARGV  1 token of the follower   2 for how many ms the seat is its own; 0 gives it up
--       3 position up to which everything has been told; empty: as it was
--       4 what the position is of, for people
--       5 for how many ms the position must be kept
-- Returns {1, position, seconds, microseconds}
--       | {0, position, seconds, microseconds, ms}: the seat is another's for so long
-- Complexity O(1).
--
-- A seat of the wrong type counts as none.
-- include clock
local fields, held = redis.pcall('HGETALL', KEYS[1]), {}
if fields.err then
  redis.call('UNLINK', KEYS[1])
  fields = {}
end
for i = 1, #fields, 2 do held[fields[i]] = fields[i + 1] end
local position = held.position or ''
local left = (tonumber(held['until'] or 0) or 0) - now
if held.owner and held.owner ~= ARGV[1] and left > 0 then
  return {0, position, time[1], time[2], left}
end
if ARGV[3] ~= '' then position = ARGV[3] end
local upto = ARGV[2] == '0' and 0 or now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', string.format('%.0f', upto), 'position', position, 'about', ARGV[4], 'told', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {1, position, time[1], time[2]}
