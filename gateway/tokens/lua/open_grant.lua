#!lua
-- The user allowed it: keep the grant, with its code, until the code is redeemed or expires.
-- KEYS  1 grant
-- ARGV  the names below
-- Returns 'ok'. Safe to repeat, also when the code was redeemed in between: a grant that is
-- there stays. (The id of a grant is random.)
local grant_json, code_ms = unpack(ARGV)
local grant = cjson.decode(grant_json)
grant.since = math.floor(now_ms() / 1000)
redis.call('SET', KEYS[1], cjson.encode(grant), 'NX', 'PX', code_ms)
return 'ok'
