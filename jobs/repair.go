package jobs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// Repairer ends the quarantine of a ledger: it reads the provider's history
// since the ledger was copied, and adopts what stands there.
type Repairer struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	// Settle is how long the history may lag behind what was accepted. Before it
	// has passed since the quarantine began, nothing is read.
	Settle time.Duration
	Actor  string // who repairs
	// Say is told in words what is waited for and read; nil: nobody.
	Say func(format string, args ...any)
}

// RepairResult is what a repair came to.
type RepairResult struct {
	Channels []RepairedChannel
	Held     []int64 // campaigns that wait for a person now
	// Ledger is its new id; empty when the quarantine stays, since there are
	// problems.
	Ledger string
}

// Problems lists in words why the quarantine stays.
func (r *RepairResult) Problems() []string {
	var all []string
	for _, c := range r.Channels {
		if c.Problem != "" {
			all = append(all, fmt.Sprintf("%s: %s", c.Channel, c.Problem))
		}
	}
	return all
}

// RepairedChannel is what the history of one channel has shown.
type RepairedChannel struct {
	ledger.RepairChannel
	Look
	ledger.Adopted
	Unclear int // recipients of whom history may show a message: unknown now
	// Strange counts messages of this ledger to recipients whom it has never
	// heard of: of campaigns that were made after it was copied.
	Strange int
	// Skipped: nothing was read, since nothing had to be.
	Skipped bool
	Problem string // why it does not suffice; empty when it does
}

// Repair reads every channel, adopts, and lifts the quarantine when all was
// read completely. It may be killed and begun again at any time. After an error
// the quarantine stays.
func (r *Repairer) Repair(ctx context.Context) (*RepairResult, error) {
	plan, err := r.Ledger.BeginRepair(ctx)
	if err != nil {
		return nil, err
	}
	account, err := r.Provider.Identity(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.await(ctx, plan.Since.Add(r.Settle)); err != nil {
		return nil, err
	}
	res := &RepairResult{}
	for _, ch := range plan.Channels {
		done := RepairedChannel{RepairChannel: ch}
		switch {
		case ch.Read:
			done.Skipped = true
		case ch.Provider != account && !ch.Open:
			done.Skipped = true
		case ch.Provider != account:
			done.Problem = fmt.Sprintf("its campaigns were sent with another account (user id %s at %s): run it again with those credentials", ch.Provider.User, ch.Provider.URL)
		default:
			if err := r.channel(ctx, &done); err != nil {
				return nil, err
			}
		}
		res.Channels = append(res.Channels, done)
	}
	if len(res.Problems()) > 0 {
		return res, nil
	}
	if res.Held, err = r.Ledger.HoldRestored(ctx, r.Actor); err != nil {
		return nil, err
	}
	res.Ledger, err = r.Ledger.LiftQuarantine(ctx)
	return res, err
}

func (r *Repairer) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(format, args...)
	}
}

