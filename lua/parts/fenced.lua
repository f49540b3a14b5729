-- include clock
-- fenced reports whether a fence is up in the hash of a key.
local function fenced(i)
  local held = redis.pcall('HGETALL', KEYS[i])
  for j = 1, held.err and 0 or #held, 2 do
    if string.sub(held[j], 1, 2) == 'f:' and (tonumber(held[j + 1]) or 0) > now then return true end
  end
  return false
end
