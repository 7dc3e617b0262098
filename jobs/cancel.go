package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// Canceller cancels at the provider what it holds for its hour, message by
// message. It holds nothing between claims, so any number may run anywhere.
//
// What is to be cancelled stands in the ledger before anybody is asked for it,
// and what the provider said is recorded after. Asking again for what is cancelled
// already does no harm: the provider says no (400), as it does for what has left,
// and its history tells the two apart. What its texts say is not relied on.
type Canceller struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	Log      *slog.Logger

	// Name tells this worker from every other.
	Name string
	// Settle is how long the history may lag behind what was accepted.
	Settle time.Duration
	// Lease is how long the ledger waits for a silent worker; 15 s when 0.
	Lease time.Duration
	// AtOnce is how many messages are being cancelled at a time; 8 when 0. How
	// many in a second the rate budget says.
	AtOnce int
	// MaxPause is the longest pause between two tries that come to nothing; 5
	// minutes when 0.
	MaxPause time.Duration
	// Draining ends when the worker is about to stop: what was answered is
	// recorded, the rest is given back. Nil: never. Worker.Start sets it.
	Draining context.Context
}

const (
	// cancelSlice is how long one task cancels before it makes room for the next,
	// and for how long a task's id stands in the way of others.
	cancelSlice = 10 * time.Second
	// cancelLanes is how many tasks cancel on one channel of an account at a time,
	// over all workers.
	cancelLanes = 2
	// cancelChunk is how many recipients one claim holds, and how many decided
	// ones wait for their record at most; cancelBeat is how long they wait.
	cancelChunk = 100
	cancelBeat  = time.Second
	// mostDoubtful is how many are looked for in one reading of history: it holds
	// some 300 bytes for each.
	mostDoubtful = 50_000
	// leftFor is how long after their hour messages are not asked for any more:
	// they have left, by any clock, and history tells so for all of them at once.
	leftFor = time.Minute
)

// ProcessTask handles a TypeCancel task.
func (c *Canceller) ProcessTask(ctx context.Context, t *asynq.Task) error {
	d, err := readLook(t)
	if err != nil {
		return err
	}
	return c.Cancel(ctx, d)
}

// Cancel cancels what is to be cancelled on a channel of an account, the soonest
// due first, for some seconds; then it finds out of whom the provider said no. It
// returns an error only when the ledger could not be reached.
func (c *Canceller) Cancel(ctx context.Context, d ledger.LookDue) error {
	log := c.Log.With("channel", d.Channel)
	switch problem := otherAccount(ctx, c.Provider, d.Provider); {
	case problem != "" && ctx.Err() != nil:
		return nil
	case problem != "":
		return c.putOff(ctx, d, log, problem)
	}
	slice, cancel := context.WithTimeout(ctx, cancelSlice)
	defer cancel()
	if c.Draining != nil {
		defer context.AfterFunc(c.Draining, cancel)()
	}
	for slice.Err() == nil {
		k, err := c.claim(ctx, d, false)
		if err != nil {
			return err
		}
		if k == nil {
			break
		}
		switch r, err := c.chunk(slice, k, log); {
		case err != nil:
			return err
		case r.problem != "":
			return c.putOff(ctx, d, log, r.problem)
		case r.spent:
			return nil
		}
	}
	if slice.Err() != nil {
		return nil
	}
	k, err := c.claim(ctx, d, true)
	if err != nil || k == nil {
		return err
	}
	problem, err := c.judge(ctx, k, log)
	if err == nil && problem != "" {
		log.Warn("whether messages were cancelled cannot be told for now", "problem", problem)
	}
	return err
}

func (c *Canceller) claim(ctx context.Context, d ledger.LookDue, doubtful bool) (*ledger.CancelClaim, error) {
	most := cancelChunk
	if doubtful {
		most = mostDoubtful
	}
	return c.Ledger.ClaimCancels(ctx, ledger.ClaimQuery{
		LookDue: d, Doubtful: doubtful, Most: most, Lease: c.lease(), By: c.Name + " " + uuid.NewString()[:8],
	})
}

// putOff records why nobody can be cancelled. Another worker may be able to, soon.
func (c *Canceller) putOff(ctx context.Context, d ledger.LookDue, log *slog.Logger, problem string) error {
	log.Warn("what the provider holds cannot be cancelled for now", "problem", problem)
	return c.Ledger.PutOffCancels(context.WithoutCancel(ctx), d, problem, 10*time.Second)
}

// chunkResult is what a claim came to.
type chunkResult struct {
	problem string // that every other message would meet as well
	spent   bool   // the rate budget has no place left in this slice of time
}

