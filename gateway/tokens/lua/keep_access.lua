#!lua
-- Keep an access token whose grant another script has changed, while the two are on two nodes.
-- KEYS  1 access token   ARGV  1 its value   2 its lifetime (ms)
-- Returns its remaining ms. Safe to repeat; what was revoked meanwhile stays so.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')
return math.max(0, math.min(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1])))
