-- trim lets a set of one member live no longer than that needs, in ms: while it was
-- a lease it could live for longer.
local function trim(key, ms)
  if redis.pcall('HLEN', key) == 1 then redis.call('PEXPIRE', key, ms) end
end
