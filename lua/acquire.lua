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
--       5 meta in ms: how long tables and conjunctions must live at least
--       6 the entry's name inside sets 7 what precedes that name in its key
--       8 the number of provisional conjunctions
--       9 what precedes a conjunction's name in its key
--       10 for how many ms replicas of the database may lag behind; 0: the
--       database that is read doesn't
--       11 the version of the result that the caller has kept; empty: none
--       12.. per table: k scheme1 .. schemek
-- Returns {0} missing (peek only) | {1, offset, entry} hit, the payload starts
--       at offset (0-based), the version in the 22 bytes before it
--       | {2, lease id} leased | {3, lease id} busy: that lease is another's
--       | {4} fenced: read the database, store nothing
--       | {5} unchanged: a hit, of the version that the caller has
-- Complexity O(T + C) for a hit, C including the conjunctions that the entry
--       names, O(T + C + schemes) for a miss.
--
-- Wrong types and garbage under any key count as missing and are overwritten.
local sets, n, token, lease = ARGV[1] == 'sets', tonumber(ARGV[2]), ARGV[3], ARGV[4]
local first, last = 4 + n, #KEYS - tonumber(ARGV[8]) -- of the conjunctions that are known

-- A server that restarted or was promoted may have lost invalidations; it has
-- another replication id then. Embedded servers have none at all. One that was a
-- master a moment ago, and has kept its clients, lags behind its own.
local info = redis.pcall('INFO', 'replication')
if type(info) ~= 'string' then info = '' end
if string.find(info, 'role:slave', 1, true) then
  return redis.error_reply('READONLY a replica answers no look-ups')
end
local identity = string.match(info, 'master_replid:(%x+)') or 'none'

local head = redis.call('MGET', KEYS[1], KEYS[2])  -- nil, not an error, for a wrong type
local entry, epoch = head[1], head[2]
local fresh = not epoch or string.sub(epoch, 1, #identity + 1) ~= identity .. ':'

if entry and not fresh then
  -- What the entry depends on besides: the joined rows that it names, or what
  -- stands for them until they are known. Most depend on nothing besides.
  local kind, besides, start = string.sub(entry, 1, 1), nil, nil
  if kind == 'J' then
    local size, from = string.match(entry, '^J(%d%d?%d?):()')
    local count, names
    if size then count, names = string.match(entry, '^(%d%d?%d?%d?%d?):()', from + tonumber(size)) end
    start = count and names + 22 * tonumber(count)
    if start and start <= #entry + 1 then
      besides = {}
      for i = names, start - 1, 22 do besides[#besides + 1] = ARGV[9] .. string.sub(entry, i, i + 21) end
    else
      kind = '' -- not ours
    end
  elseif last < #KEYS then
    besides = {unpack(KEYS, last + 1)}
  end

  -- The witness of now; nil if some part of it is gone. No part contains the
  -- separator, so that it reads in one way only, and a long one (many stamps)
  -- is kept as its digest. A hit is the hot path: no functions are made for it.
  local w = string.sub(epoch, #identity + 2)
  for i = 4, first - 1 do
    local g = redis.pcall('HGET', KEYS[i], 'g')
    if type(g) ~= 'string' then w = nil break end
    w = w .. '|' .. g
  end
  if sets then
    -- An entry that a set has forgotten (evicted, say) can't be dropped by it.
    local name = ARGV[6]
    for i = first, last do
      if redis.pcall('SISMEMBER', KEYS[i], name) ~= 1 then w = nil break end
    end
    for i = 1, besides and #besides or 0 do
      if redis.pcall('SISMEMBER', besides[i], name) ~= 1 then w = nil break end
    end
  elseif w then
    for i = first, last, 1000 do
      local stamps = redis.call('MGET', unpack(KEYS, i, math.min(i + 999, last)))
      for j = 1, #stamps do
        if not stamps[j] then w = nil break end
      end
      if not w then break end
      w = w .. '|' .. table.concat(stamps, '|')
    end
  end
  if w and #w > 256 then w = redis.sha1hex(w) end
  -- One who takes other tables for joined must not be answered by the entry.
  if w and kind == 'J' then w = w .. '|' .. #KEYS - last end
  if w and besides and not sets then
    local more = ''
    for i = 1, #besides, 1000 do
      local stamps = redis.call('MGET', unpack(besides, i, math.min(i + 999, #besides)))
      for j = 1, #stamps do
        if not stamps[j] then w = nil break end
      end
      if not w then break end
      more = more .. '|' .. table.concat(stamps, '|')
    end
    if w then w = w .. (#more > 256 and '|' .. redis.sha1hex(more) or more) end
  end
  if w then
    if kind == 'V' or kind == 'J' then
      local prefix = kind .. #w .. ':' .. w
      local payload = (start or #prefix + 1) + 22
      if string.sub(entry, 1, #prefix) == prefix and payload <= #entry + 1 then
        if string.sub(entry, payload - 22, payload - 1) == ARGV[11] then return {5} end
        return {1, payload - 1, entry}
      end
    elseif kind == 'L' and lease ~= '0' then
      local bar = string.find(entry, '|', 1, true)
      if bar and string.sub(entry, bar + 1) == w and string.sub(entry, 2, #token + 1) ~= token then
        return {3, string.sub(entry, 2, bar - 1)}
      end
    end
  end
end
if lease == '0' then return {0} end

local time = redis.call('TIME')
-- The client or the network may execute this call twice. Every id that it
-- makes therefore carries the server's time: with the caller's token alone a
-- late duplicate would bring back the lease, generation or stamp that an
-- invalidation has just removed, and old entries with it.
local id = token .. time[1] .. '.' .. time[2]
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

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
    local life = math.max(tonumber(ARGV[5]), settle)
    if redis.call('PTTL', KEYS[i]) < life then redis.call('PEXPIRE', KEYS[i], life * 2) end
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
    local stamps = redis.call('MGET', unpack(KEYS, i, upto))
    for j = i, upto do
      local stamp = stamps[j - i + 1]
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
local witness = table.concat(parts, '|')
if #witness > 256 then witness = redis.sha1hex(witness) end
if #provisional > 256 then provisional = '|' .. redis.sha1hex(provisional) end
witness = witness .. provisional
redis.call('SET', KEYS[1], 'L' .. id .. '|' .. witness, 'PX', lease)

if sets then
  for i = first, #KEYS do
    local key = KEYS[i]
    local size = redis.pcall('SCARD', key)
    if type(size) ~= 'number' then
      redis.call('UNLINK', key)
      size = 0
    end
    redis.call('SADD', key, ARGV[6])
    -- Entries that expire or are evicted leave their names behind. Each look-up
    -- adds one name at most and takes up to three dead ones away, so that these
    -- stay at about a third of a set, whatever its size.
    if size > 64 then
      local some = redis.call('SRANDMEMBER', key, 3)
      for j = 1, #some do
        if redis.call('EXISTS', ARGV[7] .. some[j]) == 0 then redis.call('SREM', key, some[j]) end
      end
    end
  end
end

for i = 3, first - 1 do -- the fences of the namespace come first
  for name in pairs(tables[i]) do
    -- A fence that is left has run out.
    if string.sub(name, 1, 2) == 'f:' and (settle == 0 or name ~= 'f:settle') then redis.call('HDEL', KEYS[i], name) end
  end
end
local meta = tonumber(ARGV[5])
for i = settle > 0 and 3 or 4, #KEYS do
  if redis.call('PTTL', KEYS[i]) < meta then redis.call('PEXPIRE', KEYS[i], meta * 2) end
end
return {2, id}
