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
redis.call('HSET', p .. ':load:' .. c.worker, call_id, now .. ' ' .. c.port)
for _, role in ipairs({'stt', 'llm', 'tts'}) do
  if c[role] and c[role] ~= '' then redis.call('HSET', p .. ':load:' .. c[role], call_id, now .. ' 0') end
end
local room_key = p .. ':room:' .. c.tenant .. ':' .. c.room_id
redis.call('HSET', room_key, 'worker', c.worker, call_id, '1')
redis.call('PEXPIRE', room_key, ARGV[2])
return 1
