package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// follow sees to it that a started campaign is sent, and says by whom: by this
// process where the embedded engine is free, else by the one that holds it, or
// by the workers on Redis. It waits for the end where this process sends or may
// have to, and where it was asked to. A start in the future is said in zone.
func (m *Main) follow(ctx context.Context, l *ledger.Ledger, id int64, wait bool, zone *time.Location) error {
	c, err := l.Campaign(ctx, id)
	if err != nil {
		return err
	}
	if c.State == campaign.Scheduled && !wait {
		m.say("campaign %d starts at %s; `postrider serve` (or worker and scheduler) must be running then", id, c.StartAt.In(zone).Format(time.RFC3339))
		return m.showCampaign(ctx, l, id, false)
	}
	if m.cfg.UsesEmbeddedRedis() {
		e, err := m.openQueue(ctx)
		switch {
		case err == nil:
			m.say("campaign %d: sending from this process", id)
			return m.drive(ctx, l, id, e)
		case !errors.Is(err, errEngineBusy):
			return err
		}
		stays, err := m.serveRuns()
		if err != nil {
			return err
		}
		if stays {
			m.say("campaign %d: the `postrider serve` that runs on this data folder sends it", id)
		} else {
			m.say("campaign %d: another Postrider process is sending on this data folder; this one waits and goes on when it ends", id)
			wait = true
		}
	} else {
		if running, known := m.workersRun(l.ID()); known && !running {
			fmt.Fprintf(m.Stderr, "campaign %d: %s; it waits for them\n", id, noWorkers)
		} else {
			m.say("campaign %d: the workers on Redis send it", id)
		}
	}
	if !wait {
		m.say("follow it with `postrider campaign status %d --watch`", id)
		return m.showCampaign(ctx, l, id, false)
	}
	return m.drive(ctx, l, id, nil)
}

// sayOthers names the campaigns that would be sent along: whoever runs the
// embedded engine sends everything that the ledger holds, also what was stopped
// by Ctrl-C and approved days ago.
func (m *Main) sayOthers(ctx context.Context, l *ledger.Ledger, id int64) error {
	running, known, err := m.engineRuns()
	if err != nil || running || !known {
		return err
	}
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	all, err := l.Campaigns(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.ID == id || c.State != campaign.Sending && (c.State != campaign.Scheduled || c.StartAt.After(now)) {
			continue
		}
		counts, err := l.Counts(ctx, c.ID)
		if err != nil {
			return err
		}
		if counts.Left() > 0 {
			m.say("campaign %d %q goes on as well, with %s left: `postrider campaign pause %d` before, if it should not", c.ID, printable(c.Name), plural(counts.Left(), "recipient"), c.ID)
		}
	}
	return nil
}

// noWorkers is said when nobody would send, with a real Redis.
const noWorkers = "no worker is running now: start `postrider worker` and `postrider scheduler` (or `postrider serve`)"

// workersRun reports whether a worker listens on the ledger's queues of a real
// Redis right now; known is false when Redis does not tell.
func (m *Main) workersRun(ledgerID string) (running, known bool) {
	opt, err := m.cfg.AsynqRedis()
	if err != nil {
		return false, false
	}
	inspector := asynq.NewInspector(opt)
	defer inspector.Close() //nolint:errcheck // nothing was written
	servers, err := inspector.Servers()
	if err != nil {
		return false, false
	}
	control := jobs.ControlQueue(ledgerID)
	return slices.ContainsFunc(servers, func(s *asynq.ServerInfo) bool {
		_, ours := s.Queues[control]
		return ours
	}), true
}

// showCampaign prints where a campaign stands, and with final sets the exit
// code that belongs to its end.
func (m *Main) showCampaign(ctx context.Context, l *ledger.Ledger, id int64, final bool) error {
	out, err := describe(ctx, l, id)
	if err != nil {
		return err
	}
	if final {
		m.exitCode = exitFor(out)
	}
	if m.json {
		return m.printJSON(out)
	}
	if final {
		m.printReport(out)
		if out.State == campaign.Paused {
			m.sayPaused(out)
		}
	}
	return nil
}

