#!lua
-- Note that a grant's access token was used, for the page that says when it last was.
-- KEYS  1 grant   2 access token: one that is revoked or expired is not used
local stored, access = unpack(redis.call('MGET', KEYS[1], KEYS[2]))
if not stored or not access or access == '' then return 0 end
local grant = cjson.decode(stored)
grant.used = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
return 1
