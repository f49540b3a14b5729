-- Tells what of a table vouches for an entry, and registers what the entry will
-- depend on there, BEFORE the caller reads the database: the second half of a
-- look-up in a namespace that is spread over the slots of a cluster. Each table
-- has a slot of its own.
--
-- The generation names the server that made it. After a restart or a failover,
-- in which invalidations may have been lost, it is no longer valid; nor after
-- the table has moved to another server.
--
-- KEYS  1 table hash, 2.. stamps of the conjunctions
-- ARGV  1 token, random per call; empty only looks
--       2 for how many ms the keys must live at least
--       3 for how many ms a table settles of which invalidations may have been
--         lost; it then keeps the server's name as if it were a fence, f:@name,
--         which invalidations leave alone
--       4.. the schemes
-- Returns {part of the witness or "" if something is missing, 1 if fenced else 0};
--       nothing is registered under a fence
-- Complexity O(C + schemes of the table).
--
-- Wrong types and garbage under any key count as missing and are overwritten.
-- include master
-- include clock
-- include lifetime
local token = ARGV[1]
-- Made anew by each execution, as in acquire.
local id = token .. time[1] .. '.' .. time[2]

local fields, h, fenced, over = redis.pcall('HGETALL', KEYS[1]), {}, 0, {}
local hash = not fields.err
for j = 1, hash and #fields or 0, 2 do
  local name = fields[j]
  h[name] = fields[j + 1]
  if string.sub(name, 1, 2) == 'f:' and string.sub(name, 3, 3) ~= '@' then
    if (tonumber(fields[j + 1]) or 0) > now then fenced = 1 else over[#over + 1] = name end
  end
end

local whole = true
local g = h.g
-- A generation without its list of schemes, or the other way round, is not ours.
if not g or not h.sv or string.sub(g, 1, #identity + 1) ~= identity .. ':' then g, whole = nil, false end

local stamps = {}
for i = 2, #KEYS, 1000 do
  local page = redis.call('MGET', unpack(KEYS, i, math.min(i + 999, #KEYS)))
  for j = 1, #page do
    if not page[j] then whole = false end
    stamps[#stamps + 1] = page[j]
  end
end

local settle = tonumber(ARGV[3])
local settles = token ~= '' and fenced == 0 and settle > 0 and not (h['f:settle'] and h['f:@' .. identity])
if token ~= '' and fenced == 0 then
  if not hash then
    -- The first write must be one that a full server refuses: after any other
    -- it lets the rest of a script pass.
    redis.call('SET', KEYS[1], '')
    redis.call('UNLINK', KEYS[1])
  end
end
if settles then
  for name in pairs(h) do
    if string.sub(name, 1, 3) == 'f:@' then redis.call('HDEL', KEYS[1], name) end
  end
  redis.call('HSET', KEYS[1], 'f:settle', string.format('%.0f', now + settle), 'f:@' .. identity, '9000000000000000')
  keep(KEYS[1], math.max(tonumber(ARGV[2]), settle))
  fenced = 1
end

if token ~= '' and fenced == 0 then
  if not g then
    g = identity .. ':' .. id
    redis.call('HSET', KEYS[1], 'g', g, 'sv', id)
  end
  for i = 4, #ARGV do
    if not h['s:' .. ARGV[i]] then redis.call('HSET', KEYS[1], 's:' .. ARGV[i], '1', 'sv', id) end
  end
  for i = 2, #KEYS do
    if not stamps[i - 1] then
      stamps[i - 1] = id .. '.' .. i
      redis.call('SET', KEYS[i], stamps[i - 1])
    end
  end
  for _, name in ipairs(over) do
    if settle == 0 or name ~= 'f:settle' then redis.call('HDEL', KEYS[1], name) end
  end
  for i = 1, #KEYS do keep(KEYS[i], tonumber(ARGV[2])) end
  whole = true
end
if not whole then return {'', fenced} end

local part = string.sub(g, #identity + 2)
if #stamps > 0 then part = part .. '|' .. table.concat(stamps, '|') end
return {part, fenced}
