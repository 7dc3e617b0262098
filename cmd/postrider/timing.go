package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// leavesLayout is how a moment is shown beside the zone whose clock counts.
const leavesLayout = "Mon 2 Jan 2006 15:04 MST"

// showTiming says when messages may leave, on whose clocks, and when the first
// and the last of them would at the allowed rate.
func (m *Main) showTiming(o *offer) {
	t := &o.campaign.Timing
	if !o.campaign.StartAt.IsZero() {
		what := "waits for a person"
		if t.Late() == campaign.LateRun {
			what = "starts all the same"
		}
		m.say("  if late       more than %s: it %s", short(t.Limit()), what)
	}
	if t.Window == nil {
		return
	}
	m.say("  window        %s, %s", t.Window, clocks(&o.campaign.Plan, t))
	first, last, err := o.forecast()
	if err != nil {
		m.say("  note          %v", err)
		return
	}
	if last.Sub(first) < time.Minute {
		m.say("  leaves        %s", first.In(o.homeZone()).Format(leavesLayout))
		return
	}
	m.say("  leaves        %s to about %s", first.In(o.homeZone()).Format(leavesLayout), last.In(o.homeZone()).Format(leavesLayout))
}

// forecast is when the first and the last batch would leave. It is only to be
// asked of a campaign with a window.
func (o *offer) forecast() (first, last time.Time, err error) {
	start := time.Now()
	if o.campaign.StartAt.After(start) {
		start = o.campaign.StartAt
	}
	var each time.Duration
	if n := o.campaign.Plan.Batches; n > 0 {
		each = o.duration() / time.Duration(n)
	}
	return o.campaign.Timing.Forecast(o.campaign.Plan.BatchesByZone(), start, each)
}

// homeZone is the zone of the campaign's window.
func (o *offer) homeZone() *time.Location {
	loc, err := campaign.LoadZone(o.campaign.Timing.Zone)
	if err != nil {
		return time.Local
	}
	return loc
}

// clocks says on whose clocks a window is read.
func clocks(plan *campaign.PlanSummary, t *campaign.Timing) string {
	if !t.ByRecipient {
		return "on the clock of " + t.Zone
	}
	s := "on each recipient's clock: "
	if n := plan.Zones[""]; n == plan.Sendable {
		return s + "no recipient's zone is known, so that of " + t.Zone + " counts for all"
	}
	zones := slices.Sorted(maps.Keys(plan.Zones))
	slices.SortStableFunc(zones, func(a, b string) int { return plan.Zones[b] - plan.Zones[a] })
	const most = 5
	shown, others := 0, 0
	for _, zone := range zones {
		switch {
		case zone == "":
		case shown == most:
			others++
		default:
			if shown > 0 {
				s += ", "
			}
			s += fmt.Sprintf("%s %s", zone, number(plan.Zones[zone]))
			shown++
		}
	}
	if others > 0 {
		s += fmt.Sprintf(", and %s", plural(others, "zone"))
	}
	if n := plan.Zones[""]; n > 0 {
		s += fmt.Sprintf("; of %s no zone is known, and that of %s counts", number(n), t.Zone)
	}
	return s
}

// short writes whole hours and minutes without what is zero.
func short(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}

// windowText says that a campaign waits for its window to open, and until when;
// empty when it does not.
func windowText(next *ledger.Leave) string {
	if next == nil || !next.Closed || next.At.IsZero() {
		return ""
	}
	local := next.At.In(next.Zone)
	return fmt.Sprintf("its send window is closed; it opens at %s (%s)", local.Format(leavesLayout), next.Zone)
}

// closedWindow is windowText of a campaign that sends, or would if it were
// resumed.
func closedWindow(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign) (string, error) {
	if c.Timing.Window == nil || c.State.Final() {
		return "", nil
	}
	next, err := l.NextLeave(ctx, c)
	if err != nil {
		return "", err
	}
	return windowText(&next), nil
}

// sayClosed tells whoever waits for a campaign that its window is closed.
func sayClosed(w io.Writer, id int64, text string) {
	fmt.Fprintf(w, "campaign %d: %s\n", id, text)
}
