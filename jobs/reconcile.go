package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/ledger"
)

// HistoryReader is the account at the provider whose history is read; a
// *Provider is one.
type HistoryReader interface {
	identifier
	History(ctx context.Context, c campaign.Channel, windows []Window, each func(page []clicksend.Record) error) (Look, error)
}

// identifier says whose credentials these are.
type identifier interface {
	Identity(ctx context.Context) (ledger.Provider, error)
}

// Reconciler finds out what became of attempts whose answer is not known: it
// reads the provider's history, and the ledger turns what stands there, or
// provably does not, into outcomes. It holds nothing between looks, so any
// number may run anywhere.
type Reconciler struct {
	Ledger   *ledger.Ledger
	Provider HistoryReader
	Log      *slog.Logger

	// Name tells this worker from every other.
	Name string
	// Settle is how long the history may lag behind what was accepted. Before it
	// has passed nobody is absent.
	Settle time.Duration
	// Lease is how long the ledger waits for a silent reconciler; 15 s when 0.
	Lease time.Duration
	// MaxPause is the longest pause between two looks that settle nothing; 15
	// minutes when 0.
	MaxPause time.Duration
	// Draining ends when the worker is about to stop: a look under way is given
	// back. Nil: never. Worker.Start sets it.
	Draining context.Context
}

const (
	// margin is how far the provider's clock may be from the ledger's.
	margin = 15 * time.Minute
	// farMargin is how far its dates may be off while nothing has shown that they
	// mean what we take them for: in the documents' only example the date of a
	// message lies hours beside its schedule (shared/api/PROVIDER.md, Finding a
	// message again), as if it were in another time zone.
	farMargin = 26 * time.Hour
)

// lookPayload is what TypeReconcile and TypeCancel tasks carry: an account and a
// channel.
type lookPayload struct {
	URL     string           `json:"url"`
	User    string           `json:"user"`
	Channel campaign.Channel `json:"channel"`
}

// ProcessTask handles a TypeReconcile task.
func (r *Reconciler) ProcessTask(ctx context.Context, t *asynq.Task) error {
	d, err := readLook(t)
	if err != nil {
		return err
	}
	return r.Reconcile(ctx, d)
}

// readLook reads the account and channel of a task.
func readLook(t *asynq.Task) (ledger.LookDue, error) {
	var p lookPayload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return ledger.LookDue{}, fmt.Errorf("reading a task: %v: %w", err, asynq.SkipRetry)
	}
	return ledger.LookDue{Provider: ledger.Provider{URL: p.URL, User: p.User}, Channel: p.Channel}, nil
}

// otherAccount says why nothing of an account can be asked for here; empty when
// it can.
func otherAccount(ctx context.Context, p identifier, account ledger.Provider) string {
	switch id, err := p.Identity(ctx); {
	case err != nil:
		return "the provider's account cannot be read: " + err.Error()
	case id != account:
		return "a worker has another provider account or base URL than the one these messages were sent with: start workers with that account"
	}
	return ""
}

// Reconcile looks into a channel's history for everybody who is due, once. It
// returns an error only when the ledger could not be reached: what keeps the
// history from being read is on record there.
func (r *Reconciler) Reconcile(ctx context.Context, d ledger.LookDue) error {
	log := r.Log.With("channel", d.Channel)
	if problem := otherAccount(ctx, r.Provider, d.Provider); problem != "" {
		return r.putOff(ctx, d, log, problem)
	}
	// A name of its own for each look: one worker may have two under way.
	k, err := r.Ledger.BeginLook(ctx, d, r.Settle, r.lease(), r.Name+" "+uuid.NewString()[:8])
	if err != nil || k == nil {
		return err
	}
	ctx, release := r.hold(ctx, k, log)
	defer release()

	s := newSearch(r, k)
	look, err := s.run(ctx)
	switch {
	case errors.Is(err, errLedger):
		return err // the look's lease runs out, and another takes it on
	case err != nil && ctx.Err() != nil: // the worker stops, or another has the look
		return r.Ledger.DropLook(context.WithoutCancel(ctx), k)
	}
	result := s.result(look, err)
	absent, endErr := r.Ledger.EndLook(context.WithoutCancel(ctx), k, result)
	if endErr != nil {
		return endErr
	}
	say := log.Info
	if !look.Complete || s.applied.Late > 0 {
		say = log.Warn
	}
	say("looked into the provider's history", "attempts", len(result.Looked), "pages", look.Pages, "rows", look.Rows, "complete", look.Complete,
		"found", s.applied.Found, "absent", absent, "late", s.applied.Late, "problem", result.Problem)
	if s.applied.Duplicates > 0 {
		log.Error("recipients were reached twice: resends on this channel are stopped until somebody resumes a campaign with --after-duplicates", "recipients", s.applied.Duplicates)
	}
	return nil
}

