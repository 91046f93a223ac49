#!lua
-- Note that a grant's access token was used, for the page that says when it last was.
-- KEYS  1 grant
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local grant = cjson.decode(stored)
grant.used = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
return 1
