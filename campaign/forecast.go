package campaign

import (
	"time"
)

// Forecast says when the first and the last of some batches would leave, one
// after the other, from start on and each so long after the one before. Batches
// are counted by the zone they were cut for, "" where it is not known. It takes
// them in the order in which their windows close, and knows nothing of refusals,
// other campaigns and pauses. Both are zero when there is no batch.
func (t *Timing) Forecast(batches map[string]int, start time.Time, each time.Duration) (first, last time.Time, err error) {
	type line struct {
		loc  *time.Location
		left int
	}
	var lines []*line
	for zone, n := range batches {
		l := &line{left: n}
		if t.Window != nil {
			if l.loc, err = t.BatchZone(zone); err != nil {
				return first, last, err
			}
		}
		if n > 0 {
			lines = append(lines, l)
		}
	}
	now := start
	for len(lines) > 0 {
		var (
			best          *line
			closes, opens time.Time
		)
		for _, l := range lines {
			if t.Window == nil {
				best = l
				break
			}
			if next := t.Window.Next(now, l.loc); next.After(now) {
				if opens.IsZero() || next.Before(opens) {
					opens = next
				}
				continue
			}
			end := t.Window.Closes(now, l.loc)
			if best == nil || !end.IsZero() && (closes.IsZero() || end.Before(closes)) {
				best, closes = l, end
			}
		}
		if best == nil {
			if opens.IsZero() {
				return first, last, Errorf(CodeInvalid, "the window %s never opens again", t.Window)
			}
			now = opens
			continue
		}
		// As many as fit before the window closes, at once.
		n := best.left
		if !closes.IsZero() && each > 0 {
			n = min(n, int((closes.Sub(now)-1)/each)+1)
		}
		if first.IsZero() {
			first = now
		}
		last = now.Add(time.Duration(n-1) * each)
		now = last.Add(each)
		if best.left -= n; best.left == 0 {
			for i, l := range lines {
				if l == best {
					lines = append(lines[:i], lines[i+1:]...)
					break
				}
			}
		}
	}
	return first, last, nil
}

// BatchesByZone is how many of a plan's batches are for each zone, as far as the
// summary tells.
func (s *PlanSummary) BatchesByZone() map[string]int {
	if len(s.Zones) == 0 || s.Sendable == 0 {
		return map[string]int{"": s.Batches}
	}
	all := map[string]int{}
	for zone, n := range s.Zones {
		all[zone] = max((n+MaxBatch-1)/MaxBatch, int(int64(s.Batches)*int64(n)/int64(s.Sendable)))
	}
	return all
}
