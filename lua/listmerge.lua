-- Puts rows that were read again into their list, and takes those away that were not
-- found. A row that has been marked again since stays marked, and as it was.
--
-- KEYS  1 head
-- ARGV  1 version   2 layout of the rows that were found; empty if none was
--       3 up to how many rows the list may grow   4 to how many it is cut then
--       5 "1" if the list is read from the last place to the first
--       6.. per row: number, mark, order, row; the order is empty of a row that was not
--       found
-- Returns 1 | 0 the list is gone
-- Complexity O(rows log n).
-- include list
local version, head = ARGV[1], KEYS[1]
local h = redis.pcall('HGET', head, 'v')
if h ~= version then return 0 end
local n, bound = tonumber(redis.call('HGET', head, 'n')), redis.call('HGET', head, 'b')
local z, r = places(head, version), rows(head, version)
-- Rows of another layout can't be told by the list's.
if not n or not whole(head, version, n) or ARGV[2] ~= '' and n > 0 and redis.call('HGET', head, 'l') ~= ARGV[2] then
  drop(head, version)
  return 0
end
local reverse = ARGV[5] == '1'
for i = 6, #ARGV, 4 do
  local number = ARGV[i]
  if redis.call('HGET', head, 'd:' .. number) == ARGV[i + 1] then
    local old = redis.call('HGET', r, number)
    if old then
      redis.call('ZREM', z, string.sub(old, 1, 8) .. number)
      redis.call('HDEL', r, number)
      n = n - 1
    end
    local place = ARGV[i + 2] .. number
    -- Of what is beyond its end the list knows nothing.
    if ARGV[i + 2] ~= '' and (bound == '' or place == bound or (place > bound) == reverse) then
      redis.call('ZADD', z, 0, place)
      redis.call('HSET', r, number, ARGV[i + 2] .. ARGV[i + 3])
      n = n + 1
    end
    redis.call('HDEL', head, 'd:' .. number)
  end
end
if n > tonumber(ARGV[3]) then
  local cut = n - tonumber(ARGV[4])
  local last = reverse and redis.call('ZRANGE', z, 0, cut) or redis.call('ZREVRANGE', z, 0, cut)
  for i = 1, cut do
    redis.call('ZREM', z, last[i])
    redis.call('HDEL', r, string.sub(last[i], 9))
  end
  n, bound = n - cut, last[cut + 1]
end
if ARGV[2] ~= '' then redis.call('HSET', head, 'l', ARGV[2]) end
redis.call('HSET', head, 'n', n, 'b', bound)
local left = redis.call('PTTL', head)
if left > 0 then
  -- They are made anew where the list was empty.
  redis.call('PEXPIRE', z, left + 1000)
  redis.call('PEXPIRE', r, left + 1000)
end
return 1
