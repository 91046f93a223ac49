#!lua
-- Enter a grant in the index of a user or a client, scored by when it ends at the latest.
-- KEYS  1 index   ARGV  1 grant id   2 latest lifetime (ms)
-- Entries past their score are dropped. Safe to repeat.
local now = tonumber(redis.call('TIME')[1])
local lifetime = math.ceil(tonumber(ARGV[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], 'GT', now + lifetime, ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', KEYS[1], math.floor(tonumber(last[2])) + 1)
return 'ok'
