-- Drops what depends on a table: on the given conjunctions, or on any of its
-- rows; or everything. In the same step it sets a fence, before a commit, or
-- drops fences, after it: while one is up nothing new is stored. After a commit
-- it may set one too, that of replicas of the database which are yet to follow.
--
-- Without a fence to set it only ever deletes and renames, which a full server
-- permits too.
--
-- A hit verifies that every one of its sets names the entry, and only a look-up
-- that replaces the entry makes it a member again: a set that is gone has dropped
-- all of its entries, leases included. The entries of small sets are unlinked at
-- once. A set that exceeds what is unlinked in one call is taken away under another
-- name, whatever its size in O(1), and the caller has reclaim unlink what it names,
-- a few at a time.
--
-- It also tells those who keep results in their own memory, by a message of the
-- letter "k", "t" or "a" for the op, the length of KEYS[1], ":", KEYS[1], and for
-- "k" the last 22 characters of each conjunction. Where there are too many of
-- these the message is that of the table. They may be out of reach, or the
-- message forbidden: nothing depends on it.
--
-- KEYS  1 table hash, 2.. conjunctions
--       "all": 1 fences of the namespace, 2 epoch
-- ARGV  1 mode: "sets" | "stamps"
--       2 op: "keys" | "table" | "all"
--       3 the version of the scheme list that the conjunctions were built
--         from: empty for none, "*" not to compare
--       4 what precedes an entry's name in its key; also the channel of the messages
--       5 how many entries are unlinked at once, at most
--       6 when the changes could be seen by all who read the database, by this
--         server's clock in microseconds: what was leased later has seen them and
--         stays; empty: nothing does
--       7 for how many ms the fence is set; 0: none is, and "settle" is dropped,
--         so that those who read replicas begin to settle anew; -1: none is, and
--         "settle" is left, which an earlier call for the same changes has set
--       8.. fence ids: the one that is set, if one is, then any to be dropped
-- Returns {0, dropped, garbage..}, dropped being entries (sets), stamps, or 1 for
--       a table that had a generation or for a namespace that had an epoch;
--       garbage the keys of sets that were taken away
--       | {1, version, scheme..} nothing was dropped, no fence either: the list
--       has changed, build the conjunctions from this one. A fence to be set
--       is up: nothing is added to this list as long as it is.
-- Complexity O(C + entries unlinked at once) for sets, O(C) for stamps, O(schemes)
--       for a table, O(1) for everything; O(fences) besides.
local sets, op, version, key = ARGV[1] == 'sets', ARGV[2], ARGV[3], KEYS[1]
local seen, hold = tonumber(ARGV[6]), tonumber(ARGV[7])
-- include born

local names = redis.pcall('HKEYS', key)
if names.err then
  redis.call('UNLINK', key)
  names = {}
end

if hold > 0 then
  -- The writer's clock has no say in when its fence runs out. The first write
  -- is the one that a full server refuses.
  -- include clock
  local set = 'f:' .. ARGV[8]
  -- Another process may have set it for longer.
  local upto = math.max(now + hold, tonumber(redis.call('HGET', key, set) or 0) or 0)
  redis.call('HSET', key, set, string.format('%.0f', upto))
  if redis.call('PTTL', key) < hold then redis.call('PEXPIRE', key, hold * 2) end
  for _, name in ipairs(names) do
    if string.sub(name, 1, 2) == 'f:' and name ~= 'f:settle' and (tonumber(redis.call('HGET', key, name)) or 0) <= now then
      redis.call('HDEL', key, name)
    end
  end
end

