-- born returns when the id of a lease, a generation or a stamp was made, by the
-- server's clock in microseconds: it follows the token, or what stands for that, at a
-- position. It is 0 where that isn't told.
local function born(id, at)
  local seconds, rest = string.match(id, '^(%d+)%.(%d+)', at)
  return seconds and tonumber(seconds) * 1000000 + tonumber(rest) or 0
end
