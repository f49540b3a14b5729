-- A list is a hash, its head, and behind that, with the version in their names, a
-- sorted set of its rows' places and a hash of the rows. A place is 16 bytes that sort
-- as the rows do: 8 of the order and 8 of the row's number. All have score 0.
--
--   v version   w what vouches for it: the epoch and the table's generation
--   s "1" once it has been filled, and then n number of rows, l their layout,
--   b the place that it ends at in the database's order, empty if it is all there is
--   d:number mark: the row must be read again; no two marks are alike
--
-- Redis may lose any of the three: n tells.

-- places and rows return the keys behind a head.
local function places(head, version) return head .. ':z:' .. version end
local function rows(head, version) return head .. ':r:' .. version end

-- drop takes a list away.
local function drop(head, version)
  redis.call('UNLINK', head, places(head, version), rows(head, version))
end

-- whole reports whether all rows of a filled list are there.
local function whole(head, version, n)
  return redis.pcall('ZCARD', places(head, version)) == n and redis.pcall('HLEN', rows(head, version)) == n
end
