package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// campaignJSON is what --json shows of a campaign. The keys are a contract.
type campaignJSON struct {
	ID      int64            `json:"id"`
	Name    string           `json:"name"`
	Channel campaign.Channel `json:"channel"`
	State   campaign.State   `json:"state"`
	Reason  string           `json:"reason"`
	ledger.Counts
	Quoted   campaign.Micros `json:"quoted"`
	Spent    campaign.Micros `json:"spent"`
	Reserved campaign.Micros `json:"reserved"`
	// Overspent is by how much messages cost more than they were quoted at, and
	// Dearer how many did.
	Overspent campaign.Micros  `json:"overspent"`
	Dearer    int              `json:"dearer"`
	Budget    *campaign.Micros `json:"budget,omitempty"`
	Currency  string           `json:"currency"`
	Created   time.Time        `json:"created"`
	StartAt   *time.Time       `json:"start_at,omitempty"`
	Started   *time.Time       `json:"started,omitempty"`
	Ended     *time.Time       `json:"ended,omitempty"`

	// HeldUntil is when the provider lets the messages go that it holds, and
	// CancelProblem why they are not being cancelled there although they are to be.
	HeldUntil     *time.Time `json:"held_until,omitempty"`
	CancelProblem string     `json:"cancel_problem,omitempty"`

	// Segment is which contacts of the audience it is for; none when it is for all.
	Segment *campaign.Selection `json:"segment,omitempty"`

	Refusals    map[string]int `json:"refusals,omitempty"`
	Suppression map[string]int `json:"suppressions,omitempty"`

	// Duplicates are messages that recipients got too many; Stopped is why
	// nobody is sent to again on the channel until somebody decides.
	Duplicates int    `json:"duplicates"`
	Stopped    string `json:"stopped,omitempty"`

	// UnknownProblem is why the provider's history did not tell what became of
	// the unknown recipients when it was last read.
	UnknownProblem string `json:"unknown_problem,omitempty"`

	// Window is when messages may leave, and WindowTZ on whose clock it is read;
	// empty: at any time.
	Window   string `json:"window,omitempty"`
	WindowTZ string `json:"window_tz,omitempty"`
	// NextBatch is when the next batch may leave, and WindowClosed says that its
	// send window is closed until then.
	NextBatch    *time.Time `json:"next_batch,omitempty"`
	WindowClosed bool       `json:"window_closed,omitempty"`

	next *ledger.Leave // the same; nil when nothing is left

	// Quarantine is why nothing may leave the whole ledger.
	Quarantine string `json:"quarantine,omitempty"`
}

