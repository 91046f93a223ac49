#!lua flags=allow-oom
-- Note the format of a gateway that starts. The key is a few bytes, written once for a format.
-- KEYS  1 the newest format that any gateway of this store has written
-- ARGV  the name below
-- Returns that format. Safe to repeat.
local format = tonumber(ARGV[1])
local newest = tonumber(redis.call('GET', KEYS[1]) or 0)
if format <= newest then return newest end
redis.call('SET', KEYS[1], format)
return format
