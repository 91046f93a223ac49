#!lua
-- Keep a grant without a user: a client's own access token (RFC 6749 §4.4).
-- KEYS  1 grant
-- ARGV  the names below
-- Returns 'ok'. Safe to repeat: the same call writes the same grant and token.
local grant_json, access = unpack(ARGV)
local access_ms = numbers(3, 3)
local grant = cjson.decode(grant_json)
local now = now_ms()
grant.since = math.floor(now / 1000)
grant.used = grant.since
grant.ends = now + access_ms
give_access(grant, access, grant.scope, grant.ends, now)
write_grant(KEYS[1], grant, now, access_ms)
return 'ok'
