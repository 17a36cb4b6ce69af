-- Drops load entries of calls that have had no record for longer than a call lease: front and media worker died, and
-- the record went by its lease, so no release will ever name this worker. A younger entry may be one whose record is
-- being written again after Redis forgot. ARGV: prefix, call lease ms, worker id. Returns how many went.
local p, lease, key, gone = ARGV[1], tonumber(ARGV[2]), ARGV[1] .. ':load:' .. ARGV[3], 0
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local rows = redis.call('HGETALL', key)
for i = 1, #rows, 2 do
  local since = tonumber(string.match(rows[i + 1], '^%d+') or 0)
  if now - since > lease and redis.call('EXISTS', p .. ':call:' .. rows[i]) == 0 then
    gone = gone + redis.call('HDEL', key, rows[i])
  end
end
return gone
