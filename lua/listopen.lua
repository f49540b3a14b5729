-- Begins a list anew, before the database is read: from now on every write that
-- changes a row of it leaves a mark. The list's scheme is registered, and the caller
-- holds the lease to fill it.
--
-- KEYS  1 head, 2 epoch, 3 fences of the namespace, 4 table hash
-- ARGV  1 token, random per call   2 the list's scheme
--       3 for how many ms the list may take to be filled
-- Returns {1, version} | {0} read the database, store nothing
-- Complexity O(fences).
-- include master
-- include list
-- include fenced
local epoch, g = redis.call('MGET', KEYS[2])[1], redis.pcall('HGET', KEYS[4], 'g')
if not epoch or string.sub(epoch, 1, #identity + 1) ~= identity .. ':' or type(g) ~= 'string' then return {0} end
-- Writers learn of the list by its scheme. The table may have been dropped since that
-- was registered, and registered anew for others.
if not redis.call('HGET', KEYS[4], 's:' .. ARGV[2]) or fenced(3) or fenced(4) then return {0} end

local old = redis.pcall('HGET', KEYS[1], 'v')
-- The first write must be one that a full server refuses.
redis.call('SET', KEYS[1], '')
redis.call('UNLINK', KEYS[1])
if type(old) == 'string' then drop(KEYS[1], old) end
-- With the server's time, as any id: a late duplicate of this call must not have the
-- version of a list that is being filled.
local version = ARGV[1] .. time[1] .. '.' .. time[2]
redis.call('HSET', KEYS[1], 'v', version, 'w', epoch .. '|' .. g)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, version}
