package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// Sender takes one batch from the queue to the ledger's record of its
// outcomes. It holds nothing between batches, so any number may run anywhere.
type Sender struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	Log      *slog.Logger

	// Name tells this worker from every other, for the ledger's leases.
	Name string
	// Lease is how long the ledger waits for a silent worker; 15 s when 0.
	Lease time.Duration
	// HTTPTimeout is how long a post may take, from its first byte to the last
	// byte of the answer; 30 s when 0.
	HTTPTimeout time.Duration
	// Patience is how long a batch waits in a worker for the rate budget
	// before it goes back to the ledger; 20 s when 0.
	Patience time.Duration
	// RefusalBrake is the share of refusals among a campaign's first 1,000
	// answers beyond which it pauses, 0 to 1; 0 is no brake.
	RefusalBrake float64
	// Draining ends when no batch should wait for the rate budget any more: the
	// worker is about to stop. Nil: never.
	Draining context.Context
	// Test hooks, nil outside tests: called between the commit of an attempt
	// and its post, and after the post before its record.
	BeforePost, AfterPost func()
}

// postWithin is how long after the commit of its attempt a post must begin.
const postWithin = ledger.PostWithin

// outgoing is one message of a batch on its way.
type outgoing struct {
	recipient int64
	reference string
	message   campaign.Message
	quoted    campaign.Micros
}

// ProcessTask handles a TypeSend task. It returns an error only when the
// ledger could not be reached: everything else is on record there, and the
// ledger, not the queue, decides what is sent again.
func (s *Sender) ProcessTask(ctx context.Context, t *asynq.Task) error {
	var p sendPayload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return fmt.Errorf("reading a task: %v: %w", err, asynq.SkipRetry)
	}
	err := s.Send(ctx, p.Batch, p.Dispatch)
	crashpoint.Here(crashpoint.Acknowledge)
	return err
}

// Send sends the batch, if the dispatch number is still the ledger's and
// nobody else holds the batch.
func (s *Sender) Send(ctx context.Context, batch, dispatch int64) error {
	claim, err := s.Ledger.Claim(ctx, batch, dispatch, s.Name, s.lease())
	if err != nil || claim == nil {
		return err
	}
	log := s.Log.With("campaign", claim.Campaign.ID, "batch", batch)
	held := s.hold(ctx, claim, log)
	defer held.release()

	if ok, err := s.checkAccount(ctx, claim, log); err != nil || !ok {
		return err
	}
	job, wait, err := s.prepare(held.ctx, claim)
	if err != nil {
		return s.giveUp(ctx, claim, log, wait, err)
	}
	return s.attempt(ctx, held, claim, job, log)
}

// checkAccount pauses a campaign that was quoted with another account: under
// this one nothing of it is sent and nothing reconciled. It reports whether
// the batch may go on.
func (s *Sender) checkAccount(ctx context.Context, claim *ledger.Claim, log *slog.Logger) (bool, error) {
	id, err := s.Provider.Identity(ctx)
	if err != nil {
		return false, s.giveUp(ctx, claim, log, 0, err)
	}
	if id == claim.Campaign.Provider {
		return true, nil
	}
	return false, s.giveUp(ctx, claim, log, 0, &pauseError{
		"account: a worker has another provider account or base URL than the one the campaign was quoted with; start workers with that account, then resume"})
}

// pauseError gives a batch back and pauses its campaign with the reason.
type pauseError struct{ reason string }

func (e *pauseError) Error() string { return e.reason }

// job is a batch ready to be posted.
type job struct {
	content  *campaign.Content
	urls     []string // of the files, at the provider
	messages []outgoing
	tries    int       // passing refusals that its recipients have behind them
	permit   time.Time // when the rate budget let it go
}

