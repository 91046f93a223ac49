#!lua flags=allow-oom
-- The answer of redeem_code or rotate_refresh has arrived: since then a repetition counts.
-- KEYS  1 grant
-- ARGV  1 id of the request that redeemed the code, or the refresh token (digest)
--       2 how long ago the answer arrived (ms): this may be the first that the store is told
-- Returns 1 if that was not known yet. Safe to repeat.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local grant = cjson.decode(stored)
if not grant.undelivered or grant.undelivered[1] ~= ARGV[1] then return 0 end
grant.undelivered = nil
local time = redis.call('TIME')
local arrived = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[2])
for _, entry in ipairs(grant.rotated or {}) do
  if entry[1] == ARGV[1] then entry[2] = arrived end
end
redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
return 1
