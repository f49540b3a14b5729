-- Tries commands, so that one which is forbidden or unknown is noticed before it is
-- needed. They are to leave nothing behind.
--
-- KEYS  those of the commands
-- ARGV  per command: n word1 .. wordn
-- Returns for each command its error, or ""
-- Complexity O(commands).
local replies, at = {}, 1
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + n))
  replies[#replies + 1] = type(reply) == 'table' and reply.err or ''
  at = at + n + 1
end
return replies
