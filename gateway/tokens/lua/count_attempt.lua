#!lua
-- Count one more attempt in a fixed window.
-- KEYS  1 attempts   ARGV  1 window (ms)   2 id of this attempt   3 limit
-- Returns {attempts in this window, ms until it ends}. Safe to repeat: an attempt counts once.
-- How many there are past the limit is of no use to anybody, and is not kept.
local count = redis.call('SCARD', KEYS[1])
if count <= tonumber(ARGV[3]) then
  redis.call('SADD', KEYS[1], ARGV[2])
  if count == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  count = redis.call('SCARD', KEYS[1])
end
return {count, redis.call('PTTL', KEYS[1])}
