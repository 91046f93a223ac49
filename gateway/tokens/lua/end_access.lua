#!lua flags=allow-oom
-- Take back an access token by itself, as revoke_token does, while its grant is on another node.
-- KEYS  1 access token   ARGV  1 how long the grant lives (ms)
-- Safe to repeat.
if not redis.call('SET', KEYS[1], '', 'XX', 'KEEPTTL') then
  redis.call('SET', KEYS[1], '', 'PX', math.max(1, tonumber(ARGV[1])))
end