// prepare renders the batch, uploads its files and waits for the rate budget.
// On an error the batch goes back to the ledger for wait.
func (s *Sender) prepare(ctx context.Context, claim *ledger.Claim) (*job, time.Duration, error) {
	j, err := s.render(claim)
	if err != nil {
		return nil, 0, err
	}
	if err := s.checkCredit(ctx, j, claim.Campaign.Currency); err != nil {
		return nil, 0, err
	}
	// An upload may take as long as a post, and waits for a budget of its own.
	uploadCtx, cancel := context.WithTimeout(ctx, s.patience()+s.httpTimeout())
	defer cancel()
	if j.urls, err = s.Provider.FileURLs(uploadCtx, j.content, claim.FileKey); err != nil {
		return nil, 0, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if s.Draining != nil {
		defer context.AfterFunc(s.Draining, cancel)()
	}
	if err := s.Provider.Wait(waitCtx, sendEndpoint(j.content.Channel), len(j.messages)); err != nil {
		var we *ratelimit.WaitError
		if errors.As(err, &we) {
			return nil, we.RetryAfter, &budgetError{err} // somebody else may have the batch meanwhile
		}
		return nil, 0, &budgetError{err}
	}
	j.permit = time.Now()
	return j, 0, nil
}

// render writes the messages of a batch, with their references.
func (s *Sender) render(claim *ledger.Claim) (*job, error) {
	j := &job{content: &claim.Campaign.Content, tries: claim.Tries}
	r, err := campaign.NewRenderer(j.content, claim.Campaign.Plan.Limits)
	if err != nil {
		return nil, &pauseError{"plan: what was approved cannot be rendered any more: " + err.Error()}
	}
	number := claim.Attempts + 1
	for i := range claim.Recipients {
		rc := &claim.Recipients[i]
		m, err := r.Render(&rc.Contact)
		if err != nil {
			return nil, &pauseError{"plan: what was approved cannot be rendered any more: " + err.Error()}
		}
		m.FileKey = claim.FileKey
		ref := campaign.Reference{Ledger: s.Ledger.ID(), Recipient: rc.ID, Attempt: number}
		j.messages = append(j.messages, outgoing{recipient: rc.ID, reference: ref.String(), message: m, quoted: rc.Quoted})
	}
	if len(j.messages) == 0 {
		return nil, errNobody
	}
	return j, nil
}

// permitLife is how long a permit of the rate budget is good for. Workers that
// a busy machine holds up would else come late, and all at once.
const permitLife = 75 * time.Millisecond

// renewPermit asks for another place when the batch comes late to its own. It
// waits no longer than the post has to begin.
func (s *Sender) renewPermit(ctx context.Context, j *job, committed time.Time) error {
	if time.Since(j.permit) <= permitLife {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, committed.Add(postWithin*3/4))
	defer cancel()
	return s.Provider.Wait(ctx, sendEndpoint(j.content.Channel), len(j.messages))
}

var errNobody = errors.New("nobody is pending in the batch")

// budgetError says that the rate budget did not come round in time: no failure.
type budgetError struct{ err error }

func (e *budgetError) Error() string { return "waiting for the rate budget: " + e.err.Error() }
func (e *budgetError) Unwrap() error { return e.err }

// giveUp gives a claimed batch back before any attempt, and says whether the
// queue should hear of it.
func (s *Sender) giveUp(ctx context.Context, claim *ledger.Claim, log *slog.Logger, wait time.Duration, cause error) error {
	pause := ""
	var pe *pauseError
	var be *budgetError
	switch {
	case errors.As(cause, &pe):
		pause = pe.reason
	case ctx.Err() != nil: // the worker stops: another may have the batch at once
		wait = 0
	case errors.As(cause, &be):
		// Not at once, or batches that cannot leave go round and round.
		wait = min(max(wait, time.Second), time.Minute)
	case errors.Is(cause, ledger.ErrLostLease):
		return nil
	default:
		pause, wait = afterReadError(cause, wait)
		log.Warn("a batch could not be prepared and waits", "wait", wait, "error", cause)
	}
	// The task's context may have ended; the batch goes back all the same.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := s.Ledger.Release(back, claim, wait); err != nil {
		return err
	}
	if pause == "" {
		return nil
	}
	err := s.Ledger.MoveCampaign(back, claim.Campaign.ID, ledger.Move{To: campaign.Paused, Actor: s.Name, Reason: pause})
	if campaign.ErrorCode(err) == campaign.CodeConflict {
		return nil
	}
	return err
}

