-- Reads a list, if it is valid, and nothing of it must be read again.
--
-- KEYS  1 head, 2 epoch, 3 fences of the namespace, 4 table hash
-- ARGV  1 op and what it takes:
--       "rank" first last reverse   the rows of these ranks
--       "after" place count reverse the rows that follow a place
--       "count" min max ..          how many rows are between places, in pairs
--       "has" number ..             whether there are rows of these numbers
--       reverse is "1" to go from the last place to the first
-- Returns {0} there is no such list | {3} read the database: who writes to the table is
--         about to commit, or its replicas are yet to follow
--       | {1, version, n, b, layout, answer..} of a row its number and what it was stored
--         as, one after the other; of a count or a number an integer
--       | {2, version, number, mark, ..} these rows must be read again
-- Complexity O(answers + marks), and O(log n) each.
-- include master
-- include list
local fields, h, marked = redis.pcall('HGETALL', KEYS[1]), {}, {}
if fields.err then return {0} end
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'd:' then
    marked[#marked + 1] = string.sub(fields[i], 3)
    marked[#marked + 1] = fields[i + 1]
  else
    h[fields[i]] = fields[i + 1]
  end
end
local epoch, g = redis.call('MGET', KEYS[2])[1], redis.pcall('HGET', KEYS[4], 'g')
if not h.s or not epoch or type(g) ~= 'string' then return {0} end
if string.sub(epoch, 1, #identity + 1) ~= identity .. ':' or h.w ~= epoch .. '|' .. g then return {0} end
local n = tonumber(h.n)
if not whole(KEYS[1], h.v, n) then
  drop(KEYS[1], h.v)
  return {0}
end

if #marked > 0 then
  -- include fenced
  if fenced(3) or fenced(4) then return {3} end
  local reply = {2, h.v}
  for i = 1, #marked do reply[2 + i] = marked[i] end
  return reply
end

local reply, z, r = {1, h.v, n, h.b, h.l}, places(KEYS[1], h.v), rows(KEYS[1], h.v)
local op, found = ARGV[1], nil
if op == 'rank' then
  found = ARGV[4] == '1' and redis.call('ZREVRANGE', z, ARGV[2], ARGV[3]) or redis.call('ZRANGE', z, ARGV[2], ARGV[3])
elseif op == 'after' and ARGV[4] == '1' then
  found = redis.call('ZREVRANGEBYLEX', z, '(' .. ARGV[2], '-', 'LIMIT', 0, ARGV[3])
elseif op == 'after' then
  found = redis.call('ZRANGEBYLEX', z, '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])
elseif op == 'count' then
  for i = 2, #ARGV, 2 do reply[#reply + 1] = redis.call('ZLEXCOUNT', z, ARGV[i], ARGV[i + 1]) end
else
  for i = 2, #ARGV do reply[#reply + 1] = redis.call('HGET', r, ARGV[i]) and 1 or 0 end
end
for i = 1, found and #found or 0, 1000 do
  local numbers = {}
  for j = i, math.min(i + 999, #found) do numbers[#numbers + 1] = string.sub(found[j], 9) end
  local page = redis.call('HMGET', r, unpack(numbers))
  for j = 1, #numbers do
    if not page[j] then
      drop(KEYS[1], h.v)
      return {0}
    end
    reply[#reply + 1] = numbers[j]
    reply[#reply + 1] = page[j]
  end
end
return reply