-- Fences fall last, when nothing is left that they protect from.
local function done(dropped)
  for i = hold > 0 and 9 or 8, #ARGV do redis.call('HDEL', key, 'f:' .. ARGV[i]) end
  for i = 1, hold == 0 and #names or 0 do
    if names[i] == 'f:settle' then redis.call('HDEL', key, 'f:settle') end
  end
  local letter, told = string.sub(op, 1, 1), {}
  if op == 'keys' then
    if #KEYS > 101 then letter = 't' end
    for i = 2, letter == 'k' and #KEYS or 0 do told[i - 1] = string.sub(KEYS[i], -22) end
  end
  redis.pcall('PUBLISH', ARGV[4], letter .. #key .. ':' .. key .. table.concat(told))
  return {0, dropped}
end

if op == 'all' then
  local epoch = seen and redis.call('GET', KEYS[2])
  if epoch and born(epoch, (string.find(epoch, ':', 1, true) or 0) + 23) > seen then return done(0) end
  return done(redis.call('UNLINK', KEYS[2]))
end

if op == 'table' then
  -- All that a generation vouches for was leased after it was made.
  local g = seen and redis.call('HGET', key, 'g')
  if g and born(g, 23) > seen then return done(0) end
  local dropped, fields = 0, {}
  for _, name in ipairs(names) do
    -- Fences belong to other writers.
    if string.sub(name, 1, 2) ~= 'f:' then
      fields[#fields + 1] = name
      if name == 'g' then dropped = 1 end
    end
  end
  for i = 1, #fields, 1000 do redis.call('HDEL', key, unpack(fields, i, math.min(i + 999, #fields))) end
  return done(dropped)
end

if version ~= '*' and #names > 0 then
  local now = redis.call('HGET', key, 'sv')
  if now and now ~= version then
    local reply = {1, now}
    for _, name in ipairs(names) do
      if string.sub(name, 1, 2) == 's:' then reply[#reply + 1] = string.sub(name, 3) end
    end
    return reply
  end
  -- Without a version the list can't be trusted, nor can the generation.
  if not now then redis.call('HDEL', key, 'g') end
end

local dropped = 0
if not sets then
  for i = 2, #KEYS, 1000 do
    local upto, old = math.min(i + 999, #KEYS), {}
    local page = seen and redis.call('MGET', unpack(KEYS, i, upto))
    for j = i, upto do
      -- As with a generation.
      local stamp = page and page[j - i + 1]
      if not stamp or born(stamp, 23) <= seen then old[#old + 1] = KEYS[j] end
    end
    if #old > 0 then dropped = dropped + redis.call('UNLINK', unpack(old)) end
  end
  return done(dropped)
end

-- older returns the members of a set whose leases may not have seen the changes.
local function older(conjunction)
  local members, names = redis.call('HGETALL', conjunction), {}
  for j = 1, #members, 2 do
    if born(members[j + 1], 7) <= seen then names[#names + 1] = members[j] end
  end
  return names
end

local budget, taken, suffix = tonumber(ARGV[5]), {}, nil
for i = 2, #KEYS do
  local conjunction = KEYS[i]
  local size = redis.pcall('HLEN', conjunction)
  if type(size) ~= 'number' then
    redis.call('UNLINK', conjunction) -- not ours
  elseif size > budget then
    if not suffix then
      local time = redis.call('TIME')
      suffix = ':' .. time[1] .. '.' .. time[2]
    end
    local garbage = string.sub(conjunction, 1, -25) .. 'x:' .. string.sub(conjunction, -22) .. suffix
    redis.call('RENAME', conjunction, garbage)
    -- Should nobody reclaim it: by then that would have been done.
    redis.call('PEXPIRE', garbage, 600000)
    taken[#taken + 1] = garbage
    dropped = dropped + size
  elseif size > 0 then
    local names, entries = seen and older(conjunction) or redis.call('HKEYS', conjunction), {}
    for j = 1, #names do entries[j] = ARGV[4] .. names[j] end
    if #names == size then
      dropped = dropped + redis.call('UNLINK', conjunction, unpack(entries)) - 1
    elseif #names > 0 then
      redis.call('HDEL', conjunction, unpack(names))
      dropped = dropped + redis.call('UNLINK', unpack(entries))
    end
    budget = budget - size
  end
end
local reply = done(dropped)
for i = 1, #taken do reply[2 + i] = taken[i] end
return reply
