package clicksend

import "strings"

// Status is the application status code of one message, or of a whole request
// (shared/api/semantics.md, section 4, has them all with the provider's words).
type Status string

// The 21 status codes.
const (
	StatusSuccess                     Status = "SUCCESS"
	StatusMissingCredentials          Status = "MISSING_CREDENTIALS"
	StatusAccountNotActivated         Status = "ACCOUNT_NOT_ACTIVATED"
	StatusInvalidRecipient            Status = "INVALID_RECIPIENT"
	StatusThrottled                   Status = "THROTTLED"
	StatusInvalidSenderID             Status = "INVALID_SENDER_ID"
	StatusInsufficientCredit          Status = "INSUFFICIENT_CREDIT"
	StatusInvalidCredentials          Status = "INVALID_CREDENTIALS"
	StatusCountryNotEnabled           Status = "COUNTRY_NOT_ENABLED"
	StatusAlreadyExists               Status = "ALREADY_EXISTS"
	StatusEmptyMessage                Status = "EMPTY_MESSAGE"
	StatusTooManyRecipients           Status = "TOO_MANY_RECIPIENTS"
	StatusMissingRequiredFields       Status = "MISSING_REQUIRED_FIELDS"
	StatusInvalidSchedule             Status = "INVALID_SCHEDULE"
	StatusNotEnoughPermissionToListID Status = "NOT_ENOUGH_PERMISSION_TO_LIST_ID"
	StatusInternalError               Status = "INTERNAL_ERROR"
	StatusInvalidLang                 Status = "INVALID_LANG"
	StatusInvalidVoice                Status = "INVALID_VOICE"
	StatusSubjectRequired             Status = "SUBJECT_REQUIRED"
	StatusInvalidMediaFile            Status = "INVALID_MEDIA_FILE"
	StatusSomethingIsWrong            Status = "SOMETHING_IS_WRONG"
)

// Verdict is what a sender does about a status.
type Verdict string

// The verdicts.
const (
	// Accepted: the provider took the message.
	Accepted Verdict = "accepted"
	// Refused: it did not, and never will as the message stands.
	Refused Verdict = "refused"
	// Passing: it did not this time; the message may be sent again later, in a
	// request of its own or a smaller one.
	Passing Verdict = "passing"
	// PausesCampaign: it did not, for a reason that holds for every message of
	// the account until a person has seen to it.
	PausesCampaign Verdict = "pauses_campaign"
	// OutcomeUnknown: it may have; history must tell.
	OutcomeUnknown Verdict = "outcome_unknown"
	// LookFirst: it did not, because the same body went to the same number
	// moments ago. That may have been an earlier attempt of this very message:
	// history must tell before it is sent again.
	LookFirst Verdict = "look_first"
)

// statuses is the one table of status codes.
var statuses = map[Status]Verdict{
	StatusSuccess:                     Accepted,
	StatusMissingCredentials:          PausesCampaign,
	StatusAccountNotActivated:         PausesCampaign,
	StatusInvalidRecipient:            Refused,
	StatusThrottled:                   LookFirst,
	StatusInvalidSenderID:             Refused,
	StatusInsufficientCredit:          PausesCampaign,
	StatusInvalidCredentials:          PausesCampaign,
	StatusCountryNotEnabled:           Refused,
	StatusAlreadyExists:               Refused,
	StatusEmptyMessage:                Refused,
	StatusTooManyRecipients:           Passing,
	StatusMissingRequiredFields:       Refused,
	StatusInvalidSchedule:             Refused,
	StatusNotEnoughPermissionToListID: Refused,
	StatusInternalError:               OutcomeUnknown,
	StatusInvalidLang:                 Refused,
	StatusInvalidVoice:                Refused,
	StatusSubjectRequired:             Refused,
	StatusInvalidMediaFile:            Refused,
	StatusSomethingIsWrong:            OutcomeUnknown,
}