// afterReadError says what a failed read or upload means for the campaign: a
// reason to pause it, or how long its batch waits.
func afterReadError(err error, wait time.Duration) (pause string, _ time.Duration) {
	var ce *clicksend.Error
	if !errors.As(err, &ce) {
		if campaign.ErrorCode(err) == campaign.CodeNotFound {
			return "file: " + err.Error(), time.Minute
		}
		return "", max(wait, 5*time.Second)
	}
	switch ce.Kind {
	case clicksend.Unauthorised:
		return "credentials: the provider refuses the user name or API key (401); mend CLICKSEND_USERNAME and CLICKSEND_API_KEY, then resume", wait
	case clicksend.Forbidden:
		return "account: the provider refuses this account (403): " + ce.Message, wait
	case clicksend.NotFound:
		return "base URL: the provider knows no " + ce.Op + " (404); check CLICKSEND_BASE_URL, it ends in /v3", wait
	case clicksend.BadRequest, clicksend.TooLarge, clicksend.Invalid:
		return "upload: the provider refuses a file: " + ce.Message, wait
	}
	return "", max(wait, ce.RetryAfter, 5*time.Second)
}

// holding keeps a claim's lease alive while the worker lives.
type holding struct {
	ctx     context.Context // ends when the lease is lost
	cancel  context.CancelFunc
	lost    atomic.Bool
	stopped chan struct{}
}

// hold renews the lease every third of it until release.
func (s *Sender) hold(ctx context.Context, claim *ledger.Claim, log *slog.Logger) *holding {
	h := &holding{stopped: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(ctx)
	go func() {
		defer close(h.stopped)
		tick := time.NewTicker(s.lease() / 3)
		defer tick.Stop()
		for {
			select {
			case <-h.ctx.Done():
				return
			case <-tick.C:
			}
			switch err := s.Ledger.RenewLease(h.ctx, claim, s.lease()); {
			case errors.Is(err, ledger.ErrLostLease):
				h.lost.Store(true)
				h.cancel()
				return
			case err != nil && h.ctx.Err() == nil:
				log.Warn("the lease of a batch could not be renewed", "error", err)
			}
		}
	}()
	return h
}

func (h *holding) release() {
	h.cancel()
	<-h.stopped
}

// attempt records the attempt, posts it and records what came of it.
func (s *Sender) attempt(ctx context.Context, held *holding, claim *ledger.Claim, j *job, log *slog.Logger) error {
	members := make([]int64, len(j.messages))
	for i, m := range j.messages {
		members[i] = m.recipient
	}
	if err := held.ctx.Err(); err != nil {
		return s.giveUp(ctx, claim, log, 0, &budgetError{err})
	}
	// A commit that is given up in the middle may stand all the same, and its
	// recipients would be unknown though nothing left: it runs to its end.
	begin, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.lease())
	defer cancel()
	// The ledger's deadline counts from within the transaction, so that one
	// counted from before it is never later, however long this process sleeps
	// before it learns of the commit.
	began := time.Now()
	deadline := began.Add(postWithin + s.httpTimeout())
	a, err := s.Ledger.BeginAttempt(begin, claim, ledger.Begin{Within: postWithin + s.httpTimeout(), Members: members})
	switch {
	case err == nil:
	case errors.Is(err, ledger.ErrLostLease), errors.Is(err, ledger.ErrNotSending), errors.Is(err, ledger.ErrBudget),
		errors.Is(err, ledger.ErrWindow), errors.Is(err, ledger.ErrProbing), errors.Is(err, ledger.ErrStopped), errors.Is(err, ledger.ErrNobody), errors.Is(err, ledger.ErrLate):
		return nil // it is on record
	case errors.Is(err, ledger.ErrQuarantined), errors.Is(err, ledger.ErrFormerID):
		log.Error("a batch is held back", "error", err)
		return nil // it waits in the ledger
	default:
		return s.giveUp(ctx, claim, log, 0, err)
	}
	committed := time.Now()
	if len(a.Members) < len(j.messages) {
		j.messages = only(j.messages, a.Members)
	}
	crashpoint.Here(crashpoint.PostBefore)
	if s.BeforePost != nil {
		s.BeforePost()
	}
	if err := s.renewPermit(ctx, j, committed); err != nil {
		return s.record(context.WithoutCancel(ctx), a, j, nil,
			&clicksend.Error{Kind: clicksend.NotSent, Op: sendEndpoint(j.content.Channel), Message: "the worker came too late to its place in the rate budget"}, log)
	}
	// From here on the outcome must be recorded, whatever ends the task: the
	// post has a deadline of its own.
	post, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	guarded := clicksend.WithGuard(post, func() error {
		// Round drops the monotonic reading: a machine that slept counts too.
		if late := max(time.Since(committed), time.Since(committed.Round(0))); late > postWithin {
			return fmt.Errorf("the worker was held up for %s after it had recorded the attempt", late.Round(time.Millisecond))
		}
		// Counted from before the transaction, so that its commit may take its time.
		if a.OpenFor > 0 && max(time.Since(began), time.Since(began.Round(0))) >= a.OpenFor {
			return ledger.ErrWindow
		}
		if held.lost.Load() {
			return ledger.ErrLostLease
		}
		return nil
	})
	answer, err := s.Provider.Send(guarded, j)
	crashpoint.Here(crashpoint.PostAfter)
	if s.AfterPost != nil {
		s.AfterPost()
	}
	return s.record(context.WithoutCancel(ctx), a, j, answer, err, log)
}

