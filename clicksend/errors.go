package clicksend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Kind says what a failed call means to its caller. An operation *has an
// effect* when doing it twice is not the same as doing it once or never: sends,
// cancels, and all that creates, changes or deletes. Reads, prices and uploads
// have none, and may simply be called again.
type Kind string

// The kinds of failure.
const (
	// Invalid: the request was not made, because it is sure to be refused as
	// it stands (too many messages, none, no file, invalid UTF-8).
	Invalid Kind = "invalid"
	// NotSent: not one byte of the request was handed to the operating system
	// (no connection, the context ended first, the guard refused). It is safe
	// to make it again as it is.
	NotSent Kind = "not_sent"
	// RateLimited: 429, the request was not carried out. RetryAfter says how
	// long to wait, if the provider did.
	RateLimited Kind = "rate_limited"
	// BadRequest: 400, or another 4xx that has no kind of its own. The request
	// was refused as a whole; ResponseCode may say why.
	BadRequest Kind = "bad_request"
	// TooLarge: 413, the request was refused for its size.
	TooLarge Kind = "too_large"
	// Unauthorised: 401, the credentials are missing or wrong.
	Unauthorised Kind = "unauthorised"
	// Forbidden: 403, the account may not do this.
	Forbidden Kind = "forbidden"
	// NotFound: 404, no such thing, or a base URL that lacks its /v3.
	NotFound Kind = "not_found"
	// ServerError: 5xx. Only operations without an effect fail so.
	ServerError Kind = "server_error"
	// Unreadable: an answer that cannot be understood: cut off, too long, not
	// JSON, a redirect. Only operations without an effect fail so.
	Unreadable Kind = "unreadable"
	// Unanswered: the request was written, at least in part, and the
	// connection ended or the time ran out before the answer was complete.
	// Only operations without an effect fail so.
	Unanswered Kind = "unanswered"
	// UnknownOutcome: an operation with an effect may or may not have been
	// carried out: at least one byte was written and no clear answer came
	// (time-out, reset, 408, 5xx, a redirect, an answer that is cut off or
	// cannot be read). It must not simply be made again.
	UnknownOutcome Kind = "unknown_outcome"
)

// Error is what every failed call returns. Its text holds no credential, no
// phone number, no address and no message body, and at most a few hundred
// characters of what the provider said.
type Error struct {
	Kind Kind
	// Op is the operation, such as "PUT /sms/{message_id}/cancel": never the
	// ids or search terms of the request itself.
	Op string
	// HTTPStatus is the status of the answer, 0 when there was none.
	HTTPStatus int
	// ResponseCode is the provider's own code, such as "BAD_REQUEST" or one of
	// the Status codes, empty when it gave none.
	ResponseCode string
	// Message says what happened: the provider's words, redacted, or ours.
	Message string
	// RetryAfter is how long to wait before the endpoint is asked again, 0
	// when the provider did not say.
	RetryAfter time.Duration

	err error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "clicksend: %s: %s", e.Op, strings.ReplaceAll(string(e.Kind), "_", " "))
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, " (HTTP %d", e.HTTPStatus)
		if e.ResponseCode != "" {
			b.WriteString(" " + e.ResponseCode)
		}
		b.WriteString(")")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.err != nil {
		b.WriteString(": " + e.err.Error())
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (wait %s)", e.RetryAfter.Round(time.Millisecond))
	}
	return b.String()
}

// Unwrap returns the cause: the guard's error, the context's, or the network's.
func (e *Error) Unwrap() error { return e.err }

// Status is the response code as a status, for its Verdict: a request may be
// refused as a whole with the code of a message, such as INSUFFICIENT_CREDIT.
func (e *Error) Status() Status { return Status(e.ResponseCode) }

// KindOf returns the kind of the first Error in err's chain, and "" when there
// is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// kindOfStatus is the kind of an answer whose HTTP status is not 2xx.
func kindOfStatus(status int, effect bool) Kind {
	switch {
	case status == 401:
		return Unauthorised
	case status == 403:
		return Forbidden
	case status == 404:
		return NotFound
	case status == 413:
		return TooLarge
	case status == 429:
		return RateLimited
	case status == 408 && effect:
		// The server gave up waiting for the request; whether that means this
		// request, or only a part of it, cannot be told.
		return UnknownOutcome
	case status == 408:
		return Unanswered
	case status >= 400 && status < 500:
		return BadRequest
	case effect:
		return UnknownOutcome
	case status >= 500:
		return ServerError
	}
	return Unreadable
}

// maxMessage is how many characters of the provider's message an error keeps.
const maxMessage = 240

var (
	emailPattern  = regexp.MustCompile(`[^\s<>()"',;:]+@[^\s<>()"',;:]+`)
	numberPattern = regexp.MustCompile(`\+?\d(?:[\s().\-/]{0,2}\d){4,}`)
	codePattern   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
)

// redact makes provider's text fit for an error: the values given, e-mail
// addresses and runs of five digits or more are taken out, control characters
// too, and the rest is bounded.
func redact(text string, values []string) string {
	text = strings.ToValidUTF8(text, "?")
	// What the request itself said goes first, the longest first, so that a
	// part of a value does not survive as the rest of it.
	if len(text) > 16*maxMessage {
		text = text[:16*maxMessage]
	}
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, v := range values {
		if v = strings.TrimSpace(v); len(v) >= 3 {
			text = strings.ReplaceAll(text, v, "[redacted]")
		}
	}
	text = emailPattern.ReplaceAllString(text, "[e-mail]")
	text = numberPattern.ReplaceAllString(text, "[number]")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if r := []rune(text); len(r) > maxMessage {
		text = string(r[:maxMessage]) + "..."
	}
	return text
}

// safeCode is the provider's code if it looks like one.
func safeCode(code string) string {
	if codePattern.MatchString(code) {
		return code
	}
	return ""
}

// safeCause returns err if its text can hold nothing of a request or an
// answer, and else an error that says as much as is safe. net/http repeats
// malformed status lines and headers in its errors.
func safeCause(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	var (
		op     *net.OpError
		dns    *net.DNSError
		errno  syscall.Errno
		verify *tls.CertificateVerificationError
		host   x509.HostnameError
		ca     x509.UnknownAuthorityError
		cert   x509.CertificateInvalidError
		record tls.RecordHeaderError
		alert  tls.AlertError
	)
	switch {
	case errors.As(err, &verify):
		return verify
	case errors.As(err, &host):
		return host
	case errors.As(err, &ca):
		return ca
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &record):
		return errors.New("the server does not speak TLS: check the base URL's scheme and port")
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &op):
		return op
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	}
	return errors.New(redact(err.Error(), nil))
}
