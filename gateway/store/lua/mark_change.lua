#!lua flags=allow-oom
-- Make a change for its own sake. WAIT is about the last change of its connection, and a
-- repeated revocation makes none. The key is gone after a millisecond, so it needs no memory.
-- KEYS  1 a key that nobody reads
redis.call('SET', KEYS[1], '', 'PX', 1)