// Statuses lists the 21 codes in the order of the documents.
func Statuses() []Status {
	return []Status{
		StatusSuccess, StatusMissingCredentials, StatusAccountNotActivated, StatusInvalidRecipient,
		StatusThrottled, StatusInvalidSenderID, StatusInsufficientCredit, StatusInvalidCredentials,
		StatusCountryNotEnabled, StatusAlreadyExists, StatusEmptyMessage, StatusTooManyRecipients,
		StatusMissingRequiredFields, StatusInvalidSchedule, StatusNotEnoughPermissionToListID,
		StatusInternalError, StatusInvalidLang, StatusInvalidVoice, StatusSubjectRequired,
		StatusInvalidMediaFile, StatusSomethingIsWrong,
	}
}

// Verdict says what the status means. A code that is in no document is
// OutcomeUnknown.
func (s Status) Verdict() Verdict {
	if v, ok := statuses[s]; ok {
		return v
	}
	return OutcomeUnknown
}

// Known reports whether the code is one of the 21.
func (s Status) Known() bool {
	_, ok := statuses[s]
	return ok
}

// HistoryStatus is the status of a row of history, which is another language
// than Status. It may carry a detail after a colon: "Queued:Stamped".
type HistoryStatus string

// The documented statuses of history rows (shared/api/semantics.md, section 8,
// and the examples).
const (
	HistoryQueued               HistoryStatus = "Queued"
	HistoryWaitApproval         HistoryStatus = "WaitApproval"
	HistoryScheduled            HistoryStatus = "Scheduled"
	HistorySent                 HistoryStatus = "Sent"
	HistoryCompleted            HistoryStatus = "Completed"
	HistoryFailed               HistoryStatus = "Failed"
	HistoryCancelled            HistoryStatus = "Cancelled"
	HistoryCancelledAfterReview HistoryStatus = "CancelledAfterReview"
	HistoryReceived             HistoryStatus = "Received"
)

// Fate is what became of a message that stands in history. Whatever its fate,
// a row is evidence that the provider took the message.
type Fate string

// The fates.
const (
	FateWaiting   Fate = "waiting"   // taken; queued, held for approval or for its hour
	FateSent      Fate = "sent"      // handed on; whether it arrived a receipt tells
	FateFailed    Fate = "failed"    // taken, and could not be handed on
	FateCancelled Fate = "cancelled" // taken, and cancelled before it left, by us or by the provider
	FateIncoming  Fate = "incoming"  // a message received, not one that was sent
	FateUnknown   Fate = "unknown"   // a status that is in no document
)

// fates is the one table of history statuses, by their folded names.
var fates = map[string]Fate{
	"queued":               FateWaiting,
	"waitapproval":         FateWaiting,
	"scheduled":            FateWaiting,
	"sent":                 FateSent,
	"completed":            FateSent,
	"failed":               FateFailed,
	"cancelled":            FateCancelled,
	"cancelledafterreview": FateCancelled,
	"received":             FateIncoming,
}

// HistoryStatuses lists the documented statuses.
func HistoryStatuses() []HistoryStatus {
	return []HistoryStatus{
		HistoryQueued, HistoryWaitApproval, HistoryScheduled, HistorySent, HistoryCompleted,
		HistoryFailed, HistoryCancelled, HistoryCancelledAfterReview, HistoryReceived,
	}
}

// Base is the status without its detail: Queued of "Queued:Stamped".
func (s HistoryStatus) Base() HistoryStatus {
	base, _, _ := strings.Cut(string(s), ":")
	return HistoryStatus(strings.TrimSpace(base))
}

// Detail is what stands after the colon: Stamped of "Queued:Stamped".
func (s HistoryStatus) Detail() string {
	_, detail, _ := strings.Cut(string(s), ":")
	return strings.TrimSpace(detail)
}

// Fate says what became of the message. Case and spaces do not count.
func (s HistoryStatus) Fate() Fate {
	if f, ok := fates[strings.ToLower(strings.ReplaceAll(string(s.Base()), " ", ""))]; ok {
		return f
	}
	return FateUnknown
}
