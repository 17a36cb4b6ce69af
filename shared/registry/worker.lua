-- A worker's beat. ARGV: prefix, role, id, state, capacity, record, stream ttl ms.
-- Returns {1 when the worker was not known (first beat, or Redis lost its memory), calls reserved on it}.
local p, role, id = ARGV[1], ARGV[2], ARGV[3]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local key, live = p .. ':worker:' .. id, p .. ':live:' .. role
local fresh = 1 - redis.call('EXISTS', key)
redis.call('HSET', key, 'role', role, 'state', ARGV[4], 'capacity', ARGV[5], 'record', ARGV[6])
redis.call('ZADD', live, now, id)
redis.call('ZREMRANGEBYSCORE', live, '-inf', now - ARGV[7])
redis.call('PEXPIRE', live, ARGV[7])
for _, name in ipairs({'worker', 'load', 'ports', 'ctl', 'pcm'}) do
  redis.call('PEXPIRE', p .. ':' .. name .. ':' .. id, ARGV[7])
end
return {fresh, redis.call('HLEN', p .. ':load:' .. id)}
