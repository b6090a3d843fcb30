package wire

import (
	"errors"
	"strings"
	"unicode"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// What a client may do about a failure. Both are causes of errors that carry a return value of their own.
var (
	// ErrElsewhere says that this node cannot now, and that nothing was done: another node may be asked at once.
	ErrElsewhere = errors.New("another node may do it")
	// ErrUnknown says that the outcome is unknown: only the same operation may be asked for again.
	ErrUnknown = errors.New("the outcome is unknown")
)

// retries are the classes of failure with the cause that stands for each. A failure of which the outcome is unknown is
// that before all else.
var retries = []struct {
	retry Retry
	cause error
}{
	{Retry_RETRY_UNKNOWN, ErrUnknown},
	{Retry_RETRY_ELSEWHERE, ErrElsewhere},
}

// FailureOf returns the message for an error: its return value, its text cut to MaxText bytes, and whether it may be
// retried (errors.Is with ErrUnknown and ErrElsewhere); nil for nil.
func FailureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	rv := pkcs11.RVOf(err)
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), rv.String()), ": ")
	m := &Failure{Rv: uint64(rv), Text: line(text)}
	for _, r := range retries {
		if errors.Is(err, r.cause) {
			m.Retry = r.retry
			break
		}
	}
	return m
}

// Err returns the failure as an error that carries its return value and has ErrElsewhere or ErrUnknown as its cause if
// it may be retried; nil for nil. A failure that claims success is CKR_DEVICE_ERROR.
func (m *Failure) Err() error {
	if m == nil {
		return nil
	}
	e := &pkcs11.Error{RV: toRV(m.Rv), Text: line(m.Text)}
	for _, r := range retries {
		if m.Retry == r.retry {
			e.Cause = r.cause
		}
	}
	if e.Cause == nil && e.Text == "" {
		return e.RV
	}
	if e.Text == "" {
		e.Text = e.Cause.Error()
	}
	return e
}

// toRV returns a return value that says failure.
func toRV(n uint64) pkcs11.RV {
	if v, ok := toUint(n); ok && v != uint(pkcs11.CKR_OK) {
		return pkcs11.RV(v)
	}
	return pkcs11.CKR_DEVICE_ERROR
}

// line makes text fit for one line of a log: no control characters, no bytes that are not UTF-8, at most MaxText bytes.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Text(text[:min(len(text), MaxText)]))
}

// Text returns s, with a question mark for each run of bytes that are not UTF-8: a message with a text that is not UTF-8
// cannot be sent, and ends the stream. What may not be changed silently (a label, a name to log in by) must be checked
// with utf8.ValidString before.
func Text(s string) string { return strings.ToValidUTF8(s, "?") }