// chunk asks the provider to cancel the recipients of a claim, several at once,
// and records its answers as they come.
func (c *Canceller) chunk(ctx context.Context, k *ledger.CancelClaim, log *slog.Logger) (res chunkResult, err error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var (
		todo    = make(chan *ledger.HeldRecipient)
		answers = make(chan cancelAnswer)
		workers sync.WaitGroup
	)
	go func() {
		defer close(todo)
		for _, h := range k.Held {
			select {
			case todo <- h:
			case <-asking.Done():
				return
			}
		}
	}()
	claimed := time.Now()
	for range c.atOnce() {
		workers.Go(func() {
			for h := range todo {
				if asking.Err() != nil {
					return
				}
				answers <- c.ask(asking, k, h, k.Now.Add(time.Since(claimed)))
			}
		})
	}
	go func() { workers.Wait(); close(answers) }()

	r := &cancelRecord{c: c, k: k, log: log}
	tick := time.NewTicker(min(cancelBeat, c.lease()/3))
	defer tick.Stop()
	end := ledger.CancelEnd{Most: c.maxPause()}
	for open := true; open; {
		select {
		case a, more := <-answers:
			open = more
			switch {
			case !more:
			case a.stop != "":
				end.Problem, res.problem = a.stop, a.stop
				stop()
			case a.spent:
				res.spent = true
				stop()
			case a.retry:
				end.Again = max(end.Again, a.after, time.Second)
			default:
				r.decided = append(r.decided, a.Cancelled)
			}
			if len(r.decided) >= cancelChunk {
				r.keep(ctx, stop)
			}
		case <-tick.C:
			r.keep(ctx, stop)
		}
	}
	err = r.end(ctx, end)
	if n := r.done + r.late + r.doubtful; n > 0 {
		log.Info("cancelled at the provider", "cancelled", r.done, "too_late", r.late, "doubtful", r.doubtful, "left", len(k.Held)-n)
	}
	return res, err
}

// cancelRecord records what was decided of a claim.
type cancelRecord struct {
	c       *Canceller
	k       *ledger.CancelClaim
	log     *slog.Logger
	decided []ledger.Cancelled
	lost    bool

	done, late, doubtful int
}

// keep records what was decided, and keeps the claim. When that fails it is tried
// again at the next beat; stop is called when somebody else has the claim.
func (r *cancelRecord) keep(ctx context.Context, stop func()) {
	if err := r.record(ctx, nil); err != nil {
		r.log.Warn("what was cancelled could not be recorded yet", "error", err)
	}
	if r.lost {
		stop()
	}
}

// end records the rest, and gives the claim back. If the ledger cannot be reached
// the claim's lease runs out, and the provider is asked again.
func (r *cancelRecord) end(ctx context.Context, e ledger.CancelEnd) error {
	var err error
	for wait := 100 * time.Millisecond; wait < 2*time.Second; wait *= 2 {
		if err = r.record(ctx, &e); err == nil || ledger.Lasting(err) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func (r *cancelRecord) record(ctx context.Context, e *ledger.CancelEnd) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTry)
	defer cancel()
	err := r.c.Ledger.RecordCancels(ctx, r.k, r.decided, r.c.lease(), e)
	if errors.Is(err, ledger.ErrLostLease) {
		r.lost, err = true, nil // what was decided is on record
	}
	if err != nil {
		return err
	}
	for _, d := range r.decided {
		switch d.Fate {
		case ledger.CancelDone:
			r.done++
		case ledger.CancelTooLate:
			r.late++
		default:
			r.doubtful++
		}
	}
	r.decided = r.decided[:0]
	return nil
}

// cancelAnswer is what asking for one recipient came to.
type cancelAnswer struct {
	ledger.Cancelled
	retry bool          // nobody knows; it is asked again
	after time.Duration // not before
	spent bool          // it was not asked, for the rate budget did not come round in time
	stop  string        // why it makes no sense to ask for others
}

// ask asks the provider to cancel the messages of one recipient.
func (c *Canceller) ask(ctx context.Context, k *ledger.CancelClaim, h *ledger.HeldRecipient, now time.Time) cancelAnswer {
	a := cancelAnswer{Cancelled: ledger.Cancelled{HeldRecipient: h, Fate: ledger.CancelDone}}
	if now.After(h.Due.Add(leftFor)) || len(h.Messages) == 0 {
		a.Fate = ledger.CancelDoubtful
		return a
	}
	for _, m := range h.Messages {
		if m.ProviderID == "" {
			a.Fate = ledger.CancelDoubtful // history knows its id, if it knows it at all
			continue
		}
		err := c.Provider.cancel(ctx, k.Channel, m.ProviderID)
		var ce *clicksend.Error
		switch errors.As(err, &ce); {
		case err == nil:
		case ce == nil:
			a.spent = true
		case ce.Kind == clicksend.NotFound:
			a.Gone = append(a.Gone, m.Attempt)
			a.Word = "the provider knows no such message (404)"
			if ce.Message != "" {
				a.Word += ": " + ce.Message
			}
		case ce.Kind == clicksend.Unauthorised:
			a.stop = "the provider refuses the user name or API key (401): mend CLICKSEND_USERNAME and CLICKSEND_API_KEY"
		case ce.Kind == clicksend.Forbidden:
			a.stop = "the provider refuses this account (403): " + ce.Message
		case ce.Kind == clicksend.BadRequest, ce.Kind == clicksend.TooLarge, ce.Kind == clicksend.Invalid:
			a.Fate = ledger.CancelDoubtful
		default: // not sent, 429 to the last, or nobody knows
			a.retry, a.after = true, max(a.after, ce.RetryAfter)
		}
		if a.stop != "" || a.retry || a.spent {
			return a
		}
	}
	if len(a.Gone) == len(h.Messages) {
		a.Fate = ledger.CancelTooLate
	}
	return a
}

