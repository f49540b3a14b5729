-- Unlinks some of the entries that a set names which invalidate has taken away. They
-- are dropped already: this only frees their memory, a little at a time, until
-- nothing is left.
--
-- An entry that the conjunction's present set names has been leased anew since, and
-- stays.
--
-- KEYS  1 what invalidate has returned as garbage, 2 the conjunction's set
-- ARGV  1 what precedes an entry's name in its key   2 how many, at most
-- Returns how many are left
-- Complexity O(how many).
local names = redis.pcall('HRANDFIELD', KEYS[1], ARGV[2])
if names.err then
  redis.call('UNLINK', KEYS[1]) -- not ours
  return 0
end
if #names == 0 then return 0 end
redis.call('HDEL', KEYS[1], unpack(names))
local present, dead = redis.pcall('HMGET', KEYS[2], unpack(names)), {}
for i = 1, #names do
  if present.err or not present[i] then dead[#dead + 1] = ARGV[1] .. names[i] end
end
if #dead > 0 then redis.call('UNLINK', unpack(dead)) end
return redis.call('HLEN', KEYS[1])
