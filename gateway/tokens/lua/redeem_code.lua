#!lua
-- Consume an authorization code and store what it gives, in one step (RFC 6749 §4.1.3, §10.5).
-- KEYS  1 grant
-- ARGV  the names below. Tokens are digests. Empty are: `redirect_uri` and `challenge` (made of
--       the verifier) where the request had none, `refresh` where the client gets none.
--       `settling_ms` is how long a gateway that had an answer may need to say so, once the
--       store is back.
-- Returns {'ok', grant (JSON), when (ms), access token's remaining ms, for how long the indexes
-- have to list the grant (ms), scope, 1}, or {why not, grant (JSON)}.
-- A wrong proof changes nothing. A replay with the right proof ends the grant (RFC 9700 §4.5).
-- Safe to repeat: the request that redeemed the code gets the same answer again, and a replay
-- that ended the grant is told so again for a minute. If the answer that gave the tokens never
-- arrived, nobody has them, and the client's next request gets them; 'pending' until that is
-- certain. No code outlives its lifetime: the grant keeps a used code only to know a replay.
local client_id, code, redirect_uri, challenge, request_id = unpack(ARGV, 1, 5)
local access, refresh, next_refresh = unpack(ARGV, 6, 8)
local access_ms, idle_ms, absolute_ms, settling_ms, code_ms = numbers(9, 13)

local grant, stored, record = read_grant(KEYS[1])
if not grant then return answer_ended(record, stored, client_id, code) end
if grant.code ~= code then return {'unknown', ''} end
if grant.client ~= client_id then return {'client', stored} end
local is_default_uri = redirect_uri == '' and grant.redirect_uri_omitted
if grant.redirect_uri ~= redirect_uri and not is_default_uri then return {'redirect_uri', stored} end
if grant.challenge ~= challenge then return {'code_verifier', stored} end

local now = now_ms()
local is_repeated = grant.redeemed == request_id
if grant.redeemed and not is_repeated then
  local is_over = now > (grant.since + 1) * 1000 + code_ms
  if is_over or not is_undelivered(grant, grant.redeemed) then
    return end_grant(KEYS[1], grant, stored, 'replayed', code)
  end
  if waits_for_delivery(KEYS[1], grant, now, settling_ms) then return {'pending', stored} end
end

if not is_repeated then
  grant.redeemed = request_id
  grant.undelivered = {request = request_id}
  grant.used = math.floor(now / 1000)
  grant.ends = now + absolute_ms
  if refresh ~= '' then grant.refresh, grant.next = refresh, next_refresh end
end
access_ms = math.min(access_ms, absolute_ms)
local lifetime_ms = access_ms
if refresh ~= '' then lifetime_ms = math.max(access_ms, math.min(idle_ms, absolute_ms)) end
local redeemed_at = grant.ends - absolute_ms
local access_ends = give_access(grant, access, grant.scope, redeemed_at + access_ms, now)
local listing = listing_ms(grant, redeemed_at, lifetime_ms, idle_ms, true)
if not is_repeated then stored = write_grant(KEYS[1], grant, now, lifetime_ms) end
return {'ok', stored, now, math.max(0, access_ends - now), listing, grant.scope, 1}
