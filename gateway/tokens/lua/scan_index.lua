#!lua flags=no-writes
-- One step through the index of a user or a client.
-- KEYS  1 index   ARGV  1 cursor, '0' for the first step   2 about how many at once
-- Returns {cursor of the next step, '0' after the last, grant ids}. What is in the index from
-- the first step to the last is returned, though perhaps twice.
local step = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local grant_ids = {}
for position = 1, #step[2], 2 do grant_ids[#grant_ids + 1] = step[2][position] end
return {step[1], grant_ids}