// putOff records why nobody can look. Another worker may be able to, soon.
func (r *Reconciler) putOff(ctx context.Context, d ledger.LookDue, log *slog.Logger, problem string) error {
	if ctx.Err() != nil {
		return nil // the worker stops
	}
	log.Warn("what is unknown cannot be found out for now", "problem", problem)
	return r.Ledger.PutOffLook(ctx, d, problem, min(r.Settle, 10*time.Second))
}

// hold keeps a look's lease until release; the context ends when it is lost.
func (r *Reconciler) hold(ctx context.Context, k *ledger.Look, log *slog.Logger) (held context.Context, release func()) {
	held, cancel := context.WithCancel(ctx)
	drained := func() bool { return true }
	if r.Draining != nil {
		drained = context.AfterFunc(r.Draining, cancel)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(r.lease() / 3)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			switch err := r.Ledger.RenewLook(held, k, r.lease()); {
			case errors.Is(err, ledger.ErrLostLease):
				cancel()
				return
			case err != nil && held.Err() == nil:
				log.Warn("the lease of a look could not be renewed", "error", err)
			}
		}
	}()
	return held, func() { drained(); cancel(); <-stopped }
}

func (r *Reconciler) lease() time.Duration { return orDefault(r.Lease, 15*time.Second) }

// search is one look under way.
type search struct {
	r        *Reconciler
	look     *ledger.Look
	suspects *suspects
	byPlace  *byDestination // nil until a row without a reference turns up
	reach    time.Duration  // how far from its attempt a row may be dated
	// dated: a row of a message whose time we know bears that time.
	dated  bool
	sample map[string]time.Time // dates of some rows, by the provider's id

	findings []ledger.Finding // not yet recorded
	found    map[*ledger.Suspect]int
	applied  ledger.Applied
}

func newSearch(r *Reconciler, k *ledger.Look) *search {
	return &search{r: r, look: k, suspects: newSuspects(k.Suspects), found: map[*ledger.Suspect]int{},
		reach: margin, sample: map[string]time.Time{}}
}

// errLedger marks errors of the ledger, after which nothing can be recorded.
var errLedger = errors.New("the ledger cannot be reached")

// flushAt is how many findings are recorded in one transaction.
const flushAt = 2000

// run reads the history, and records what it finds as it goes. Where nothing
// shows that the provider's dates mean what we take them for, it reads again,
// from a day earlier to a day later: else a shifted date would make everybody
// absent.
func (s *search) run(ctx context.Context) (Look, error) {
	look, err := s.read(ctx)
	if err == nil && look.Complete {
		err = s.compareDates(ctx)
	}
	if err == nil && look.Complete && !s.dated {
		s.reach = farMargin
		var far Look
		far, err = s.read(ctx)
		look = Look{Rows: max(look.Rows, far.Rows), Pages: look.Pages + far.Pages, Complete: far.Complete, Doubt: far.Doubt}
	}
	// What was found stands, whatever became of the rest.
	if err == nil && look.Complete && s.byPlace != nil {
		err = s.matchPlaces(ctx)
	}
	if err := s.flush(context.WithoutCancel(ctx), 1); err != nil {
		return look, err
	}
	return look, err
}

// sampled is how many rows are held against the ledger for their dates.
const sampled = 64

// read reads the history as far as the search reaches.
func (s *search) read(ctx context.Context) (Look, error) {
	all := windows(s.look.Suspects, s.reach)
	if len(all) == 0 { // everybody was decided over meanwhile
		s.dated = true
		return Look{Complete: true}, nil
	}
	return s.r.Provider.History(ctx, s.look.Channel, all, func(page []clicksend.Record) error {
		crashpoint.Here(crashpoint.LookPage)
		if first := &page[0]; len(s.sample) < sampled && first.MessageID != "" && first.Date > 0 {
			s.sample[strings.Clone(first.MessageID)] = time.Unix(first.Date, 0)
		}
		for i := range page {
			if err := s.row(ctx, &page[i]); err != nil {
				return err
			}
		}
		return s.flush(ctx, flushAt)
	})
}

// compareDates looks for a row whose message the ledger knows, dated when its
// request was made.
func (s *search) compareDates(ctx context.Context) error {
	if s.dated || len(s.sample) == 0 {
		return nil
	}
	ids := map[string]bool{}
	for id := range s.sample {
		ids[id] = true
	}
	known, err := s.r.Ledger.KnownMessages(ctx, s.look.LookDue, s.since(), ids)
	if err != nil {
		return fmt.Errorf("%w: %w", errLedger, err)
	}
	for id, whose := range known {
		s.dated = s.dated || s.sample[id].Sub(whose.Started).Abs() <= margin
	}
	return nil
}

