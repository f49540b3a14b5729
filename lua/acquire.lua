-- Looks an entry up. On a miss it registers everything that the entry will
-- depend on and takes a lease, all BEFORE the caller reads the database: a
-- write that commits after the caller's read finds the registration and drops
-- the lease.
--
-- A result may depend on rows of a table that only the result itself tells:
-- those that its own rows were joined with. Until it is there it depends on the
-- whole table, provisionally: any write to the table drops the lease. The script
-- savejoined puts the conjunctions of the joined rows in the place of that, and
-- the entry names them, for those who look it up don't know them.
--
-- KEYS  1 entry, 2 epoch, 3 fences of the namespace, 4..3+n table hashes,
--       4+n.. conjunctions, the provisional ones last
-- ARGV  1 mode: "sets" | "stamps"      2 n, the number of tables
--       3 token, random per call       4 lease in ms; 0 only looks (peek)
--       5 for how many ms tables and conjunctions must live at least
--       6 the entry's name inside sets 7 what precedes that name in its key
--       8 the number of provisional conjunctions
--       9 what precedes a conjunction's name in its key
--       10 for how many ms replicas of the database may lag behind; 0: the
--       database that is read doesn't
--       11 the version of the result that the caller has kept; empty: none
--       12.. per table: k scheme1 .. schemek
-- Returns {0} missing (peek only) | {1, entry} hit
--       | {2, lease id} leased | {3, lease id} busy: that lease is another's
--       | {4} fenced: read the database, store nothing
--       | {5} unchanged: a hit, of the version that the caller has
-- Complexity O(T + C) for a hit, C including the conjunctions that the entry
--       names, O(T + C + schemes) for a miss.
--
-- Wrong types and garbage under any key count as missing and are overwritten.
-- include master
-- include entry
-- include witness
-- include member
local sets, n, token, life = ARGV[1] == 'sets', tonumber(ARGV[2]), ARGV[3], ARGV[4]
local first, last = 4 + n, #KEYS - tonumber(ARGV[8]) -- of the conjunctions that are known

