-- info and identity: what the server says of itself. One that restarted or was
-- promoted may have lost invalidations; it has another replication id then.
-- Embedded servers have none at all.
local info = redis.pcall('INFO', 'replication')
if type(info) ~= 'string' then info = '' end
local identity = string.match(info, 'master_replid:(%x+)') or 'none'