// drive brings a campaign to its end with the given engine, or watches others
// do it when e is nil, taking the embedded engine over should it come free.
// Ctrl-C takes no new batches, records those in flight, and names the command
// that goes on.
func (m *Main) drive(ctx context.Context, l *ledger.Ledger, id int64, e *engine) (err error) {
	defer func() { e.close() }()
	log := m.driveLog()
	m.atInterrupt.Store(&farewell{
		first:  "stopping (Ctrl-C again leaves at once)",
		second: fmt.Sprintf("left at once; campaign %d stays as it is: `postrider campaign status %d --watch` goes on watching", id, id),
	})
	start := func() error {
		m.atInterrupt.Store(&farewell{
			first:  finishing,
			second: fmt.Sprintf("left at once; nothing is lost: `postrider campaign resume %d --wait` goes on with campaign %d, and finds out what was in flight", id, id),
		})
		return m.run(ctx, e, l, log, roles{worker: true, scheduler: true})
	}
	if e != nil {
		if err := start(); err != nil {
			return err
		}
	}
	bar := m.newMeter("sending", "recipients")
	first, waits, closed := true, false, ""
	for {
		c, counts, over, err := m.standing(ctx, l, id)
		if err == nil && c.State == campaign.Sending && counts.Left() > 0 && counts.InFlight == 0 {
			if text, err := closedWindow(ctx, l, c); err == nil && text != closed {
				if closed = text; closed != "" {
					bar.End()
					sayClosed(m.Stderr, id, closed)
					bar, first = m.newMeter("sending", "recipients"), true
				}
			}
		}
		if err == nil {
			if onlyUnknown := counts.Left() == 0 && counts.Unknown > 0 && !over; onlyUnknown != waits {
				if waits = onlyUnknown; waits {
					bar.End()
					m.sayWaits(ctx, l, id, counts.Unknown)
				} else {
					bar, first = m.newMeter("sending", "recipients"), true
				}
			}
			done := counts.Total - counts.Left()
			if first {
				bar.first, first = done, false
			}
			if !waits && closed == "" {
				bar.Report(done, counts.Total)
			}
			if over {
				break
			}
		} else if ctx.Err() == nil {
			// The database is away for a moment: the workers wait for it, too.
			log.Warn("the campaign's standing cannot be read just now", "error", err)
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			bar.End()
			return m.interrupted(ctx, l, id, e)
		}
		if e == nil && m.cfg.UsesEmbeddedRedis() {
			taken, err := m.openQueue(ctx)
			if err == nil {
				m.say("campaign %d: the other process has gone; sending from this one", id)
				e = taken
				if err := start(); err != nil {
					return err
				}
			} else if !errors.Is(err, errEngineBusy) {
				return err
			}
		}
	}
	bar.End()
	return m.showCampaign(ctx, l, id, true)
}

// sayWaits says why a command goes on though everybody was sent to.
func (m *Main) sayWaits(ctx context.Context, l *ledger.Ledger, id int64, unknown int) {
	when := "soon"
	if all, err := l.UnknownAttempts(ctx, id, m.cfg.Settle); err == nil && len(all) > 0 {
		next := slices.MinFunc(all, func(a, b ledger.UnknownAttempt) int { return a.NextLook.Compare(b.NextLook) })
		if now, err := l.Now(ctx); err == nil && next.NextLook.After(now) {
			when = "in " + next.NextLook.Sub(now).Round(time.Second).String()
		}
	}
	fmt.Fprintf(m.Stderr, "campaign %d: what became of %s is not known; the provider's history is read for it %s, and this waits (`postrider campaign unknown %d` shows more)\n",
		id, plural(unknown, "recipient"), when, id)
}

// standing reads a campaign and whether nothing more happens to it by itself.
func (m *Main) standing(ctx context.Context, l *ledger.Ledger, id int64) (*ledger.Campaign, ledger.Counts, bool, error) {
	c, err := l.Campaign(ctx, id)
	if err != nil {
		return nil, ledger.Counts{}, false, err
	}
	counts, err := l.Counts(ctx, id)
	if err != nil {
		return nil, counts, false, err
	}
	over := c.State.Final() || c.State == campaign.Paused && counts.InFlight == 0
	if !over && (c.State == campaign.Sending || c.State == campaign.Cancelling) && counts.Left() == 0 {
		over, err = m.hopeless(ctx, l, id)
	}
	return c, counts, over, err
}

// enoughLooks is after how many looks into the provider's history that settle
// nothing a command does not wait for the next. The workers go on looking.
const enoughLooks = 3

// hopeless reports whether everybody whose answer was lost has been looked for
// in vain often enough.
func (m *Main) hopeless(ctx context.Context, l *ledger.Ledger, id int64) (bool, error) {
	all, err := l.UnknownAttempts(ctx, id, m.cfg.Settle)
	if err != nil {
		return false, err
	}
	for _, u := range all {
		if u.Looks < enoughLooks {
			return false, nil
		}
	}
	return len(all) > 0, nil
}

// interrupted ends a drive at Ctrl-C.
func (m *Main) interrupted(ctx context.Context, l *ledger.Ledger, id int64, e *engine) error {
	if e == nil && m.cfg.UsesEmbeddedRedis() {
		if stays, err := m.serveRuns(); err == nil && !stays {
			return stopf("stopped; nothing is lost. `postrider serve` goes on with campaign %d, `postrider campaign cancel %d` ends it", id, id)
		}
	}
	if e == nil {
		return stopf("stopped watching; nothing was changed: `postrider campaign status %d --watch` goes on watching", id)
	}
	e.close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := m.showCampaign(last, l, id, true); err != nil {
		return err
	}
	c, err := l.Campaign(last, id)
	if err != nil {
		return err
	}
	if c.State.Final() {
		return nil // it ended in that very moment
	}
	m.exitCode = exitStopped
	fmt.Fprintf(m.Stderr, "postrider: stopped; nothing is lost. `postrider serve` goes on with campaign %d, `postrider campaign cancel %d` ends it\n", id, id)
	return nil
}