local head = redis.call('MGET', KEYS[1], KEYS[2])  -- nil, not an error, for a wrong type
local entry, epoch = head[1], head[2]
local fresh = not epoch or string.sub(epoch, 1, #identity + 1) ~= identity .. ':'

-- current returns the witness that an entry must have now, besides what depends on
-- the provisional conjunctions, or on the joined rows that it names in their
-- place; nil if some part of it is gone.
local function current(besides, joined)
  local parts = {string.sub(epoch, #identity + 2)}
  for i = 4, first - 1 do
    local g = redis.pcall('HGET', KEYS[i], 'g')
    if type(g) ~= 'string' then return nil end
    parts[#parts + 1] = g
  end
  if sets then
    -- An entry that a set has forgotten (evicted, say) can't be dropped by it.
    for i = first, last do
      if not member(KEYS[i], ARGV[6], entry) then return nil end
    end
    for i = 1, #besides do
      if not member(besides[i], ARGV[6], entry) then return nil end
    end
  elseif not stamps(parts, KEYS, first, last) then
    return nil
  end
  local w = digest(table.concat(parts, '|'))
  -- One who takes other tables for joined must not be answered by the entry.
  if joined then w = w .. '|' .. #KEYS - last end
  if sets or #besides == 0 then return w end
  local more = {''}
  if not stamps(more, besides, 1, #besides) then return nil end
  return w .. digest(table.concat(more, '|'))
end

if entry and not fresh then
  local id, witness = lease(entry)
  local payload, names
  if not id then witness, payload, names = result(entry) end
  local besides = {}
  if names then
    for i = 1, #names do besides[i] = ARGV[9] .. names[i] end
  else
    for i = last + 1, #KEYS do besides[#besides + 1] = KEYS[i] end
  end
  if witness and witness == current(besides, names) then
    if not id then
      if string.sub(entry, 2, 23) == ARGV[11] then return {5} end
      return {1, entry}
    elseif life ~= '0' and string.sub(id, 1, #token) ~= token then
      return {3, id}
    end
  end
end
if life == '0' then return {0} end

-- include clock
-- include lifetime
-- include enter
-- The client or the network may execute this call twice. Every id that it
-- makes therefore carries the server's time: with the caller's token alone a
-- late duplicate would bring back the lease, generation or stamp that an
-- invalidation has just removed, and old entries with it.
local id = token .. time[1] .. '.' .. time[2]

local tables = {}
for i = 3, first - 1 do -- the fences of the namespace come first
  local fields, h = redis.pcall('HGETALL', KEYS[i]), {}
  if fields.err then fields = {} else h.hash = true end
  for j = 1, #fields, 2 do
    h[fields[j]] = fields[j + 1]
    -- A transaction that writes to the table, or to who knows which, is about
    -- to commit.
    if string.sub(fields[j], 1, 2) == 'f:' and (tonumber(fields[j + 1]) or 0) > now then return {4} end
  end
  tables[i] = h
end

-- Where replicas may lag behind, each invalidation leaves the fence "settle" for
-- so long, and what is left of it once it has run out says that none was lost.
-- Of a table without it, or a namespace that begins anew, that isn't known: they
-- settle first.
local settle = tonumber(ARGV[10])
if settle > 0 then
  local held = false
  local function hold(i)
    if not tables[i].hash then
      redis.call('SET', KEYS[i], '')
      redis.call('UNLINK', KEYS[i])
    end
    redis.call('HSET', KEYS[i], 'f:settle', string.format('%.0f', now + settle))
    keep(KEYS[i], math.max(tonumber(ARGV[5]), settle))
    held = true
  end
  if fresh then
    redis.call('SET', KEYS[2], identity .. ':' .. id)
    hold(3)
  end
  for i = fresh and 4 or 3, first - 1 do
    if not tables[i]['f:settle'] then hold(i) end
  end
  if held then return {4} end
end

-- The first write must be one that a full server refuses: after any other it
-- lets the rest of a script pass.
if fresh then
  redis.call('SET', KEYS[2], identity .. ':' .. id)
  epoch = identity .. ':' .. id
end

local parts, a = {string.sub(epoch, #identity + 2)}, 12
for i = 4, first - 1 do
  local key, h, k = KEYS[i], tables[i], tonumber(ARGV[a])
  if not h.hash then
    redis.call('SET', key, '')
    redis.call('UNLINK', key)
  end
  -- A generation without its list of schemes, or the other way round, is not
  -- ours: start anew.
  if not h.g or not h.sv then
    h.g = id .. '.' .. i
    redis.call('HSET', key, 'g', h.g, 'sv', id)
  end
  for j = a + 1, a + k do
    local scheme = 's:' .. ARGV[j]
    if not h[scheme] then redis.call('HSET', key, scheme, '1', 'sv', id) end
  end
  a = a + k + 1
  parts[#parts + 1] = h.g
end

local provisional = '' -- the stamps of the provisional conjunctions
if not sets then
  for i = first, #KEYS, 1000 do
    local upto = math.min(i + 999, #KEYS)
    local page = redis.call('MGET', unpack(KEYS, i, upto))
    for j = i, upto do
      local stamp = page[j - i + 1]
      if not stamp then
        stamp = id .. '.' .. j
        redis.call('SET', KEYS[j], stamp)
      end
      if j <= last then parts[#parts + 1] = stamp else provisional = provisional .. '|' .. stamp end
    end
  end
end

-- The lease replaces whatever was there before the sets learn of the entry: an
-- old entry must not become a member again.
redis.call('SET', KEYS[1], 'L' .. id .. '|' .. digest(table.concat(parts, '|')) .. digest(provisional), 'PX', life)

for i = first, sets and #KEYS or 0 do enter(KEYS[i], ARGV[6], id, ARGV[7]) end

for i = 3, first - 1 do -- the fences of the namespace come first
  for name in pairs(tables[i]) do
    -- A fence that is left has run out.
    if string.sub(name, 1, 2) == 'f:' and (settle == 0 or name ~= 'f:settle') then redis.call('HDEL', KEYS[i], name) end
  end
end
for i = settle > 0 and 3 or 4, #KEYS do keep(KEYS[i], tonumber(ARGV[5])) end
return {2, id}
