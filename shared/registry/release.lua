-- Gives back everything a call holds, once; a second release finds nothing. ARGV: prefix, call_id, events ttl ms.
local p, call_id = ARGV[1], ARGV[2]
local call_key = p .. ':call:' .. call_id
local c = redis.call('HMGET', call_key, 'worker', 'stt', 'llm', 'tts', 'tenant', 'room_id')
redis.call('PEXPIRE', call_key .. ':events', ARGV[3])
if not c[1] then return 0 end
for i = 1, 4 do
  if c[i] and c[i] ~= '' then redis.call('HDEL', p .. ':load:' .. c[i], call_id) end
end
local room_key = p .. ':room:' .. (c[5] or '') .. ':' .. (c[6] or '')
redis.call('HDEL', room_key, call_id)
if redis.call('HLEN', room_key) <= 1 then redis.call('DEL', room_key) end
redis.call('DEL', call_key)
return 1
