package sandbox

// status is a per-message answer: the application status codes of the
// documents (shared/api/semantics.md, section 4).
type status uint8

const (
	statusSuccess status = iota
	statusInvalidRecipient
	statusCountryNotEnabled
	statusInvalidSenderID
	statusEmptyMessage
	statusThrottled
	statusInsufficientCredit
	statusInvalidSchedule
	statusMissingRequiredFields
	statusSubjectRequired
	statusInvalidMediaFile
	statusNoPermissionToList
	statuses
)

var statusNames = [statuses]string{
	"SUCCESS", "INVALID_RECIPIENT", "COUNTRY_NOT_ENABLED", "INVALID_SENDER_ID", "EMPTY_MESSAGE", "THROTTLED",
	"INSUFFICIENT_CREDIT", "INVALID_SCHEDULE", "MISSING_REQUIRED_FIELDS", "SUBJECT_REQUIRED", "INVALID_MEDIA_FILE",
	"NOT_ENOUGH_PERMISSION_TO_LIST_ID",
}

func (s status) String() string { return statusNames[s] }

// apiError is an answer that refuses a whole request.
type apiError struct {
	http int
	code string
	msg  string
}

// The HTTP statuses of the documents with their texts (section 3). The
// documents show no error body; the same four keys are an inference.
func badRequest(msg string) *apiError { return &apiError{400, "BAD_REQUEST", msg} }

func notFound(msg string) *apiError { return &apiError{404, "NOT_FOUND", msg} }

func unauthorized() *apiError {
	return &apiError{401, "UNAUTHORIZED", "Authentication credentials were missing or incorrect."}
}

func tooManyRecipients() *apiError {
	return &apiError{400, "TOO_MANY_RECIPIENTS", "Too many recipients."}
}

func internalError() *apiError {
	return &apiError{500, "INTERNAL_SERVER_ERROR", "Something is broken"}
}

// Message statuses of the histories (section 27).
const (
	stateScheduled = "Scheduled"
	stateQueued    = "Queued"
	stateStamped   = "Queued:Stamped"
	stateSent      = "Sent"
	stateCompleted = "Completed"
	stateFailed    = "Failed"
	stateCancelled = "Cancelled"
)

// How long a message that has left stays queued, and then sent, in seconds.
const (
	queuedFor = 2
	sentFor   = 8
)

// state works out what the history says of a message at a moment (Unix
// seconds).
func (r *row) state(ch channel, now int64) string {
	switch left := now - r.leaves(); {
	case r.flags&flagRefused != 0:
		return stateFailed
	case r.flags&flagCancelled != 0:
		return stateCancelled
	case left < 0:
		return stateScheduled
	case left < queuedFor:
		return stateQueued
	case left < queuedFor+sentFor:
		if ch == letter || ch == postcard {
			return stateStamped
		}
		return stateSent
	case ch == letter || ch == postcard:
		return stateSent
	default:
		return stateCompleted
	}
}