// cancel asks the provider to cancel one message, and again while it is busy (429).
// Once the request is made it runs to its end.
func (p *Provider) cancel(ctx context.Context, c campaign.Channel, messageID string) error {
	const tries = 5
	endpoint := cancelEndpoint(c)
	for try := 1; ; try++ {
		if err := p.Wait(ctx, endpoint, 0); err != nil {
			return err
		}
		crashpoint.Here(crashpoint.CancelBefore)
		call := context.WithoutCancel(ctx)
		var err error
		switch c {
		case campaign.SMS:
			err = p.client.SMS.Cancel(call, messageID)
		case campaign.MMS:
			err = p.client.MMS.Cancel(call, messageID)
		case campaign.Letter:
			err = p.client.Letters.Cancel(call, messageID)
		case campaign.Postcard:
			err = p.client.Postcards.Cancel(call, messageID)
		default:
			return fmt.Errorf("nothing is cancelled on channel %q", c)
		}
		crashpoint.Here(crashpoint.CancelAfter)
		if try == tries || clicksend.KindOf(err) != clicksend.RateLimited {
			return err
		}
	}
}

// cancelEndpoint is the operation that cancels a message, as the rate budget and
// the client know it. Its budget is its own: cancels never wait behind sends.
func cancelEndpoint(c campaign.Channel) string {
	return "PUT " + channelPath(c) + "/{message_id}/cancel"
}

// CancelRate is how many messages a second may be cancelled on a channel now, as
// configured or as the provider's headers taught; 0 or less is no limit.
func (p *Provider) CancelRate(ctx context.Context, c campaign.Channel) (float64, error) {
	return p.limiter.Rate(ctx, ratelimit.Key{Account: p.rateKey, Endpoint: cancelEndpoint(c)})
}

// judged is a recipient of whom the provider said no, and what history shows of
// its messages.
type judged struct {
	*ledger.HeldRecipient
	shown []shownMessage // by the place in Messages
}

type shownMessage struct {
	fate   clicksend.Fate // empty: not met
	status string
	id     string // the provider's, when the ledger does not know it
}

// messageRef is how history names a message of ours.
type messageRef struct {
	recipient int64
	number    int
}

// place is a message of a judged recipient.
type place struct {
	of *judged
	at int
}

// judge reads the provider's history for everybody of whom it said no: cancelled
// ones are cancelled, those that left were too late, and those that are held still
// are asked for again.
func (c *Canceller) judge(ctx context.Context, k *ledger.CancelClaim, log *slog.Logger) (problem string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if c.Draining != nil {
		defer context.AfterFunc(c.Draining, stop)()
	}
	r := &cancelRecord{c: c, k: k, log: log}
	release := r.hold(ctx, stop)
	all := make([]*judged, len(k.Held))
	byID, byRef := map[string]place{}, map[messageRef]place{}
	for i, h := range k.Held {
		j := &judged{HeldRecipient: h, shown: make([]shownMessage, len(h.Messages))}
		all[i] = j
		for at, m := range h.Messages {
			byRef[messageRef{h.Recipient, m.Number}] = place{j, at}
			if m.ProviderID != "" {
				byID[m.ProviderID] = place{j, at}
			}
		}
	}
	unmet := len(byRef)
	row := func(rec *clicksend.Record) {
		p, found := byID[rec.MessageID]
		if !found {
			ref, ours := c.Ledger.ParseReference(rec.CustomString)
			if !ours {
				return
			}
			if p, found = byRef[messageRef{ref.Recipient, ref.Attempt}]; !found {
				return
			}
		}
		s := &p.of.shown[p.at]
		if s.fate == "" {
			unmet--
		}
		s.fate, s.status = rec.Fate(), strings.Clone(string(rec.Status))
		if p.of.Messages[p.at].ProviderID == "" {
			s.id = strings.Clone(rec.MessageID)
		}
	}
	// Where nothing is met the provider's dates may mean something else.
	var look Look
	for _, reach := range []time.Duration{margin, farMargin} {
		if unmet == 0 || len(all) == 0 {
			look.Complete = true
			break
		}
		look, err = c.Provider.History(ctx, k.Channel, heldWindows(all, reach), func(page []clicksend.Record) error {
			for i := range page {
				row(&page[i])
			}
			return ctx.Err()
		})
		if err != nil || !look.Complete {
			break
		}
	}
	release()
	end := ledger.CancelEnd{Again: max(c.Settle, time.Second), Most: c.maxPause()}
	switch {
	case err != nil && ctx.Err() != nil: // the worker stops, or another has the claim
		end.Again = 0
	case err != nil:
		end.Problem = "the provider's history could not be read: " + err.Error()
	case !look.Complete:
		end.Problem = "the provider's history could not be read to the end: " + look.Doubt
	}
	now, err := c.Ledger.Now(context.WithoutCancel(ctx))
	if err != nil {
		return "", err
	}
	kept := time.Now()
	for _, j := range all {
		if d := c.decide(ctx, k, j, now, look.Complete && end.Problem == ""); d != nil {
			r.decided = append(r.decided, *d)
		}
		if len(r.decided) >= 500 || time.Since(kept) > c.lease()/3 {
			r.keep(ctx, stop)
			kept = time.Now()
		}
	}
	err = r.end(ctx, end)
	log.Info("history told what was cancelled before", "recipients", len(all), "cancelled", r.done, "too_late", r.late, "pages", look.Pages, "complete", look.Complete)
	return end.Problem, err
}

