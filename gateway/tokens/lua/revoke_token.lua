#!lua flags=allow-oom
-- Take back a genuine token (RFC 7009 §2.1).
-- KEYS  1 grant   2 access token, absent for a refresh token
-- ARGV  1 client_id, '' if the caller did not say who it is
-- Returns {what was done: 'unknown', 'client', 'revoked', grant (JSON)}.
-- A refresh token ends the grant, and with it every access token. An access token ends
-- alone, and leaves an empty value until it would have expired: within the grace time the
-- refresh token it came from could otherwise give it again. A store that was set back, as by a
-- failover, may not know the token and yet give it again: then the empty value stays as long as
-- the grant. Nothing here needs more memory than that.
local stored = redis.call('GET', KEYS[1])
if not stored then return {'unknown', ''} end
if ARGV[1] ~= '' and cjson.decode(stored).client ~= ARGV[1] then return {'client', stored} end
if #KEYS == 1 then
  redis.call('DEL', KEYS[1])
elseif not redis.call('SET', KEYS[2], '', 'XX', 'KEEPTTL') then
  redis.call('SET', KEYS[2], '', 'PX', math.max(1, redis.call('PTTL', KEYS[1])))
end
return {'revoked', stored}
