-- One atomic reservation: room owner + media slot + port pair + AI capacity (I2, I3).
-- ARGV: prefix, lease ms, call lease ms, call_id, tenant, room, needed AI roles (comma separated), then field, value ...
-- of the call record. Returns {'ok', worker, port, stt, llm, tts} or {'no', reason}.
local p, lease, call_lease, call_id = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local room_key = p .. ':room:' .. ARGV[5] .. ':' .. ARGV[6]
local call_key = p .. ':call:' .. call_id
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local known = redis.call('HMGET', call_key, 'worker', 'port', 'stt', 'llm', 'tts')
if known[1] then return {'ok', known[1], known[2], known[3], known[4], known[5]} end

local function live(role, id)
  local score = redis.call('ZSCORE', p .. ':live:' .. role, id)
  return score and now - score <= lease
end

local function free(id)
  local w = redis.call('HMGET', p .. ':worker:' .. id, 'state', 'capacity')
  local used = redis.call('HLEN', p .. ':load:' .. id)
  return w[1], tonumber(w[2] or 0), used
end

-- The least loaded ready worker of a role, by share of its capacity.
local function pick(role)
  local best, best_share, seen
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. ':live:' .. role, now - lease, '+inf')) do
    local state, capacity, used = free(id)
    if state == 'ready' then
      seen = true
      local ports = role ~= 'media' or redis.call('LLEN', p .. ':ports:' .. id) > 0
      if used < capacity and ports and (not best or used / capacity < best_share) then
        best, best_share = id, used / capacity
      end
    end
  end
  if best then return best end
  return nil, (seen and 'full_' or 'no_') .. role
end

local worker, why = redis.call('HGET', room_key, 'worker'), nil
if worker and not live('media', worker) then
  redis.call('DEL', room_key)
  worker = false
end
if worker then
  -- A room stays where it is while it lives, also on a draining worker: its participants must hear each other.
  local _, capacity, used = free(worker)
  if used >= capacity or redis.call('LLEN', p .. ':ports:' .. worker) == 0 then return {'no', 'full_room'} end
else
  worker, why = pick('media')
  if not worker then return {'no', why} end
end

local ai = {stt = '', llm = '', tts = ''}
for role in string.gmatch(ARGV[7], '[^,]+') do
  ai[role], why = pick(role)
  if not ai[role] then return {'no', why} end
end

local port = redis.call('LPOP', p .. ':ports:' .. worker)
redis.call('HSET', room_key, 'worker', worker, call_id, '1')
redis.call('PEXPIRE', room_key, call_lease)
local function load(id, port_held)
  local key = p .. ':load:' .. id
  redis.call('HSET', key, call_id, now .. ' ' .. port_held)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, call_lease) end
end
load(worker, port)
for _, id in pairs(ai) do
  if id ~= '' then load(id, 0) end
end
redis.call('HSET', call_key, 'worker', worker, 'port', port, 'stt', ai.stt, 'llm', ai.llm, 'tts', ai.tts)
for i = 8, #ARGV, 2 do redis.call('HSET', call_key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', call_key, call_lease)
return {'ok', worker, port, ai.stt, ai.llm, ai.tts}
