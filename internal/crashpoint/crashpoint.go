// Package crashpoint names the places where the crash suite kills Postrider:
// before and after each write, post and acknowledgement on the way of a batch.
//
// A normal build does nothing there, and has nothing that could be switched on.
// Built with the tag crashpoints, a process that has CRASHPOINT=NAME[:NTH][:kill|stop]
// in its environment kills itself with SIGKILL, or stops itself with SIGSTOP, when
// it passes the point of that name for the nth time (the first when it is left out).
package crashpoint

import "slices"

// A Point is a place at which a process may die.
type Point string

// A Write is a transaction of the ledger. It has a point before it, one inside
// it (everything is written and nothing committed), and one after its commit.
type Write string

// The writes on the way of a campaign, in its order.
const (
	ImportChunk  Write = "import-chunk"  // contacts, again and again
	ImportFinish Write = "import-finish" // the list becomes visible
	OptOutChunk  Write = "optout-chunk"  // opt-outs on their way in, again and again
	OptOutFinish Write = "optout-finish" // they count
	CreateDraft  Write = "create-draft"
	PlanChunk    Write = "plan-chunk" // batches and recipients, again and again
	PlanFinish   Write = "plan-finish"
	QuoteBatch   Write = "quote-batch"
	Quote        Write = "quote"
	MoveCampaign Write = "move-campaign" // start, by a person or because its hour has come

	ForgetDispatches Write = "forget-dispatches" // the queue has lost its memory
	Due              Write = "due"               // dispatch numbers are raised
	Claim            Write = "claim"
	RenewLease       Write = "renew-lease"
	Release          Write = "release" // a claimed batch goes back before any attempt
	BeginAttempt     Write = "begin-attempt"
	CloseAnswered    Write = "close-answered"
	CloseNotSent     Write = "close-not-sent"
	CloseUnknown     Write = "close-unknown"
	CloseRefused     Write = "close-refused"

	BeginLook     Write = "begin-look" // somebody takes on a reading of history
	RenewLook     Write = "renew-look"
	ApplyEvidence Write = "apply-evidence" // what a stretch of history shows, again and again
	EndLook       Write = "end-look"       // the absent are pending again
	PutOffLook    Write = "put-off-look"

	CancelCampaign Write = "cancel-campaign" // what has not left is cancelled, and what is held is to be
	ClaimCancels   Write = "claim-cancels"
	RecordCancels  Write = "record-cancels" // what the provider has cancelled, again and again
)

// The other points.
const (
	StartDueBefore Point = "start-due.before" // a campaign's hour has come
	StartDueAfter  Point = "start-due.after"

	EnqueueBefore Point = "enqueue.before" // of each batch, after all their dispatch numbers were raised
	EnqueueAfter  Point = "enqueue.after"

	UploadBefore Point = "upload.before"
	UploadAfter  Point = "upload.after"
	PostBefore   Point = "post.before" // the attempt is on record
	PostAfter    Point = "post.after"  // the answer was read, or is known not to come
	Acknowledge  Point = "acknowledge" // everything is on record; the queue has not heard of it

	SweepBefore Point = "sweep.before" // an attempt that nobody answers for was found
	SweepAfter  Point = "sweep.after"

	EnqueueLookBefore Point = "enqueue-look.before"
	EnqueueLookAfter  Point = "enqueue-look.after"
	LookPage          Point = "look-page" // a page of history was read, and nothing of it is on record

	CancelBefore Point = "cancel.before" // of each message that the provider holds
	CancelAfter  Point = "cancel.after"  // the provider has answered, and nothing is on record

	Finish Point = "finish" // inside the write that ends a campaign, after it was moved to its end
)

// before, inside and after are the points of a write.
func (w Write) before() Point { return Point(w) + ".before" }
func (w Write) inside() Point { return Point(w) + ".inside" }
func (w Write) after() Point  { return Point(w) + ".after" }

// Points lists every point there is.
func Points() []Point {
	all := []Point{
		StartDueBefore, StartDueAfter, EnqueueBefore, EnqueueAfter, UploadBefore, UploadAfter, PostBefore, PostAfter, Acknowledge,
		SweepBefore, SweepAfter, EnqueueLookBefore, EnqueueLookAfter, LookPage,
		CancelBefore, CancelAfter, Finish,
	}
	for _, w := range []Write{
		ImportChunk, ImportFinish, OptOutChunk, OptOutFinish, CreateDraft, PlanChunk, PlanFinish, QuoteBatch, Quote, MoveCampaign,
		ForgetDispatches, Due, Claim, RenewLease, Release, BeginAttempt, CloseAnswered, CloseNotSent, CloseUnknown, CloseRefused,
		BeginLook, RenewLook, ApplyEvidence, EndLook, PutOffLook,
		CancelCampaign, ClaimCancels, RecordCancels,
	} {
		all = append(all, w.before(), w.inside(), w.after())
	}
	slices.Sort(all)
	return all
}
