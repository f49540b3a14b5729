-- What is under an entry's key; package store has the same in Go (type head).
--
--   V version sum #witness ":" witness payload                  a result
--   J version sum #witness ":" witness #names ":" names payload  one with joined rows
--   L id "|" witness                                            a lease
--
-- The version is the token of the look-up that took the lease, and so begins the
-- lease's id: 22 characters. The sum is the caller's, 8 bytes. A name of a
-- conjunction has 22 characters.

-- result returns the witness of a result and where its payload begins, with the names
-- of its conjunctions, if it has some; nil for anything else.
local function result(entry)
  local kind = string.sub(entry, 1, 1)
  if #entry < 33 or kind ~= 'V' and kind ~= 'J' then return nil end
  local size, from = string.match(entry, '^(%d%d?%d?):()', 32)
  if not size then return nil end
  local upto = from + tonumber(size)
  if upto > #entry + 1 then return nil end
  local witness = string.sub(entry, from, upto - 1)
  if kind == 'V' then return witness, upto end
  local count, first = string.match(entry, '^(%d%d?%d?%d?%d?):()', upto)
  if not count then return nil end
  upto = first + 22 * tonumber(count)
  if upto > #entry + 1 then return nil end
  local names = {}
  for i = first, upto - 1, 22 do names[#names + 1] = string.sub(entry, i, i + 21) end
  return witness, upto, names
end

-- lease returns the id and the witness of a lease; nil for anything else.
local function lease(entry)
  local bar = #entry > 23 and string.sub(entry, 1, 1) == 'L' and string.find(entry, '|', 24, true)
  if not bar then return nil end
  return string.sub(entry, 2, bar - 1), string.sub(entry, bar + 1)
end
