-- Marks rows of lists to be read again, after a commit that has changed them, or
-- before it under a fence. A list that can't be marked, or has too many marks, is
-- dropped.
--
-- KEYS  1.. heads, one for each row
-- ARGV  1 token, random per call   2 how many fields a head may have
--       3.. the rows' numbers
-- Returns {0, 0}: it drops no results
-- Complexity O(rows).
-- include clock
-- With the server's time, as any id: a mark that came back with a late duplicate of
-- this call would permit a late duplicate of a merge.
local mark = ARGV[1] .. time[1] .. '.' .. time[2]
for i = 1, #KEYS do
  local version = redis.pcall('HGET', KEYS[i], 'v')
  if type(version) == 'string' then
    local set = redis.pcall('HSET', KEYS[i], 'd:' .. ARGV[2 + i], mark)
    -- A full server refuses to set, and permits to delete.
    if type(set) ~= 'number' or redis.call('HLEN', KEYS[i]) > tonumber(ARGV[2]) then redis.call('UNLINK', KEYS[i]) end
  elseif version then
    redis.call('UNLINK', KEYS[i]) -- no list
  end
end
return {0, 0}