// await waits until the database's clock has reached a moment.
func (r *Repairer) await(ctx context.Context, until time.Time) error {
	now, err := r.Ledger.Now(ctx)
	if err != nil {
		return err
	}
	wait := until.Sub(now)
	if wait <= 0 {
		return nil
	}
	r.say("waiting %s, until history shows what was sent last", wait.Round(time.Second))
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// channel reads the history of a channel and adopts what it shows.
func (r *Repairer) channel(ctx context.Context, done *RepairedChannel) error {
	r.say("reading the history of %s since %s", done.Channel, done.From.Format(time.RFC3339))
	a := &adopting{r: r, done: done, strange: campaign.NewSeen()}
	var err error
	done.Look, err = r.Provider.History(ctx, done.Channel, []Window{{From: done.From.Add(-farMargin)}}, func(page []clicksend.Record) error {
		for i := range page {
			if err := a.row(ctx, &page[i]); err != nil {
				return err
			}
		}
		return a.flush(ctx, flushAt)
	})
	if errors.Is(err, errLedger) || ctx.Err() != nil {
		return err
	}
	if flushErr := a.flush(ctx, 1); flushErr != nil {
		return flushErr
	}
	if err == nil && done.Complete {
		if err := a.matchPlaces(ctx); err != nil {
			return err
		}
	}
	now, nowErr := r.Ledger.Now(ctx)
	if nowErr != nil {
		return nowErr
	}
	switch until := done.Held.Add(r.Settle); {
	case err != nil:
		done.Problem = err.Error()
	case !done.Complete:
		done.Problem = "the provider's history could not be read completely: " + done.Doubt
	case !done.Held.IsZero() && until.After(now):
		done.Problem = fmt.Sprintf("messages may be held at the provider, and history may not show them before %s: run it again then", until.Format(time.RFC3339))
	}
	return r.Ledger.NoteRepaired(ctx, done.LookDue, done.Problem)
}

// adopting is the repair of one channel under way.
type adopting struct {
	r    *Repairer
	done *RepairedChannel

	sightings []ledger.Sighting // not yet recorded
	strange   *campaign.Seen    // ids of messages that are nobody's

	// Of rows without a reference.
	seed   maphash.Seed
	places []uint64 // hashes of where the open recipients are, in order; nil until such a row comes
	rows   map[uint64][]unclaimed
	ids    map[string]bool
}

// row takes in one row of history.
func (a *adopting) row(ctx context.Context, rec *clicksend.Record) error {
	if rec.CustomString == "" {
		return a.unreferenced(ctx, rec)
	}
	if ref, ours := a.r.Ledger.ParseReference(rec.CustomString); ours {
		a.sight(ref.Recipient, ref.Attempt, rec)
	}
	return nil
}

func (a *adopting) sight(recipient int64, number int, rec *clicksend.Record) {
	f := finding(0, recipient, rec)
	at := time.Unix(rec.Date, 0)
	if rec.Date == 0 {
		at = a.done.From
	}
	a.sightings = append(a.sightings, ledger.Sighting{Number: number, At: at, Outcome: f.Outcome, PriceUnread: f.PriceUnread})
}

// flush records sightings when there are as many as least.
func (a *adopting) flush(ctx context.Context, least int) error {
	for len(a.sightings) >= least && len(a.sightings) > 0 {
		part := a.sightings[:min(flushAt, len(a.sightings))]
		n, err := a.r.Ledger.Adopt(ctx, a.done.LookDue, part)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		a.done.Add(n)
		for _, id := range n.Strange {
			if a.strange.Add(id) { // rows may come twice
				a.done.Strange++
			}
		}
		a.sightings = a.sightings[len(part):]
	}
	return nil
}

// unreferenced keeps a row without a reference that goes to somebody who is
// pending or unknown.
func (a *adopting) unreferenced(ctx context.Context, rec *clicksend.Record) error {
	if a.rows == nil {
		a.seed, a.rows, a.ids = maphash.MakeSeed(), map[uint64][]unclaimed{}, map[string]bool{}
		err := a.eachOpen(ctx, func(_ *ledger.Campaign, _ int64, place uint64) { a.places = append(a.places, place) })
		if err != nil {
			return err
		}
		slices.Sort(a.places)
	}
	at := time.Unix(rec.Date, 0)
	if rec.MessageID == "" || a.ids[rec.MessageID] || rec.Date != 0 && at.Before(a.done.From.Add(-farMargin)) {
		return nil
	}
	place := maphash.String(a.seed, recordDestination(rec))
	if _, somebodys := slices.BinarySearch(a.places, place); !somebodys {
		return nil
	}
	a.ids[rec.MessageID] = true
	a.rows[place] = append(a.rows[place], unclaimed{at: at, rec: fateOf(rec)})
	return nil
}

// eachOpen hands on where the messages of open recipients go.
func (a *adopting) eachOpen(ctx context.Context, fn func(c *ledger.Campaign, recipient int64, place uint64)) error {
	var (
		of     *ledger.Campaign
		render *campaign.Renderer
	)
	err := a.r.Ledger.EachOpen(ctx, a.done.LookDue, func(c *ledger.Campaign, row *ledger.ReportRow) error {
		if c != of {
			var err error
			if render, err = campaign.NewRenderer(&c.Content, c.Plan.Limits); err != nil {
				return fmt.Errorf("rendering campaign %d: %w", c.ID, err)
			}
			of = c
		}
		if to := recipientDestination(render, row); to != "" {
			fn(c, row.Recipient, maphash.String(a.seed, to))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errLedger, err)
	}
	return nil
}

// openRecipient may have got a message that bears no reference.
type openRecipient struct {
	campaign  *ledger.Campaign
	recipient int64
}

// matchPlaces decides, after a look that saw every row and when everything that
// bears a reference was adopted, whose the rows without one are. Whoever may
// have got one of several is not sent to by guess: they are unknown, and a
// person decides.
func (a *adopting) matchPlaces(ctx context.Context) error {
	if len(a.rows) == 0 {
		return nil
	}
	known, err := a.r.Ledger.KnownMessages(ctx, a.done.LookDue, time.Time{}, a.ids)
	if err != nil {
		return fmt.Errorf("%w: %w", errLedger, err)
	}
	for place, rows := range a.rows {
		a.rows[place] = slices.DeleteFunc(rows, func(u unclaimed) bool { _, ours := known[u.rec.MessageID]; return ours })
	}
	open := map[uint64][]openRecipient{}
	err = a.eachOpen(ctx, func(c *ledger.Campaign, recipient int64, place uint64) {
		if len(a.rows[place]) > 0 {
			open[place] = append(open[place], openRecipient{c, recipient})
		}
	})
	if err != nil {
		return err
	}
	var unsure []ledger.Unclear
	flushUnclear := func(least int) error {
		if len(unsure) < least {
			return nil
		}
		n, err := a.r.Ledger.AdoptUnclear(ctx, a.done.LookDue, unsure)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		a.done.Unclear += n
		unsure = unsure[:0]
		return nil
	}
	for place, members := range open {
		rows := a.rows[place]
		may := func(i, j int) bool {
			u, c := &rows[j], members[i].campaign
			return (u.rec.Date == 0 || !u.at.Before(c.Created.Add(-farMargin))) && printedAlike(&c.Content, &u.rec)
		}
		whose, _ := pairUp(len(members), rows, may, nil)
		for i, j := range whose {
			switch j {
			case nobodys:
			case unclear:
				unsure = append(unsure, a.unclear(members[i].recipient, i, rows, may))
			default:
				a.sight(members[i].recipient, 0, &rows[j].rec)
			}
		}
		// What belongs together is recorded together, as far as it fits.
		if err := a.flush(ctx, flushAt); err != nil {
			return err
		}
		if err := flushUnclear(flushAt); err != nil {
			return err
		}
	}
	if err := a.flush(ctx, 1); err != nil {
		return err
	}
	return flushUnclear(1)
}

// unclear says when the rows that may be a member's are dated.
func (a *adopting) unclear(recipient int64, member int, rows []unclaimed, may func(i, j int) bool) ledger.Unclear {
	u := ledger.Unclear{Recipient: recipient}
	for j := range rows {
		at := rows[j].at
		if rows[j].rec.Date == 0 {
			at = a.done.From
		}
		if !may(member, j) {
			continue
		}
		if u.From.IsZero() || at.Before(u.From) {
			u.From = at
		}
		if at.After(u.To) {
			u.To = at
		}
	}
	return u
}
