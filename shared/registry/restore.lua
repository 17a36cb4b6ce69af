-- Writes a live call's record and leases again, as its media worker knows them.
-- ARGV: prefix, call lease ms, call_id, then field, value ... of the call record.
local p, call_id = ARGV[1], ARGV[3]
local key, c = p .. ':call:' .. call_id, {}
for i = 4, #ARGV, 2 do
  c[ARGV[i]] = ARGV[i + 1]
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', key, ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function load(id, port_held)
  local load_key = p .. ':load:' .. id
  redis.call('HSET', load_key, call_id, now .. ' ' .. port_held)
  if redis.call('PTTL', load_key) < 0 then redis.call('PEXPIRE', load_key, ARGV[2]) end
end
load(c.worker, c.port)
for _, role in ipairs({'stt', 'llm', 'tts'}) do
  if c[role] and c[role] ~= '' then load(c[role], 0) end
end
local room_key = p .. ':room:' .. c.tenant .. ':' .. c.room_id
redis.call('HSET', room_key, 'worker', c.worker, call_id, '1')
redis.call('PEXPIRE', room_key, ARGV[2])
return 1
