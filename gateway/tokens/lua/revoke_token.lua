#!lua flags=allow-oom
-- Take back a genuine token (RFC 7009 §2.1).
-- KEYS  1 grant
-- ARGV  the names below. `client_id` is empty if the caller did not say who it is; `access` is
--       the digest of an access token, empty for a refresh token.
-- Returns {'revoked', grant (JSON)} or {why not, grant (JSON)}. 'unknown' has the record of an
-- end in the grant's place, for a minute after it.
-- A refresh token ends the grant, and with it every access token. An access token ends alone,
-- and stays listed as revoked until it would have expired: within the grace time the refresh
-- token that it came from could otherwise give it again. A store that was set back, as by a
-- failover, may not know the token and yet give it again: then it stays listed for as long as
-- the grant lives. So a revocation needs no memory, or the few bytes of one more entry.
local client_id, access = unpack(ARGV)
local grant, stored = read_grant(KEYS[1])
if not grant then return {'unknown', stored} end
if client_id ~= '' and grant.client ~= client_id then return {'client', stored} end
if access == '' then return end_grant(KEYS[1], grant, stored, 'revoked') end

local now = now_ms()
local ends = (grant.access or {})[access] or (grant.revoked or {})[access]
if not ends then ends = now + redis.call('PTTL', KEYS[1]) end
if grant.access then grant.access[access] = nil end
grant.revoked = grant.revoked or {}
if not grant.revoked[access] then
  grant.revoked = trim(grant.revoked, now, LONGEST_LIST - 1) or {}
end
grant.revoked[access] = ends
write_grant(KEYS[1], grant, now)
return {'revoked', stored}
