#!lua
-- Consume an authorization code and store what it gives, in one step (RFC 6749 §4.1.3, §10.5).
-- KEYS  1 grant   2 how it ended   3 access token; 2 and 3 absent while they are elsewhere
-- ARGV  1 client_id   2 code (digest)   3 redirect_uri, '' if none was sent
--       4 code challenge of the verifier, '' if none was sent   5 id of this request
--       6 access token lifetime (ms)   7 idle lifetime (ms)   8 absolute lifetime (ms)
--       9 refresh token (digest), '' for none   10 its successor (digest)
--      11 how long a gateway that had an answer may need to say so, once the store is back (ms)
--      12 lifetime of the code (ms)
-- Returns {'ok', grant (JSON), access token's remaining ms, when (ms), scope, 1, access token's
-- value, its lifetime (ms)}, or {why not, grant (JSON)}.
-- A wrong proof changes nothing; a replay with the right one ends the grant (RFC 9700 §4.5).
-- Safe to repeat: the request that redeemed the code gets the same answer again, and a replay that
-- ended the grant is one again for a minute. If the answer that gave the tokens
-- never arrived (see note_delivery), nobody has them, and the client's next request gets them: a
-- store that fell silent is no replay. 'pending' from the first that asks again until
-- whoever had the answer would have said so. And no code outlives itself: the grant keeps it for
-- as long as there are tokens, to know a replay.
local stored = redis.call('GET', KEYS[1])
if not stored then
  local ended = cjson.decode(KEYS[2] and redis.call('GET', KEYS[2]) or '[]')
  if ended[1] == ARGV[2] and cjson.decode(ended[2]).client == ARGV[1] then
    return {'replayed', ended[2]}
  end
  return {'unknown', ''}
end
local grant = cjson.decode(stored)
if grant.code ~= ARGV[2] then return {'unknown', ''} end
if grant.client ~= ARGV[1] then return {'client', stored} end
local default_redirect_uri = ARGV[3] == '' and grant.redirect_uri_omitted
if grant.redirect_uri ~= ARGV[3] and not default_redirect_uri then return {'redirect_uri', stored} end
if grant.challenge ~= ARGV[4] then return {'code_verifier', stored} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_repeated = grant.redeemed == ARGV[5]
local redeemed_at = is_repeated and grant.ends - tonumber(ARGV[8]) or now
if grant.redeemed and not is_repeated then
  local undelivered = grant.undelivered
  local is_over = now > (grant.since + 1) * 1000 + tonumber(ARGV[12])
  if is_over or not undelivered or undelivered[1] ~= grant.redeemed then
    if KEYS[2] then
      redis.call('SET', KEYS[2], cjson.encode({ARGV[2], stored}), 'PX', 60000)
    end
    redis.call('DEL', KEYS[1])
    return {'replayed', stored}
  end
  local asked = undelivered[3]
  if not asked or now > asked + 20 * tonumber(ARGV[11]) then
    undelivered[3] = now
    redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
    return {'pending', stored}
  elseif now < asked + tonumber(ARGV[11]) then
    return {'pending', stored}
  end
end

local access_ms = math.min(tonumber(ARGV[6]), tonumber(ARGV[8]))
if not is_repeated then
  grant.redeemed = ARGV[5]
  grant.undelivered = {ARGV[5], now}
  grant.used = tonumber(time[1])
  grant.ends = now + tonumber(ARGV[8])
  local idle_ms = access_ms
  if ARGV[9] ~= '' then
    grant.refresh = ARGV[9]
    grant.next = ARGV[10]
    idle_ms = math.max(access_ms, math.min(tonumber(ARGV[7]), tonumber(ARGV[8])))
  end
  stored = cjson.encode(grant)
  redis.call('SET', KEYS[1], stored, 'PX', idle_ms)
end
local ends_at = redeemed_at + access_ms
local access = string.format('%d ', math.floor(ends_at / 1000)) .. grant.scope
local left = ends_at - now
local remaining_ms = left
if KEYS[3] then
  -- What was revoked meanwhile stays so: a store that was set back, or whose answer was lost.
  if left > 0 then redis.call('SET', KEYS[3], access, 'PX', left, 'NX') end
  remaining_ms = math.max(0, math.min(left, redis.call('PTTL', KEYS[3])))
end
return {'ok', stored, remaining_ms, now, grant.scope, 1, access, left}
