#!lua flags=no-writes
-- Take one step through an index.
-- KEYS  1 index
-- ARGV  the names below: the cursor, '0' for the first step, and about how many at once
-- Returns {cursor of the next step, '0' after the last, grant ids}. An entry that is in the
-- index from the first step to the last is returned, though perhaps twice.
local cursor, count = unpack(ARGV)
local step = redis.call('ZSCAN', KEYS[1], cursor, 'COUNT', count)
local grant_ids = {}
for position = 1, #step[2], 2 do grant_ids[#grant_ids + 1] = step[2][position] end
return {step[1], grant_ids}