// heldWindows is when the messages may be dated: when they were handed over, or
// at their hour.
func heldWindows(all []*judged, reach time.Duration) []Window {
	attempts, hours := map[int64]bool{}, map[int64]bool{}
	var w []Window
	for _, j := range all {
		for _, m := range j.Messages {
			if !attempts[m.Attempt] {
				attempts[m.Attempt] = true
				w = append(w, Window{From: m.Started.Add(-reach), To: m.Deadline.Add(reach)})
			}
		}
		if !hours[j.Due.Unix()] {
			hours[j.Due.Unix()] = true
			w = append(w, Window{From: j.Due.Add(-reach), To: j.Due.Add(reach)})
		}
	}
	return w
}

// decide says what became of a recipient, from what history shows of its
// messages; nil when that is not known yet.
func (c *Canceller) decide(ctx context.Context, k *ledger.CancelClaim, j *judged, now time.Time, complete bool) *ledger.Cancelled {
	d := &ledger.Cancelled{HeldRecipient: j.HeldRecipient, Fate: ledger.CancelDone}
	cancelled := 0
	for at, m := range j.Messages {
		s := &j.shown[at]
		switch s.fate {
		case clicksend.FateCancelled:
			cancelled++
		case clicksend.FateFailed:
			d.Gone = append(d.Gone, m.Attempt)
			d.Word = "the provider's history says " + s.status
		case clicksend.FateSent:
			return &ledger.Cancelled{HeldRecipient: j.HeldRecipient, Fate: ledger.CancelTooLate, Word: "the provider's history says " + s.status}
		case clicksend.FateWaiting:
			switch clicksend.HistoryStatus(s.status).Base() {
			case clicksend.HistoryQueued: // it is on its way
				if now.After(j.Due) {
					return &ledger.Cancelled{HeldRecipient: j.HeldRecipient, Fate: ledger.CancelTooLate, Word: "the provider's history says " + s.status}
				}
			}
			id := m.ProviderID
			if id == "" {
				id = s.id
			}
			if ctx.Err() != nil || id == "" || c.Provider.cancel(ctx, k.Channel, id) != nil {
				return nil
			}
			cancelled++
		case "":
			// Not to be found: history may lag, or not be whole.
			if !complete || now.Before(m.Closed.Add(c.Settle)) {
				return nil
			}
			d.Gone = append(d.Gone, m.Attempt)
			d.Word = "the provider did not cancel it, and its history does not show it"
		default:
			return nil
		}
	}
	if cancelled == 0 {
		d.Fate = ledger.CancelTooLate
	}
	if len(j.Messages) == 0 {
		d.Word = "what the provider said of it is not known"
	}
	return d
}

// hold keeps a claim's lease until release; stop is called when it is lost.
func (r *cancelRecord) hold(ctx context.Context, stop func()) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(r.c.lease() / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.keep(ctx, stop)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (c *Canceller) lease() time.Duration    { return orDefault(c.Lease, 15*time.Second) }
func (c *Canceller) maxPause() time.Duration { return orDefault(c.MaxPause, 5*time.Minute) }

func (c *Canceller) atOnce() int {
	if c.AtOnce > 0 {
		return c.AtOnce
	}
	return 8
}
