-- held returns the witness of the lease with an id, if it is still under a key.
local function held(key, id)
  local entry, prefix = redis.pcall('GET', key), 'L' .. id .. '|'
  if type(entry) ~= 'string' or string.sub(entry, 1, #prefix) ~= prefix then return nil end
  return string.sub(entry, #prefix + 1)
end
