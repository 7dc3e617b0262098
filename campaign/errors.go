package campaign

import (
	"errors"
	"fmt"
)

// Code tells a machine what kind of error it has; the message tells a person
// what to do.
type Code string

// The kinds of error.
const (
	CodeInvalid  Code = "invalid"   // the input is wrong; the message says how to mend it
	CodeNotFound Code = "not_found" // no such campaign, list, address
	CodeConflict Code = "conflict"  // the thing is in a state that does not allow this
	CodeExists   Code = "exists"    // a thing of that name, or the same campaign, is there already
	CodeConfig   Code = "config"    // a setting is missing, such as the credentials
	CodeInternal Code = "internal"  // ours

	// CodeUnavailable is for a database or queue that does not answer: the same
	// may go well in a moment.
	CodeUnavailable Code = "unavailable"
)

// Error is an error with a code.
type Error struct {
	Code    Code
	Message string
	Err     error // what caused it, told after the message; may be nil

	cause error // what caused it and is part of the message already
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns what caused it.
func (e *Error) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.cause
}

// Errorf makes an Error; a %w verb in format becomes its cause.
func Errorf(code Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// ErrorCode returns the code of the first Error in err's chain, or
// CodeInternal when there is none.
func ErrorCode(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
