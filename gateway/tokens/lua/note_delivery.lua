#!lua flags=allow-oom
-- The answer of redeem_code or rotate_refresh has arrived: since then a repetition counts.
-- KEYS  1 grant
-- ARGV  1 id of the request that redeemed the code, or the refresh token (digest)
--       2 when that answer was made (ms, the store's clock): this may be told much later
-- Returns 1 if that was not known yet. Safe to repeat.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local grant = cjson.decode(stored)
if not grant.undelivered or grant.undelivered[1] ~= ARGV[1] then return 0 end
grant.undelivered = nil
local time = redis.call('TIME')
-- Another server's clock may be ahead of this one's; no grace time begins in the future.
local made_at = math.min(tonumber(ARGV[2]), time[1] * 1000 + math.floor(time[2] / 1000))
for _, entry in ipairs(grant.rotated or {}) do
  if entry[1] == ARGV[1] then entry[2] = made_at end
end
redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
return 1
