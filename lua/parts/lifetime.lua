-- keep has a key live for so many ms at least. It is given an eighth more, so that
-- not every look-up has to say so.
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, string.format('%.0f', ms + math.ceil(ms / 8))) end
end
