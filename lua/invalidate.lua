-- Drops what depends on a table: on the given conjunctions, or on any of its
-- rows. It only ever deletes, which a full server permits too.
--
-- KEYS  1 table hash, 2.. conjunctions
-- ARGV  1 mode: "sets" | "stamps"
--       2 op: "keys" | "table"
--       3 the version of the scheme list that the conjunctions were built
--         from: empty for none, "*" not to compare
--       4 what precedes an entry's name in its key
-- Returns {0, dropped}, dropped being entries (sets), stamps, or 1 for a table
--       that had a generation | {1, version, scheme..} nothing was done: the
--       list has changed, build the conjunctions from this one
-- Complexity O(C + members) for sets, O(C) for stamps, O(schemes) for a table.
local sets, op, version, key = ARGV[1] == 'sets', ARGV[2], ARGV[3], KEYS[1]

local names = redis.pcall('HKEYS', key)
if names.err then
  redis.call('UNLINK', key)
  names = {}
end

if op == 'table' then
  local dropped = 0
  for _, name in ipairs(names) do
    -- Fences belong to other writers.
    if string.sub(name, 1, 2) ~= 'f:' then
      redis.call('HDEL', key, name)
      if name == 'g' then dropped = 1 end
    end
  end
  return {0, dropped}
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
for i = 2, #KEYS do
  if sets then
    local cursor = '0'
    repeat
      local page = redis.pcall('SSCAN', KEYS[i], cursor, 'COUNT', 1000)
      if page.err then break end
      cursor = page[1]
      local members = page[2]
      for j = 1, #members do members[j] = ARGV[4] .. members[j] end
      for j = 1, #members, 1000 do
        dropped = dropped + redis.call('UNLINK', unpack(members, j, math.min(j + 999, #members)))
      end
    until cursor == '0'
    redis.call('UNLINK', KEYS[i])
  else
    dropped = dropped + redis.call('UNLINK', KEYS[i])
  end
end
return {0, dropped}
