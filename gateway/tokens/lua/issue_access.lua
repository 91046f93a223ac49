#!lua
-- A grant without a user: a client's own access token (RFC 6749 §4.4).
-- KEYS  1 grant   2 access token, absent while it is elsewhere
-- ARGV  1 the grant (JSON)   2 access token lifetime (ms)
-- Returns the access token's value. Safe to repeat: the same call writes the same grant and token.
local grant = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
grant.since = tonumber(time[1])
grant.used = grant.since
grant.ends = now + tonumber(ARGV[2])
local access = string.format('%d ', math.floor(grant.ends / 1000)) .. grant.scope
redis.call('SET', KEYS[1], cjson.encode(grant), 'PX', ARGV[2])
if KEYS[2] then redis.call('SET', KEYS[2], access, 'PX', ARGV[2]) end
return access