func only(messages []outgoing, members []int64) []outgoing {
	left := messages[:0]
	i := 0
	for _, m := range messages {
		if i < len(members) && members[i] == m.recipient {
			left = append(left, m)
			i++
		}
	}
	return left
}

// recordAfterStop is how long a worker that was asked to stop goes on trying to
// record an answer, at least, and recordTry how long one try may take: longer
// than any write of ours, so that a database that hangs is asked anew.
const (
	recordAfterStop = 10 * time.Second
	recordTry       = 30 * time.Second
)

// record writes what a post came to. While the database is away the answer
// waits here, for as long as the process lives; when the worker has to stop
// before it is back, the attempt stays open and is found out later.
func (s *Sender) record(ctx context.Context, a *ledger.Attempt, j *job, answer *answer, sendErr error, log *slog.Logger) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	if s.Draining != nil {
		defer context.AfterFunc(s.Draining, func() {
			select {
			case <-time.After(recordAfterStop):
				giveUp()
			case <-ctx.Done():
			}
		})()
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, recordTry)
		err := s.close(try, a, j, answer, sendErr, log)
		cancel()
		switch {
		case err == nil, errors.Is(err, ledger.ErrClosedAttempt):
			return nil
		case ledger.Lasting(err):
			log.Error("an outcome cannot be recorded; it is found out later", "attempt", a.ID, "error", err)
			return fmt.Errorf("recording the outcome of attempt %d: %w", a.ID, err)
		}
		log.Error("an outcome could not be recorded yet; it waits for the database", "attempt", a.ID, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			log.Error("the worker ends before the database is back: what became of an attempt is found out later", "attempt", a.ID)
			return fmt.Errorf("recording the outcome of attempt %d: %w", a.ID, err)
		}
	}
}

// close turns the answer, or its absence, into the attempt's record.
func (s *Sender) close(ctx context.Context, a *ledger.Attempt, j *job, answer *answer, sendErr error, log *slog.Logger) error {
	if sendErr == nil {
		return s.Ledger.CloseAnswered(ctx, a, s.read(j, answer))
	}
	var ce *clicksend.Error
	if !errors.As(sendErr, &ce) {
		ce = &clicksend.Error{Kind: clicksend.UnknownOutcome, Message: sendErr.Error()}
	}
	switch ce.Kind {
	case clicksend.NotSent:
		log.Warn("a batch did not leave and waits", "attempt", a.ID, "error", sendErr)
		return s.Ledger.CloseNotSent(ctx, a, ce.Error(), backoff(a.Number), "")
	case clicksend.RateLimited:
		return s.Ledger.CloseNotSent(ctx, a, "the provider's rate limit (429)", max(ce.RetryAfter, time.Second), "")
	case clicksend.Unauthorised, clicksend.Forbidden, clicksend.NotFound:
		pause, _ := afterReadError(ce, 0)
		log.Error("the provider refuses this account", "attempt", a.ID, "error", sendErr)
		return s.Ledger.CloseNotSent(ctx, a, ce.Error(), 0, pause)
	case clicksend.BadRequest, clicksend.TooLarge, clicksend.Invalid:
		log.Warn("the provider refuses a whole request; it is halved until the culprit stands alone", "attempt", a.ID, "messages", len(a.Members), "error", sendErr)
		code := ce.ResponseCode
		if code == "" {
			code = strings.ToUpper(string(ce.Kind)) // BAD_REQUEST, TOO_LARGE, INVALID
		}
		if ce.Status().Verdict() == clicksend.PausesCampaign {
			return s.Ledger.CloseNotSent(ctx, a, ce.Error(), 0, pauseReason(ce.Status()))
		}
		return s.Ledger.CloseRefused(ctx, a, code, ce.Error(), s.RefusalBrake)
	}
	log.Error("nobody knows whether a batch was accepted; its recipients are unknown until it is found out", "attempt", a.ID, "messages", len(a.Members), "error", sendErr)
	return s.Ledger.CloseUnknown(ctx, a, ce.Error())
}

