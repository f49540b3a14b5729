-- Tells what scripts see of the server's replication id, which is how a
-- restart or a failover is noticed.
--
-- KEYS  1 epoch (not read; it routes the call)
-- ARGV  none
-- Returns {replication id or "none", role or ""}
-- Complexity O(1).
-- include server
return {identity, string.match(info, 'role:(%a+)') or ''}
