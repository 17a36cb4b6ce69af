-- Marks a call as answered while its record is there; never writes one for a call that is gone. ARGV: prefix, call_id.
local key = ARGV[1] .. ':call:' .. ARGV[2]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'state', 'answered')
return 1
