-- The witness is what vouches for an entry: the epoch, the generations of its
-- tables and the stamps of its conjunctions, joined by "|", which no part contains.
-- Package store has the same in Go (type witness).

-- stamps appends the stamps under keys[first..last]; false if one is missing.
local function stamps(parts, keys, first, last)
  for i = first, last, 1000 do
    local page = redis.call('MGET', unpack(keys, i, math.min(i + 999, last)))
    for j = 1, #page do
      if not page[j] then return false end
      parts[#parts + 1] = page[j]
    end
  end
  return true
end

-- digest keeps what is long (many stamps) as its digest. What begins with "|" goes
-- on doing so.
local function digest(text)
  if #text <= 256 then return text end
  return (string.sub(text, 1, 1) == '|' and '|' or '') .. redis.sha1hex(text)
end