// backoff is how long a batch that did not leave waits: 1 s, doubled with each
// attempt, a minute at most.
func backoff(number int) time.Duration {
	return min(time.Second<<min(number-1, 6), time.Minute)
}

// maxPassing is how many refusals that pass are final in the end.
const maxPassing = 10

// read turns the answer's rows into outcomes, one for every message.
func (s *Sender) read(j *job, answer *answer) ledger.Answer {
	out := ledger.Answer{Outcomes: make([]ledger.Outcome, len(j.messages)), Currency: answer.currency, Brake: s.RefusalBrake}
	rows := match(j.messages, answer.rows)
	for i, m := range j.messages {
		o := &out.Outcomes[i]
		o.Recipient = m.recipient
		if rows[i] < 0 {
			o.State, o.Reason = campaign.Unknown, "no_row"
			continue
		}
		r := &answer.rows[rows[i]]
		o.ProviderID, o.Status, o.Price, o.Parts = r.MessageID, string(r.Status), campaign.Micros(r.Price), int(r.Parts)
		switch r.Verdict() {
		case clicksend.Accepted:
			o.State = campaign.Accepted
			if unreadPrice(r.Unread) {
				o.Price = m.quoted // it costs something, and the row does not let us read what
			}
		case clicksend.Refused:
			o.State, o.Reason, o.Price = campaign.Rejected, string(r.Status), 0
		case clicksend.PausesCampaign:
			o.State, o.Price, o.Status = campaign.Pending, 0, ""
			out.Pause = pauseReason(r.Status)
		case clicksend.Passing:
			if j.tries+1 >= maxPassing {
				o.State, o.Reason, o.Price = campaign.Rejected, string(r.Status), 0
				break
			}
			o.State, o.Price, o.Status, o.Passing = campaign.Pending, 0, "", true
		default: // unknown, or to be looked for first
			o.State, o.Reason, o.Price = campaign.Unknown, string(r.Status), 0
		}
	}
	return out
}

// unreadPrice reports whether a row costs something that it does not let us read.
func unreadPrice(unread []string) bool {
	return slices.ContainsFunc(unread, func(field string) bool { return strings.HasSuffix(field, "price") })
}

// pauseReason says in words what a status of the whole account means.
func pauseReason(st clicksend.Status) string {
	switch st {
	case clicksend.StatusInsufficientCredit:
		return "credit: the provider's account has run out of credit; top it up, then resume"
	case clicksend.StatusAccountNotActivated:
		return "account: the provider's account is not activated; activate it, then resume"
	}
	return "credentials: the provider answers " + string(st) + "; mend the credentials, then resume"
}

func (s *Sender) lease() time.Duration       { return orDefault(s.Lease, 15*time.Second) }
func (s *Sender) httpTimeout() time.Duration { return orDefault(s.HTTPTimeout, 30*time.Second) }
func (s *Sender) patience() time.Duration    { return orDefault(s.Patience, 20*time.Second) }

// TaskTimeout is how long a task may take: the upload, the wait for the budget,
// the post and its record, with room.
func (s *Sender) TaskTimeout() time.Duration {
	return 2*s.patience() + postWithin + 2*s.httpTimeout() + 90*time.Second
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
