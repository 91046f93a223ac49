-- What the scripts about grants share. The loader puts this behind a script's first line,
-- together with FORMAT, the number of the format that this gateway writes.

-- How many access tokens, revoked ones and exchanged refresh tokens a grant lists at the most.
-- No honest client needs as many, and every request reads the grant.
local LONGEST_LIST = 64

-- How long the record of an end stays (ms).
local ENDED_MS = 60000

-- The indexes list a grant for a part of its idle time longer than it lives: one in this many.
local SPARE_PARTS = 30

-- The store's clock. The clocks of gateways need not agree.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The arguments from `first` to `last` as numbers.
local function numbers(first, last)
  local found = {}
  for position = first, last do found[#found + 1] = tonumber(ARGV[position]) end
  return unpack(found)
end

-- Return {the grant, its JSON}. Where it has ended: nil, the JSON of the record, the record.
local function read_grant(key)
  local stored = redis.call('GET', key)
  if not stored then return nil, '' end
  local value = cjson.decode(stored)
  if (value.format or 0) > FORMAT + 1 then
    error('a gateway that is two formats ahead has written this grant')
  end
  if value.ended then return nil, stored, value end
  return value, stored
end

-- Drop from `list` (names with their times) each name whose time has come, and then the
-- earliest ones until `longest` are left. Return the list, nil for an empty one.
local function trim(list, now, longest)
  local count = 0
  for name, time in pairs(list or {}) do
    if time <= now then list[name] = nil else count = count + 1 end
  end
  for _ = longest + 1, count do
    local earliest
    for name, time in pairs(list) do
      if not earliest or time < list[earliest] then earliest = name end
    end
    list[earliest] = nil
  end
  return list and next(list) and list or nil
end

-- Keep a grant for `lifetime_ms`, or for as long as before if that is nil. Return its JSON.
-- Members that this version does not know stay.
local function write_grant(key, grant, now, lifetime_ms)
  grant.format = math.max(grant.format or 0, FORMAT)
  grant.access = trim(grant.access, now, LONGEST_LIST)
  grant.revoked = trim(grant.revoked, now, LONGEST_LIST)
  for token in pairs(grant.narrowed or {}) do
    if not (grant.access and grant.access[token]) then grant.narrowed[token] = nil end
  end
  if grant.narrowed and not next(grant.narrowed) then grant.narrowed = nil end
  local stored = cjson.encode(grant)
  if lifetime_ms then
    redis.call('SET', key, stored, 'PX', lifetime_ms)
  else
    redis.call('SET', key, stored, 'KEEPTTL')
  end
  return stored
end

-- End a grant with all its tokens. A record of the end takes its place for a minute, and is
-- smaller than the grant. `token` is the code or refresh token whose use has ended it.
local function end_grant(key, grant, stored, how, token)
  local record = {
    format = grant.format, ended = how, token = token,
    client = grant.client, user = grant.user, used = grant.used,
  }
  redis.call('SET', key, cjson.encode(record), 'PX', ENDED_MS)
  return {how, stored}
end

-- The answer about a grant that is not there. Who repeats the request that ended it, because
-- the answer got lost, gets that answer again.
local function answer_ended(record, stored, client_id, token)
  if record and record.token == token and record.client == client_id then
    return {record.ended, stored}
  end
  return {'unknown', ''}
end

-- Whether the answer to a request, or to a refresh token, may not have arrived. Then nobody may
-- have its tokens, and a repetition is no replay (see note_delivery).
local function is_undelivered(grant, request)
  return grant.undelivered ~= nil and grant.undelivered.request == request
end

-- Whether a repetition has to wait: from the first one on, for `settling_ms`. By then every
-- gateway that had the answer, and reaches the store, has said so.
local function waits_for_delivery(key, grant, now, settling_ms)
  local asked = grant.undelivered.asked
  if asked and now <= asked + 20 * settling_ms then return now < asked + settling_ms end
  grant.undelivered.asked = now
  write_grant(key, grant, now)
  return true
end

-- Give a grant an access token that ends at `ends`; return when it ends. A token that it has
-- lives no longer for it, and one that was revoked stays so.
local function give_access(grant, token, scope, ends, now)
  local known = (grant.access or {})[token] or (grant.revoked or {})[token]
  if known then return math.min(known, ends) end
  if ends <= now then return now end
  grant.access = trim(grant.access, now, LONGEST_LIST - 1) or {}
  grant.access[token] = ends
  if scope ~= grant.scope then
    grant.narrowed = grant.narrowed or {}
    grant.narrowed[token] = scope
  end
  return ends
end

-- For how long the indexes have to list a grant that lives for `lifetime_ms` (ms); 0 if it is
-- certain that they do. They list it for longer than it lives, so that most refreshes need not
-- lengthen that, and a lengthening that is late comes in time.
local function listing_ms(grant, now, lifetime_ms, idle_ms, is_repeated)
  local spare_ms = grant.refresh and math.floor(idle_ms / SPARE_PARTS) or 0
  local ends = now + lifetime_ms
  local is_listed = (grant.listed or 0) * 1000 >= math.min(ends + spare_ms, grant.ends)
  if not is_listed then
    grant.listed = math.ceil(math.min(ends + 2 * spare_ms, grant.ends) / 1000)
  end
  return (is_repeated or not is_listed) and grant.listed * 1000 - now or 0
end

-- Drop the entries of an index that are past their time; let it expire with its last entry.
local function tidy_index(index, now)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', math.floor(now / 1000))
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  if last[2] then redis.call('EXPIREAT', index, last[2]) end
end
