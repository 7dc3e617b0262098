package ratelimit

import (
	"context"
	"fmt"
	"time"
)

// A WaitError says that the caller's deadline would pass before the budget lets
// it through. Nothing was reserved. errors.Is finds context.DeadlineExceeded in
// it.
type WaitError struct {
	Endpoint   string
	RetryAfter time.Duration // how long the wait would have been
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("the rate budget of %s is taken for the next %s: try again then",
		e.Endpoint, e.RetryAfter.Round(time.Millisecond))
}

func (e *WaitError) Unwrap() error { return context.DeadlineExceeded }

// An UnavailableError says that the budget that the workers share could not be
// asked, so that nothing may leave. Try again later.
type UnavailableError struct {
	Err error // Redis' error
}

func (e *UnavailableError) Error() string {
	return "the shared rate budget cannot be asked, nothing leaves until Redis answers again: " + e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }
