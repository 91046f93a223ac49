#!lua
-- Exchange a refresh token for its successor and an access token (RFC 6749 §6, RFC 9700 §4.14).
-- KEYS  1 grant   2 how it ended   3.. access token under each of the gateway's keys, newest first;
--       all but 1 absent while they are elsewhere
-- ARGV  1 client_id   2 refresh token (digest)   3 scope, '' for the grant's own
--       4 access token lifetime (ms)   5 idle lifetime (ms)   6 grace (ms)
--       7 how long a gateway that had an answer may need to say so, once the store is back (ms)
--       then under each key, newest first: successor (digest), the successor's own (digest)
-- Returns {'ok', grant (JSON), access token's remaining ms, when (ms), scope, which key (1 is the
-- newest), access token's value, its lifetime (ms)}, or {why not, grant (JSON)}.
-- The caller has proved that the token is genuine. So one that is neither current nor within
-- its grace was used before, and its reuse ends the grant.
-- Safe to repeat: what was rotated in the grace time gives the same successor again, and the
-- same access token, which lives no longer for it and stays revoked if it was; and a reuse that
-- ended the grant is one again for a minute. The grace time
-- begins with the answer that arrived (see note_delivery), however long the store was silent.
-- 'pending' after it, from the first that asks until whoever had the answer would have said so.
local stored = redis.call('GET', KEYS[1])
if not stored then
  local ended = cjson.decode(KEYS[2] and redis.call('GET', KEYS[2]) or '[]')
  if ended[1] == ARGV[2] and cjson.decode(ended[2]).client == ARGV[1] then
    return {'reused', ended[2]}
  end
  return {'unknown', ''}
end
local grant = cjson.decode(stored)
if grant.client ~= ARGV[1] then return {'client', stored} end
if not grant.refresh then return {'unknown', stored} end

local scope = ARGV[3]
if scope == '' then
  scope = grant.scope
else
  local granted = ' ' .. grant.scope .. ' '
  for name in string.gmatch(scope, '%S+') do
    if not string.find(granted, ' ' .. name .. ' ', 1, true) then return {'scope', stored} end
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = grant.ends - now
if left <= 0 then return {'unknown', stored} end
local rotated = {}
local rotated_at
local past_grace
local undelivered = grant.undelivered or {}
for _, entry in ipairs(grant.rotated or {}) do
  local within_grace = now - entry[2] < tonumber(ARGV[6])
  if within_grace or entry[1] == undelivered[1] then
    rotated[#rotated + 1] = entry
    if entry[1] == ARGV[2] then
      rotated_at = math.min(entry[2], now)
      past_grace = not within_grace
    end
  end
end
if past_grace then
  local asked = undelivered[3]
  if not asked or now > asked + 20 * tonumber(ARGV[7]) then
    undelivered[3] = now
    redis.call('SET', KEYS[1], cjson.encode(grant), 'KEEPTTL')
    return {'pending', stored}
  elseif now < asked + tonumber(ARGV[7]) then
    return {'pending', stored}
  end
end

local key
if rotated_at then
  -- The keys may have been changed since: find the one whose successor was given. A gateway
  -- that has it no more can neither tell that one nor give another.
  local known = {[grant.refresh] = true}
  for _, entry in ipairs(rotated) do known[entry[1]] = true end
  for candidate = 1, (#ARGV - 7) / 2 do
    if known[ARGV[6 + 2 * candidate]] then key = candidate end
  end
  if not key then return {'unknown', stored} end
elseif ARGV[2] == grant.refresh or ARGV[2] == grant.next then
  -- Only who was given 'next' knows it: the store was set back behind that answer, and the
  -- current token is one that was exchanged as well.
  rotated[#rotated + 1] = {grant.refresh, now}
  if ARGV[2] == grant.next then rotated[#rotated + 1] = {grant.next, now} end
  -- No honest client comes this often; a grant is read with every request and must stay small.
  while #rotated > 64 do table.remove(rotated, 1) end
  grant.rotated = rotated
  grant.refresh = ARGV[8]
  grant.next = ARGV[9]
  grant.undelivered = {ARGV[2], now}
  key, rotated_at = 1, now
else
  if KEYS[2] then redis.call('SET', KEYS[2], cjson.encode({ARGV[2], stored}), 'PX', 60000) end
  redis.call('DEL', KEYS[1])
  return {'reused', stored}
end

grant.used = tonumber(time[1])
stored = cjson.encode(grant)
local access_ms = math.min(tonumber(ARGV[4]), left)
local idle_ms = math.max(access_ms, math.min(tonumber(ARGV[5]), left))
redis.call('SET', KEYS[1], stored, 'PX', idle_ms)
access_ms = math.min(access_ms, rotated_at + tonumber(ARGV[4]) - now)
local access = string.format('%d ', math.floor((now + access_ms) / 1000)) .. scope
local remaining_ms = access_ms
if KEYS[2] then
  if access_ms > 0 then redis.call('SET', KEYS[2 + key], access, 'PX', access_ms, 'NX') end
  remaining_ms = math.max(0, math.min(access_ms, redis.call('PTTL', KEYS[2 + key])))
end
return {'ok', stored, remaining_ms, now, scope, key, access, access_ms}
