-- include server
-- A server that was a master a moment ago, and has kept its clients, lags behind
-- its own.
if string.find(info, 'role:slave', 1, true) then
  return redis.error_reply('READONLY a replica answers no look-ups')
end
