-- Renews the leases of a media worker's calls. ARGV: prefix, call lease ms, call_id ...
-- Returns the calls whose records are gone: Redis lost its memory, and the worker writes them again.
local p, missing = ARGV[1], {}
for i = 3, #ARGV do
  local key = p .. ':call:' .. ARGV[i]
  if redis.call('PEXPIRE', key, ARGV[2]) == 0 then
    missing[#missing + 1] = ARGV[i]
  else
    local c = redis.call('HMGET', key, 'tenant', 'room_id')
    redis.call('PEXPIRE', p .. ':room:' .. (c[1] or '') .. ':' .. (c[2] or ''), ARGV[2])
    redis.call('PEXPIRE', key .. ':events', ARGV[2] * 4)
  end
end
return missing
