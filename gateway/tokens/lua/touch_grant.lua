#!lua
-- Note that a grant's access token was used, for the page that says when it last was.
-- KEYS  1 grant
-- ARGV  the name below, a digest. The use of a token that is revoked or expired is none.
-- Returns 1 if it was noted. Safe to repeat.
local access = ARGV[1]
local grant = read_grant(KEYS[1])
local now = now_ms()
if not grant or ((grant.access or {})[access] or 0) <= now then return 0 end
grant.used = math.floor(now / 1000)
write_grant(KEYS[1], grant, now)
return 1
