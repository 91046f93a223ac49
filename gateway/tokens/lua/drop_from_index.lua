#!lua flags=allow-oom
-- Take grants that are gone out of an index.
-- KEYS  1 index   ARGV  grant ids
-- Returns 'ok'. Safe to repeat. It needs no memory.
redis.call('ZREM', KEYS[1], unpack(ARGV))
tidy_index(KEYS[1], now_ms())
return 'ok'
