package pkcs11

import (
	"errors"
	"fmt"
)

// Error makes a return value an error by itself: code that has nothing to add returns CKR_KEY_HANDLE_INVALID as it is.
func (rv RV) Error() string { return rv.String() }

// Error is a return value together with the facts that led to it: what was found and what was expected.
// The text is for logs and people and never holds a secret.
type Error struct {
	RV    RV
	Text  string
	Cause error
}

// Errorf returns an *Error. The last %w operand, if there is one, becomes its cause.
func Errorf(rv RV, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{RV: rv, Text: wrapped.Error(), Cause: errors.Unwrap(wrapped)}
}

func (e *Error) Error() string { return e.RV.String() + ": " + e.Text }

// Is reports whether target is the same return value, so that errors.Is(err, CKR_PIN_INCORRECT) works.
func (e *Error) Is(target error) bool {
	rv, ok := target.(RV)
	return ok && rv == e.RV
}

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.Cause }

// RVOf flattens an error to the return value that the application sees. An error that names none is a fault of ours:
// CKR_GENERAL_ERROR.
func RVOf(err error) RV {
	if err == nil {
		return CKR_OK
	}
	if rv, ok := err.(RV); ok {
		return rv
	}
	var e *Error
	if errors.As(err, &e) {
		return e.RV
	}
	var rv RV
	if errors.As(err, &rv) {
		return rv
	}
	return CKR_GENERAL_ERROR
}
