package ratelimit

import "math"

// A budget is one endpoint's share of time, in microseconds. It is what
// reserve.lua and learn.lua keep in a Redis hash, and what a Limiter without
// Redis keeps in memory; a property test holds the two equal, answer for
// answer. The fields are described in the scripts.
type budget struct {
	gen             int64
	tat, mtat       int64
	gone, mgone     int64
	blocked         int64
	interval, until int64
	limit, window   int64
	first           int64
	sure            bool
	strikes, struck int64
	everUsed        bool // the hash exists
}

// terms are what a caller brings to a reservation; see ARGV of reserve.lua.
type terms struct {
	configured int64 // interval between requests; 0 is none
	fixed      bool  // the configured rate is a cap
	cost       int64 // of this request's messages
	slot, gen  int64 // held from an earlier call; slot 0 is none
	patience   int64 // -1: as long as it takes
	tolerance  int64
}

type verdict int64

const (
	leave  verdict = 1  // go now
	sleep  verdict = 0  // come back with slot and gen
	refuse verdict = -1 // nothing reserved: it would take longer than the caller's patience
)

// answer is the reply of reserve.lua.
type answer struct {
	verdict   verdict
	wait      int64
	slot, gen int64
	interval  int64
}

// reserve mirrors reserve.lua.
func (b *budget) reserve(now int64, t terms) answer {
	if !b.everUsed {
		b.gen = now
	}
	interval := b.inForce(now, t.configured, t.fixed)
	tat, mtat, blocked := b.tat, b.mtat, b.blocked
	horizon := max(hour, 100*interval, 100*t.cost)
	if tat > now+horizon {
		tat = now
	}
	if mtat > now+horizon {
		mtat = now
	}
	if blocked > now+horizon {
		blocked = now
	}

	depart := func(slot int64) answer {
		b.everUsed, b.tat, b.mtat = true, tat, mtat
		b.gone, b.mgone = now, max(b.mgone, slot+t.cost)
		return answer{verdict: leave, slot: slot, gen: b.gen, interval: interval}
	}
	if t.slot > 0 && t.gen == b.gen && blocked <= max(t.slot, now) {
		if t.slot > now {
			return answer{verdict: sleep, wait: t.slot - now, slot: t.slot, gen: b.gen, interval: interval}
		}
		if now-t.slot <= t.tolerance {
			return depart(t.slot)
		}
	}
	slot := max(now, tat, mtat, blocked)
	if t.patience >= 0 && slot-now > t.patience {
		return answer{verdict: refuse, wait: slot - now, gen: b.gen, interval: interval}
	}
	tat, mtat = slot+interval, slot+t.cost
	if slot == now {
		return depart(slot)
	}
	b.everUsed, b.tat, b.mtat = true, tat, mtat
	return answer{verdict: sleep, wait: slot - now, slot: slot, gen: b.gen, interval: interval}
}

// inForce is the interval between requests that counts now.
func (b *budget) inForce(now, configured int64, fixed bool) int64 {
	if b.until > now && b.interval > 0 && !(fixed && b.interval < configured) {
		return b.interval
	}
	return configured
}

// lesson is what an answer's headers said, in microseconds; see ARGV of learn.lua.
type lesson struct {
	limit, remaining int64
	reset, retry     int64
	refused          bool
	configured       int64
	life             int64
}

// learn mirrors learn.lua.
func (b *budget) learn(now int64, l lesson) (interval, blocked int64) {
	if !b.everUsed {
		b.gen, b.everUsed = now, true
	}
	if b.until > now+l.life {
		b.until = now
	}
	if b.until <= now {
		b.interval = 0
	}
	if b.blocked > now+l.life {
		b.blocked = now
	}
	before := b.interval
	if before == 0 {
		before = l.configured
	}

	if l.limit > 0 && l.reset > 0 {
		seen := (l.reset + second - 1) / second * second
		if b.interval == 0 || b.limit != l.limit {
			b.limit, b.window, b.first, b.sure, b.until = l.limit, seen, now+l.reset, false, now+l.life
		} else {
			b.window = max(b.window, seen)
			if now+l.reset > b.first+1_500_000 {
				b.sure = true
			}
		}
		b.interval = int64(math.Floor(float64(b.window) / float64(l.limit) / pace))
		if !b.sure && l.remaining > 0 {
			b.interval = max(b.interval, l.reset/l.remaining)
		}
	}

	var block int64
	if l.retry > 0 {
		block = now + min(l.retry, l.life)
	}
	if l.remaining == 0 && l.reset > 0 {
		block = max(block, now+min(l.reset, l.life))
	}
	if block == 0 && l.refused {
		if now-b.struck > 120*second {
			b.strikes = 0
		}
		b.strikes, b.struck = min(b.strikes+1, 7), now
		block = now + min(60*second, max(second, before)<<(b.strikes-1))
	}

	after := b.interval
	if after == 0 {
		after = l.configured
	}
	moved := math.Abs(float64(after-before)) > float64(before)*0.02 || block > b.blocked+50_000
	b.blocked = max(b.blocked, block)
	if moved {
		b.gen = max(b.gen+1, now)
		b.tat = max(b.blocked, b.gone+after)
		b.mtat = b.mgone
	}
	return b.interval, max(0, b.blocked-now)
}

const (
	second = int64(1_000_000) // in the budget's microseconds
	hour   = 3600 * second
)
