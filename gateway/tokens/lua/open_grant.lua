#!lua
-- The user allowed it: keep the grant, with its code, until the code is redeemed or expires.
-- KEYS  1 grant
-- ARGV  1 the grant (JSON)   2 lifetime of the code (ms)
-- Returns 'ok'. Safe to repeat, also when the code has been redeemed in between: what is there
-- stays (a grant's id is random).
local grant = cjson.decode(ARGV[1])
grant.since = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], cjson.encode(grant), 'NX', 'PX', ARGV[2])
return 'ok'
