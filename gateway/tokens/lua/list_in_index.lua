#!lua
-- Enter a grant in an index, scored by when it ends at the latest (seconds).
-- KEYS  1 index
-- ARGV  the names below. `lifetime_ms` is counted from now on by the index's own server, so the
--       clocks of two nodes need not agree.
-- Returns 'ok'. Safe to repeat: an entry is lengthened, never shortened.
local grant_id = ARGV[1]
local lifetime_ms = numbers(2, 2)
local now = now_ms()
redis.call('ZADD', KEYS[1], 'GT', math.ceil((now + lifetime_ms) / 1000), grant_id)
tidy_index(KEYS[1], now)
return 'ok'
