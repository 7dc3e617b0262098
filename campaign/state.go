package campaign

// State is where a campaign stands. Its moves are in moves below; nothing else
// may change it.
type State string

// The states of a campaign.
const (
	Draft      State = "draft"      // being planned; nothing can leave
	Quoted     State = "quoted"     // planned and priced; waits for a yes
	Scheduled  State = "scheduled"  // approved; starts at its hour
	Sending    State = "sending"    // batches leave
	Paused     State = "paused"     // nothing leaves until resumed; the reason says why
	Cancelling State = "cancelling" // nothing more leaves; what is in flight is being found out, what the provider holds is cancelled there
	Cancelled  State = "cancelled"  // final
	Completed  State = "completed"  // final: every recipient has a final state; its refused ones may be tried again
	Failed     State = "failed"     // final: the plan could not be made or quoted; nothing left
)

// States lists every campaign state in the order of a campaign's life.
func States() []State {
	return []State{Draft, Quoted, Scheduled, Sending, Paused, Cancelling, Cancelled, Completed, Failed}
}

// moves is the one table of legal moves.
var moves = map[State][]State{
	Draft:      {Quoted, Failed, Cancelled},
	Quoted:     {Draft, Scheduled, Sending, Cancelled, Failed}, // a draft again to be priced anew
	Scheduled:  {Sending, Paused, Cancelling, Cancelled},
	Sending:    {Paused, Cancelling, Completed},
	Paused:     {Scheduled, Sending, Cancelling},
	Cancelling: {Cancelled},
	// Refused recipients are tried again on demand; what the provider still holds
	// for its hour can be cancelled there.
	Completed: {Sending, Cancelling},
}

// CanMove reports whether a campaign may go from one state to another.
func CanMove(from, to State) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Final reports whether a campaign in this state has ended. Only a person can
// change that: see Completed in moves.
func (s State) Final() bool { return s == Completed || s == Cancelled || s == Failed }

func (s State) String() string { return string(s) }

// RecipientState is where one recipient stands. The numbers are what the
// ledger stores; they never change their meaning.
type RecipientState int16

// The states of a recipient. In flight is not among them: it is a pending
// recipient carried by an open attempt.
const (
	Pending            RecipientState = 0
	Unknown            RecipientState = 1 // sent, answer lost; being found out
	Accepted           RecipientState = 2 // the provider took it
	Delivered          RecipientState = 3
	Undelivered        RecipientState = 4
	Rejected           RecipientState = 5 // the provider refused it; the code says why
	Suppressed         RecipientState = 6 // never offered to the provider; the reason says why
	RecipientCancelled RecipientState = 7 // cancelled before it left, or at the provider
)

var recipientStateNames = [...]string{
	"pending", "unknown", "accepted", "delivered", "undelivered", "rejected", "suppressed", "cancelled",
}

// RecipientStates lists every recipient state in the order of its number.
func RecipientStates() []RecipientState {
	return []RecipientState{Pending, Unknown, Accepted, Delivered, Undelivered, Rejected, Suppressed, RecipientCancelled}
}

func (s RecipientState) String() string {
	if s < 0 || int(s) >= len(recipientStateNames) {
		return "invalid"
	}
	return recipientStateNames[s]
}

// recipientMoves is the one table of legal moves of a recipient.
var recipientMoves = map[RecipientState][]RecipientState{
	Pending:  {Unknown, Accepted, Rejected, Suppressed, RecipientCancelled},
	Unknown:  {Pending, Accepted, Rejected, RecipientCancelled},
	Accepted: {Delivered, Undelivered, RecipientCancelled},
	// Evidence that an earlier message was accepted wins, however late it comes.
	Rejected:           {Pending, Accepted},
	Suppressed:         {Accepted},
	RecipientCancelled: {Accepted},
	// A receipt may say "temporarily failed" first and "delivered" later.
	Undelivered: {Delivered},
}

// CanMoveRecipient reports whether a recipient may go from one state to another.
func CanMoveRecipient(from, to RecipientState) bool {
	for _, s := range recipientMoves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// TooLate begins the reason of an accepted recipient whose message was to be
// cancelled at the provider and could not be; the provider's word follows.
const TooLate = "too_late: "

// Reasons for which a recipient is suppressed.
const (
	ReasonNoDestination = "no_destination" // the contact lacks what the channel needs
	ReasonBadAddress    = "bad_address"    // nothing can be printed on an envelope that arrives there: Address.Fault says why
	ReasonDuplicate     = "duplicate"      // the same recipient stands earlier in the audience
	ReasonOptedOut      = "opted_out"      // on the suppression list
	ReasonFixedLine     = "fixed_line"     // a number that messages do not reach
)
