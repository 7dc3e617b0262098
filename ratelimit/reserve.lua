-- Reserve a departure slot in one endpoint's shared budget (GCRA, burst 1), or
-- ask whether a slot that was reserved earlier still stands.
--
-- Every time and duration is a whole number of microseconds; "now" is Redis'
-- own TIME, so the clocks of the workers do not matter.
--
-- KEYS[1]  the endpoint's hash. Fields:
--            gen       generation of reservations; a slot of another one is void
--            tat       when the next request may leave
--            mtat      when the next message may leave (message budget)
--            gone      when a request last left
--            mgone     until when the messages that have left use up the message budget
--            blocked   nothing leaves before this (Retry-After, remaining 0)
--            interval, until   the learned time between requests, and how long it counts
--            limit, window, first, sure, strikes, struck   see learn.lua
-- ARGV[1]  configured interval between requests (0: none)
-- ARGV[2]  1: the configured rate is a cap, 0: what was learned may be faster
-- ARGV[3]  what this request's messages cost in the message budget (0: no such budget)
-- ARGV[4]  slot held from an earlier call (0: none)
-- ARGV[5]  generation of that slot
-- ARGV[6]  how long the caller will wait (-1: as long as it takes)
-- ARGV[7]  how late a caller may come to its slot
--
-- Reply    {verdict, wait, slot, gen, interval}
--            verdict  1  leave now
--                     0  sleep for wait (or less), then call again with slot and gen
--                    -1  nothing reserved: wait is longer than the caller's patience
--            interval    the interval in force
local key = KEYS[1]
local configured, fixed, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local slot, held = tonumber(ARGV[4]), tonumber(ARGV[5])
local patience, tolerance = tonumber(ARGV[6]), tonumber(ARGV[7])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local h = redis.call('HMGET', key, 'gen', 'tat', 'mtat', 'mgone', 'blocked', 'interval', 'until')
local gen, tat, mtat = tonumber(h[1]) or now, tonumber(h[2]) or 0, tonumber(h[3]) or 0
local mgone, blocked = tonumber(h[4]) or 0, tonumber(h[5]) or 0
local learned, untl = tonumber(h[6]) or 0, tonumber(h[7]) or 0

-- A number that Lua prints by itself loses digits at this size.
local function whole(x) return string.format('%.0f', x) end

-- Keep the hash as long as anything in it can matter, and a minute more.
local function keep()
  local last = math.max(now, tat, mtat, mgone, blocked, untl)
  redis.call('PEXPIRE', key, whole(math.ceil((last - now) / 1000) + 60000))
end

local interval = configured
if untl > now and learned > 0 and not (fixed == 1 and learned < configured) then interval = learned end

-- Redis' clock stepped back (another server was promoted, NTP): what lies
-- absurdly far ahead was reserved on a clock that is no longer ours.
local horizon = math.max(3600000000, 100 * interval, 100 * cost)
if tat > now + horizon then tat = now end
if mtat > now + horizon then mtat = now end
if blocked > now + horizon then blocked = now end

local function leave(slot)
  mgone = math.max(mgone, slot + cost)
  redis.call('HSET', key, 'gen', whole(gen), 'tat', whole(tat), 'mtat', whole(mtat),
    'gone', whole(now), 'mgone', whole(mgone))
  keep()
  return {1, 0, slot, gen, interval}
end

if slot > 0 and held == gen and blocked <= math.max(slot, now) then
  if slot > now then return {0, slot - now, slot, gen, interval} end
  if now - slot <= tolerance then return leave(slot) end
end

slot = math.max(now, tat, mtat, blocked)
if patience >= 0 and slot - now > patience then return {-1, slot - now, 0, gen, interval} end
tat, mtat = slot + interval, slot + cost
if slot == now then return leave(slot) end
redis.call('HSET', key, 'gen', whole(gen), 'tat', whole(tat), 'mtat', whole(mtat))
keep()
return {0, slot - now, slot, gen, interval}
