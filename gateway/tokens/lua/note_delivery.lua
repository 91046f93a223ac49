#!lua flags=allow-oom
-- Note that the answer of redeem_code or rotate_refresh has arrived. Since then a repetition
-- counts as one.
-- KEYS  1 grant
-- ARGV  the names below. `request` is the id of the request that redeemed the code, or the
--       refresh token (digest). `made_at` is when its answer was made (ms, the store's clock):
--       the note may come much later.
-- Returns 1 if that was not known yet. Safe to repeat. The grant gets smaller for it.
local request = ARGV[1]
local made_at = numbers(2, 2)
local grant = read_grant(KEYS[1])
if not grant or not is_undelivered(grant, request) then return 0 end
grant.undelivered = nil
local now = now_ms()
if grant.rotated and grant.rotated[request] then
  -- The clock of another server may be ahead of this one's: no grace time begins in the future.
  grant.rotated[request] = math.min(made_at, now)
end
write_grant(KEYS[1], grant, now)
return 1
