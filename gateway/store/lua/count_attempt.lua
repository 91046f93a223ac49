#!lua
-- Count one more attempt in a fixed window.
-- KEYS  1 attempts
-- ARGV  the names below; times in ms
-- Returns {attempts in this window, ms until it ends}. Safe to repeat: an attempt counts once.
-- Attempts past the limit are not kept: the limit alone decides.
local window_ms, attempt_id, limit = unpack(ARGV)
local count = redis.call('SCARD', KEYS[1])
if count <= tonumber(limit) then
  redis.call('SADD', KEYS[1], attempt_id)
  if count == 0 then redis.call('PEXPIRE', KEYS[1], window_ms) end
  count = redis.call('SCARD', KEYS[1])
end
return {count, redis.call('PTTL', KEYS[1])}
