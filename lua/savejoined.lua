-- Replaces a lease by its result, now that it is known which rows of the joined
-- tables the result depends on: their conjunctions take the place of the
-- provisional ones, in one step with the result. The lease must still be there,
-- and nothing may have been written to the joined tables since it was taken, or
-- their rows may not be those that the result shows.
--
-- A lease is replaced once, so that its id makes stamps that never return.
--
-- KEYS  1 entry, 2..1+p provisional conjunctions, 2+p.. those of the joined rows
-- ARGV  1 lease id   2 payload   3 ttl in ms   4 mode: "sets" | "stamps"   5 p
--       6 the entry's name inside sets      7 what precedes that name in its key
--       8 what precedes a conjunction's name
-- Returns 1 stored | 0 the lease is lost
-- Complexity O(payload + conjunctions).
--
-- A conjunction may be both provisional and one of the joined rows': the result
-- depends on the whole table then.
local entry = redis.pcall('GET', KEYS[1])
local prefix = 'L' .. ARGV[1] .. '|'
if type(entry) ~= 'string' or string.sub(entry, 1, #prefix) ~= prefix then return 0 end
local witness = string.sub(entry, #prefix + 1)
local sets, first, ttl, name = ARGV[4] == 'sets', 2 + tonumber(ARGV[5]), tonumber(ARGV[3]), ARGV[6]

if sets then
  -- Only the look-up that took this lease can have made the entry a member.
  for i = 2, first - 1 do
    if redis.pcall('SISMEMBER', KEYS[i], name) ~= 1 then return 0 end
  end
  witness = witness .. '|' .. ARGV[5]
else
  -- The witness ends with the provisional stamps.
  local stamps, provisional = redis.call('MGET', unpack(KEYS, 2, first - 1)), ''
  for i = 1, first - 2 do
    if not stamps[i] then return 0 end
    provisional = provisional .. '|' .. stamps[i]
  end
  if #provisional > 256 then provisional = '|' .. redis.sha1hex(provisional) end
  if string.sub(witness, -#provisional) ~= provisional then return 0 end
  witness = string.sub(witness, 1, -#provisional - 1)
  local joined = {''}
  for i = first, #KEYS, 1000 do
    local upto = math.min(i + 999, #KEYS)
    stamps = redis.call('MGET', unpack(KEYS, i, upto))
    for j = i, upto do
      local stamp = stamps[j - i + 1]
      if not stamp then
        stamp = ARGV[1] .. '.s' .. j
        redis.call('SET', KEYS[j], stamp)
      end
      joined[#joined + 1] = stamp
    end
  end
  joined = table.concat(joined, '|')
  if #joined > 256 then joined = '|' .. redis.sha1hex(joined) end
  witness = witness .. '|' .. ARGV[5] .. joined
end

local names = {}
for i = first, #KEYS do names[#names + 1] = string.sub(KEYS[i], #ARGV[8] + 1) end
local version = string.sub(ARGV[1], 1, 22) -- as in save
redis.call('SET', KEYS[1], 'J' .. #witness .. ':' .. witness .. #names .. ':' .. table.concat(names) .. version .. ARGV[2], 'PX', ARGV[3])

if sets then
  for i = 2, first - 1 do redis.call('SREM', KEYS[i], name) end
  for i = first, #KEYS do
    local size = redis.pcall('SCARD', KEYS[i])
    if type(size) ~= 'number' then
      redis.call('UNLINK', KEYS[i])
      size = 0
    end
    redis.call('SADD', KEYS[i], name)
    if size > 64 then -- as in acquire
      local some = redis.call('SRANDMEMBER', KEYS[i], 3)
      for j = 1, #some do
        if redis.call('EXISTS', ARGV[7] .. some[j]) == 0 then redis.call('SREM', KEYS[i], some[j]) end
      end
    end
  end
end
for i = first, #KEYS do
  if redis.call('PTTL', KEYS[i]) < ttl then redis.call('PEXPIRE', KEYS[i], ttl * 2) end
end
return 1
