-- Take over what an answer's headers said about one endpoint's limit.
--
-- Every time and duration is a whole number of microseconds; "now" is Redis'
-- own TIME.
--
-- KEYS[1]  the endpoint's hash, as in reserve.lua. Fields of this script:
--            limit     requests in a window
--            window    the longest time to reset that was seen, in whole seconds
--            first     when the window ends in which learning began
--            sure      1 once a later window was seen: only then is window's length known
--            interval  time between requests that follows
--            until     when all this is forgotten
--            strikes, struck   refusals (429) in a row that named no time, and when the last came
-- ARGV[1]  limit (0: not said)
-- ARGV[2]  remaining (-1: not said)
-- ARGV[3]  time to reset (0: not said, or past)
-- ARGV[4]  Retry-After (0: not said)
-- ARGV[5]  1: the request was refused with 429
-- ARGV[6]  configured interval between requests
-- ARGV[7]  how long what is learned counts
-- ARGV[8]  the share of the limit that is used, 0 to 1
--
-- Reply    {interval, blocked}
--            interval  the learned interval (0: nothing learned)
--            blocked   how long nothing leaves from now on (0: not blocked)
local key = KEYS[1]
local limit, remaining, reset = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local retry, refused, configured = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local life, pace = tonumber(ARGV[7]), tonumber(ARGV[8])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local h = redis.call('HMGET', key, 'gen', 'tat', 'mtat', 'gone', 'mgone', 'blocked', 'interval', 'until',
  'limit', 'window', 'first', 'sure', 'strikes', 'struck')
local function num(i, missing) return tonumber(h[i]) or missing end
local gen, tat, mtat, gone, mgone = num(1, now), num(2, 0), num(3, 0), num(4, 0), num(5, 0)
local blocked, interval, untl = num(6, 0), num(7, 0), num(8, 0)
local known, window, first, sure = num(9, 0), num(10, 0), num(11, 0), num(12, 0)
local strikes, struck = num(13, 0), num(14, 0)

local function whole(x) return string.format('%.0f', x) end

if untl > now + life then untl = now end
if untl <= now then interval = 0 end
if blocked > now + life then blocked = now end

local before = interval
if before == 0 then before = configured end

if limit > 0 and reset > 0 then
  local seen = math.ceil(reset / 1000000) * 1000000
  if interval == 0 or known ~= limit then
    known, window, first, sure, untl = limit, seen, now + reset, 0, now + life
  else
    window = math.max(window, seen)
    if now + reset > first + 1500000 then sure = 1 end
  end
  interval = math.floor(window / limit / pace)
  if sure == 0 and remaining > 0 then
    interval = math.max(interval, math.floor(reset / remaining))
  end
end

local block = 0
if retry > 0 then block = now + math.min(retry, life) end
if remaining == 0 and reset > 0 then block = math.max(block, now + math.min(reset, life)) end
if block == 0 and refused == 1 then
  if now - struck > 120000000 then strikes = 0 end
  strikes, struck = math.min(strikes + 1, 7), now
  block = now + math.min(60000000, math.max(1000000, before) * 2 ^ (strikes - 1))
end

-- Slots that were given away under other terms are void: their holders ask
-- again when they wake. What has really left keeps its place.
local after = interval
if after == 0 then after = configured end
local moved = math.abs(after - before) > before * 0.02
if block > blocked + 50000 then
  moved = true
end
blocked = math.max(blocked, block)
if moved then
  gen = math.max(gen + 1, now)
  tat = math.max(blocked, gone + after)
  mtat = mgone
end

redis.call('HSET', key, 'gen', whole(gen), 'tat', whole(tat), 'mtat', whole(mtat), 'blocked', whole(blocked),
  'interval', whole(interval), 'until', whole(untl), 'limit', whole(known), 'window', whole(window),
  'first', whole(first), 'sure', whole(sure), 'strikes', whole(strikes), 'struck', whole(struck))
local last = math.max(now, tat, mtat, mgone, blocked, untl)
redis.call('PEXPIRE', key, whole(math.ceil((last - now) / 1000) + 60000))
return {interval, math.max(0, blocked - now)}
