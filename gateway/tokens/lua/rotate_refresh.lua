#!lua
-- Exchange a refresh token for its successor and an access token (RFC 6749 §6, RFC 9700 §4.14).
-- KEYS  1 grant
-- ARGV  the names below. Tokens are digests. `scope` is empty for the grant's own.
--       `origin` is a digest of the network that the request came from, or empty.
--       `settling_ms` is how long a gateway that had an answer may need to say so, once the
--       store is back. Then three for each of the gateway's keys, the newest key first: what the
--       token gives under it (access token, successor), and the successor's own successor.
-- Returns {'ok', grant (JSON), when (ms), access token's remaining ms, for how long the indexes
-- have to list the grant (ms; 0 if they do), scope, which key (1 is the newest), 1 if the token
-- was exchanged before from another network}, or {why not, grant (JSON)}.
-- The caller has proved that the token is genuine. So a token that is neither current nor
-- within its grace time was used before, and its reuse ends the grant.
-- Safe to repeat. A token that was exchanged in the grace time gives the same successor again,
-- and the same access token, which lives no longer for it and stays revoked if it was. A reuse
-- that ended the grant is told so again for a minute. The grace time begins with the answer
-- that arrived, however long the store was silent; after it 'pending' until it is certain
-- that no answer did.
local client_id, presented, scope, origin = unpack(ARGV, 1, 4)
local access_ms, idle_ms, grace_ms, settling_ms = numbers(5, 8)
local candidates = {}
for position = 9, #ARGV, 3 do
  local access, refresh, next_refresh = unpack(ARGV, position, position + 2)
  candidates[#candidates + 1] = {access = access, refresh = refresh, next_refresh = next_refresh}
end

-- From which network each token of `rotated` was exchanged; nil where nobody said.
local function origins_of(rotated, known, presented, origin)
  local origins = {}
  for token in pairs(rotated) do origins[token] = known[token] end
  if origin ~= '' then origins[presented] = origin end
  return next(origins) and origins or nil
end

local grant, stored, record = read_grant(KEYS[1])
if not grant then return answer_ended(record, stored, client_id, presented) end
if grant.client ~= client_id then return {'client', stored} end
if not grant.refresh then return {'unknown', stored} end
if scope == '' then scope = grant.scope end
local granted = ' ' .. grant.scope .. ' '
for name in string.gmatch(scope, '%S+') do
  if not string.find(granted, ' ' .. name .. ' ', 1, true) then return {'scope', stored} end
end
local now = now_ms()
local left_ms = grant.ends - now
if left_ms <= 0 then return {'unknown', stored} end

-- Refresh tokens that were exchanged, and when. An undelivered answer has no grace time yet.
local rotated = {}
for token, rotated_at in pairs(grant.rotated or {}) do
  if now - rotated_at < grace_ms or is_undelivered(grant, token) then rotated[token] = rotated_at end
end
local rotated_at = rotated[presented] and math.min(rotated[presented], now)
if rotated_at and now - rotated[presented] >= grace_ms
    and waits_for_delivery(KEYS[1], grant, now, settling_ms) then
  return {'pending', stored}
end

local is_undelivered_again = is_undelivered(grant, presented)
local given
local first_origin = (grant.origins or {})[presented] or origin
if rotated_at then
  -- The keys may have been changed since. Find the one whose successor was given: a gateway
  -- that no longer has that key can neither tell it nor give another one.
  for number, candidate in ipairs(candidates) do
    if candidate.refresh == grant.refresh or rotated[candidate.refresh] then given = number end
  end
  if not given then return {'unknown', stored} end
elseif presented == grant.refresh or presented == grant.next then
  given, rotated_at = 1, now
  rotated = trim(rotated, 0, LONGEST_LIST - 2) or {}
  rotated[grant.refresh] = now
  -- Only who was given the successor can present it. So the store was set back behind that
  -- answer, and the token that it takes for the current one was exchanged as well.
  rotated[presented] = now
  grant.rotated = rotated
  grant.origins = origins_of(rotated, grant.origins or {}, presented, origin)
  grant.refresh, grant.next = candidates[1].refresh, candidates[1].next_refresh
  grant.undelivered = {request = presented}
else
  return end_grant(KEYS[1], grant, stored, 'reused', presented)
end

grant.used = math.floor(now / 1000)
local access = candidates[given].access
local access_ends = math.min(rotated_at + access_ms, grant.ends)
access_ends = give_access(grant, access, scope, access_ends, now)
local lifetime_ms = math.max(math.min(access_ms, left_ms), math.min(idle_ms, left_ms))
local listing = listing_ms(grant, now, lifetime_ms, idle_ms, is_undelivered_again)
stored = write_grant(KEYS[1], grant, now, lifetime_ms)
local is_elsewhere = origin ~= '' and first_origin ~= origin and 1 or 0
return {'ok', stored, now, math.max(0, access_ends - now), listing, scope, given, is_elsewhere}
