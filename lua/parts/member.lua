-- The set of a conjunction is a hash: the names of the entries that depend on it,
-- each with the mark of the only lease or result that it vouches for, and when that
-- lease was taken. The mark is how the version begins: 6 characters. So an earlier
-- entry that comes back under the same name, out of a dump say, is not taken for a
-- member.

-- member reports whether a set vouches for an entry.
local function member(key, name, entry)
  local mark = redis.pcall('HGET', key, name)
  return type(mark) == 'string' and string.sub(mark, 1, 6) == string.sub(entry, 2, 7)
end
