-- size returns the number of names in a set. What is no set is deleted.
local function size(key)
  local n = redis.pcall('HLEN', key)
  if type(n) == 'number' then return n end
  redis.call('UNLINK', key)
  return 0
end

-- enter makes an entry with the lease of an id a member, of which prefix precedes the
-- name in its key. See part member.
--
-- Entries that expire or are evicted leave their names behind. Each look-up adds
-- one name at most and takes up to three dead ones away, so that these stay at
-- about a third of a set, whatever its size.
local function enter(key, name, id, prefix)
  local n = size(key)
  redis.call('HSET', key, name, string.sub(id, 1, 6) .. string.sub(id, 23))
  if n <= 64 then return end
  local some = redis.call('HRANDFIELD', key, 3)
  for i = 1, #some do
    if redis.call('EXISTS', prefix .. some[i]) == 0 then redis.call('HDEL', key, some[i]) end
  end
end
