#!lua flags=allow-oom
-- A change for its own sake: WAIT is about the last one that its connection made, and who
-- repeats a revocation makes none. Like the revocation it needs no memory to speak of.
-- KEYS  1 a key that nobody reads
redis.call('SET', KEYS[1], '', 'PX', 1)
