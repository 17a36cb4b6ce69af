-- Attaches a call to another AI worker of a role. ARGV: prefix, lease ms, call_id, role, worker to leave.
-- Returns the new worker, or '' when none is free.
local p, lease, call_id, role, old = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local best, best_share
for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. ':live:' .. role, now - lease, '+inf')) do
  local w = redis.call('HMGET', p .. ':worker:' .. id, 'state', 'capacity')
  local used, capacity = redis.call('HLEN', p .. ':load:' .. id), tonumber(w[2] or 0)
  if id ~= old and w[1] == 'ready' and used < capacity and (not best or used / capacity < best_share) then
    best, best_share = id, used / capacity
  end
end
if not best then return '' end
redis.call('HDEL', p .. ':load:' .. old, call_id)
local load_key = p .. ':load:' .. best
redis.call('HSET', load_key, call_id, now .. ' 0')
if redis.call('PTTL', load_key) < 0 then redis.call('PEXPIRE', load_key, 60000) end
if redis.call('EXISTS', p .. ':call:' .. call_id) == 1 then redis.call('HSET', p .. ':call:' .. call_id, role, best) end
return best