// describe reads a campaign as --json shows it.
func describe(ctx context.Context, l *ledger.Ledger, id int64) (*campaignJSON, error) {
	c, err := l.Campaign(ctx, id)
	if err != nil {
		return nil, err
	}
	counts, err := l.Counts(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &campaignJSON{
		ID: c.ID, Name: c.Name, Channel: c.Channel, State: c.State, Reason: c.Reason, Counts: counts,
		Quoted: c.Quoted, Spent: c.Spent, Reserved: c.Reserved, Overspent: c.Overspent, Dearer: c.Dearer, Budget: c.Budget, Currency: c.Currency,
		Created: c.Created, StartAt: timeOrNil(c.StartAt), Started: timeOrNil(c.Started), Ended: timeOrNil(c.Ended),
		Segment: c.Plan.Segment,
	}
	if c.Timing.Window != nil {
		out.Window, out.WindowTZ = c.Timing.Window.String(), c.Timing.WindowZone()
	}
	if !c.State.Final() && counts.Pending > 0 {
		next, err := l.NextLeave(ctx, c)
		if err != nil {
			return nil, err
		}
		if !next.At.IsZero() {
			out.next, out.NextBatch, out.WindowClosed = &next, &next.At, next.Closed
		}
	}
	out.HeldUntil = timeOrNil(heldUntil(c))
	if out.CancelProblem, err = l.CancelProblem(ctx, id); err != nil {
		return nil, err
	}
	if counts.Unknown > 0 {
		if out.UnknownProblem, err = l.LookProblem(ctx, c); err != nil {
			return nil, err
		}
	}
	if out.Duplicates, err = l.Duplicates(ctx, id); err != nil {
		return nil, err
	}
	if out.Stopped, err = l.Stopped(ctx, c); err != nil {
		return nil, err
	}
	q, err := l.Quarantine(ctx)
	if err != nil {
		return nil, err
	}
	out.Quarantine = q.Reason
	if counts.Rejected+counts.Suppressed > 0 {
		reasons, err := l.CountReasons(ctx, id)
		if err != nil {
			return nil, err
		}
		out.Refusals, out.Suppression = reasons[campaign.Rejected], reasons[campaign.Suppressed]
	}
	return out, nil
}

// heldUntil is when the provider lets a campaign's messages go that it holds; zero
// when it does not hold them.
func heldUntil(c *ledger.Campaign) time.Time {
	if c.Content.Schedule == 0 {
		return time.Time{}
	}
	return time.Unix(c.Content.Schedule, 0).UTC()
}

// hour writes a moment of a day for a person, in this machine's zone.
func hour(t time.Time) string { return t.Local().Format(time.RFC3339) }

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// exitFor is the exit code of a command that was to bring a campaign to its
// end.
func exitFor(c *campaignJSON) int {
	switch {
	case c.State == campaign.Completed && c.Rejected > 0:
		return exitRefused
	case c.State == campaign.Completed:
		return exitDone
	case c.State == campaign.Failed:
		return exitFailed
	}
	return exitStopped
}

// printReport writes the fate of a campaign's recipients as prose that adds up.
func (m *Main) printReport(c *campaignJSON) {
	head := fmt.Sprintf("Campaign %d %q (%s) is %s", c.ID, c.Name, c.Channel, c.State)
	if c.Reason != "" {
		head += ": " + c.Reason
	}
	m.say("%s", head)
	m.showSegment(c.Segment)
	accepted := ""
	if c.Held > 0 && c.HeldUntil != nil {
		accepted = "held by the provider until " + hour(*c.HeldUntil)
		if c.Held < c.Accepted {
			accepted = number(c.Held) + " of them " + accepted
		}
	}
	if c.TooLate > 0 {
		if accepted != "" {
			accepted += "; "
		}
		accepted += fmt.Sprintf("%s were to be cancelled, too late", number(c.TooLate))
	}
	for _, row := range []struct {
		name string
		n    int
		note string
	}{
		{"accepted", c.Accepted, accepted},
		{"delivered", c.Delivered, ""},
		{"undelivered", c.Undelivered, ""},
		{"rejected", c.Rejected, list(c.Refusals)},
		{"suppressed", c.Suppressed, suppressedText(c.Suppression)},
		{"cancelled", c.Cancelled, ""},
		{"unknown", c.Unknown, "sent, but the answer was lost; being found out"},
		{"in flight", c.InFlight, ""},
		{"pending", c.Pending, ""},
	} {
		if row.n == 0 && row.name != "accepted" {
			continue
		}
		if row.note != "" {
			row.note = "   " + row.note
		}
		m.say("  %12s  %s%s", number(row.n), row.name, row.note)
	}
	m.say("  %12s  in all", number(c.Total))
	if c.UnknownProblem != "" {
		m.say("  the unknown stay so for now: %s", printable(c.UnknownProblem))
	}
	if c.Duplicates > 0 {
		m.say("  %12s  messages too many: recipients who were reached twice", number(c.Duplicates))
	}
	if c.Stopped != "" && c.Stopped != c.Reason {
		m.say("  resends wait: %s; `postrider campaign resume %d --after-duplicates` lets them go", c.Stopped, c.ID)
	}
	money := fmt.Sprintf("quoted %s, charged %s", c.Quoted, c.Spent)
	if c.Reserved != 0 {
		money += fmt.Sprintf(", reserved for what is in flight or unknown %s", c.Reserved)
	}
	m.say("  %s %s", money, c.Currency)
	if c.Dearer > 0 {
		m.say("  %s cost more than quoted, %s %s in all", plural(c.Dearer, "message"), c.Overspent, c.Currency)
	}
	if c.Quarantine != "" {
		m.say("  nothing leaves: %v", ledger.Quarantine{Reason: c.Quarantine}.Err())
	}
}

// list writes counts by reason, the largest first.
func list(counts map[string]int) string {
	type one struct {
		reason string
		n      int
	}
	all := make([]one, 0, len(counts))
	for r, n := range counts {
		if r == "" {
			r = "no reason given"
		}
		all = append(all, one{r, n})
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].n != all[j].n {
			return all[i].n > all[j].n
		}
		return all[i].reason < all[j].reason
	})
	parts := make([]string, len(all))
	for i, o := range all {
		parts[i] = fmt.Sprintf("%s %s", o.reason, number(o.n))
	}
	return strings.Join(parts, ", ")
}

// suppressedText writes why so many are not sent to, and where that was a
// choice, how to choose otherwise.
func suppressedText(counts map[string]int) string {
	text := list(counts)
	if counts[campaign.ReasonFixedLine] > 0 {
		text += "; --fixed-lines sends to them all the same"
	}
	return text
}

// plural writes 1 request, 2 requests.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// number writes 12,345.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