// since is when the earliest of the suspects began, with room for what others
// were held for.
func (s *search) since() time.Time {
	earliest := s.look.Suspects[0].Started
	for _, a := range s.look.Suspects {
		if a.Started.Before(earliest) {
			earliest = a.Started
		}
	}
	return earliest.Add(-farMargin - 40*24*time.Hour)
}

// windows is when the messages of the suspects may be dated. Those that are only
// read again for late evidence count when their turn has come.
func windows(all []*ledger.Suspect, reach time.Duration) []Window {
	var w []Window
	for _, s := range all {
		if !s.Due && len(s.Unresolved) == 0 {
			continue
		}
		w = append(w, Window{From: s.Started.Add(-reach), To: s.Deadline.Add(reach)})
		if !s.Held.IsZero() {
			w = append(w, Window{From: s.Held.Add(-reach), To: s.Held.Add(reach)})
		}
	}
	return w
}

// row takes in one row of history.
func (s *search) row(ctx context.Context, rec *clicksend.Record) error {
	if rec.CustomString == "" {
		return s.unreferenced(ctx, rec)
	}
	ref, ours := s.r.Ledger.ParseReference(rec.CustomString)
	if !ours {
		return nil
	}
	if suspect := s.suspects.find(ref.Recipient, ref.Attempt); suspect != nil {
		s.find(suspect, ref.Recipient, rec)
	}
	return nil
}

func (s *search) find(suspect *ledger.Suspect, recipient int64, rec *clicksend.Record) {
	f := finding(suspect.Attempt, recipient, rec)
	s.findings = append(s.findings, f)
	at := time.Unix(rec.Date, 0)
	s.dated = s.dated || !at.Before(suspect.Started.Add(-margin)) && !at.After(suspect.Deadline.Add(margin))
	// Of whoever was shown absent only a message that was accepted is news: one
	// that failed is met at every look, and must not put the others off for ever.
	_, open := slices.BinarySearch(suspect.Unresolved, recipient)
	if suspect.Due && (open || f.State == campaign.Accepted) {
		s.found[suspect]++
	}
}

// finding is what a row of history says of a message.
func finding(attempt, recipient int64, rec *clicksend.Record) ledger.Finding {
	f := ledger.Finding{Attempt: attempt, Outcome: ledger.Outcome{
		Recipient: recipient, ProviderID: rec.MessageID, Status: string(rec.Status),
		Price: campaign.Micros(rec.Price), Parts: int(rec.Parts),
	}}
	switch rec.Fate() {
	case clicksend.FateFailed:
		f.State, f.Reason, f.Price = campaign.Rejected, failedReason(rec), 0
	case clicksend.FateCancelled:
		f.State, f.Price = campaign.RecipientCancelled, 0
	default:
		f.State = campaign.Accepted
		f.PriceUnread = unreadPrice(rec.Unread)
	}
	return f
}

// failedReason is the code of a message that was taken and could not be handed on.
func failedReason(rec *clicksend.Record) string {
	for _, code := range []string{rec.StatusCode, rec.ErrorCode} {
		if code != "" {
			return code
		}
	}
	return "FAILED"
}

// flush records findings when there are as many as least.
func (s *search) flush(ctx context.Context, least int) error {
	if len(s.findings) < least {
		return nil
	}
	n, err := s.r.Ledger.ApplyEvidence(ctx, ledger.FromHistory, s.findings)
	if err != nil {
		return fmt.Errorf("%w: %w", errLedger, err)
	}
	s.applied.Found += n.Found
	s.applied.Late += n.Late
	s.applied.Duplicates += n.Duplicates
	s.findings = s.findings[:0]
	return nil
}

// result is what the look comes to for each suspect that was due.
func (s *search) result(look Look, err error) ledger.LookResult {
	res := ledger.LookResult{Complete: look.Complete && err == nil, Settle: s.r.Settle, MaxPause: orDefault(s.r.MaxPause, 15*time.Minute), MaxTries: maxPassing}
	switch {
	case err != nil:
		res.Problem = "the provider's history could not be read: " + err.Error()
	case !look.Complete:
		res.Problem = "the provider's history could not be read to the end: " + look.Doubt
	}
	for _, suspect := range s.look.Suspects {
		if suspect.Due {
			l := ledger.Looked{Suspect: suspect, Found: s.found[suspect] > 0}
			if s.byPlace != nil {
				l.Ambiguous = s.byPlace.ambiguous[suspect]
			}
			res.Looked = append(res.Looked, l)
		}
	}
	return res
}
