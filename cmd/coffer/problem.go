package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// problem is an error as a person reads it: one sentence, what to do, and the exit code.
type problem struct {
	text string
	hint string
	code exitCode
	rv   pkcs11.RV // CKR_OK when no return value is behind it
}

func (p *problem) Error() string { return p.text }

// usage, notFound, failed and noPIN make problems. The format's operands come after the hint.
func usage(format, hint string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), hint: hint, code: exitUsage}
}

func notFound(format, hint string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), hint: hint, code: exitNotFound}
}

func failed(format, hint string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), hint: hint, code: exitFailed}
}

func noPIN(format, hint string, args ...any) error {
	return &problem{text: fmt.Sprintf(format, args...), hint: hint, code: exitPIN}
}

// loginError says whose PIN an error is about.
type loginError struct {
	user pkcs11.UserType
	err  error
}

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// explain turns any error into a problem.
func explain(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var ce *config.Error
	if errors.As(err, &ce) {
		return &problem{text: ce.Place() + ce.Text, hint: ce.Hint, code: exitUsage}
	}
	if rv, facts, ok := returnValue(err); ok {
		return explainRV(err, rv, facts)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{text: err.Error(), code: exitNotFound}
	}
	return &problem{text: err.Error(), code: exitFailed}
}

// returnValue finds the return value in an error and the facts that came with it. An error without one is not a fault
// of the token's: it comes from files and flags.
func returnValue(err error) (rv pkcs11.RV, facts string, ok bool) {
	var e *pkcs11.Error
	if errors.As(err, &e) {
		return e.RV, e.Text, true
	}
	ok = errors.As(err, &rv)
	return rv, "", ok
}

func explainRV(err error, rv pkcs11.RV, facts string) *problem {
	row, known := answers[rv]
	var login *loginError
	if errors.As(err, &login) && login.user == pkcs11.CKU_SO {
		if so, ok := soAnswers[rv]; ok {
			row, known = so, true
		}
	}
	if !known {
		row = answer{"the token refused", "", exitFailed}
	}
	p := &problem{text: row.text, hint: row.hint, code: row.code, rv: rv}
	if facts != "" {
		p.text += ": " + facts
	}
	return p
}

// report prints an error and returns the exit code for it.
func (a *app) report(err error) exitCode {
	if err == nil {
		return exitOK
	}
	p := explain(err)
	if a.output == "json" {
		a.reportJSON(p)
		return p.code
	}
	text := strings.TrimRight(p.text, ".\n")
	if p.rv != pkcs11.CKR_OK {
		text += " [" + p.rv.String() + "]"
	}
	fmt.Fprintln(a.errOut, "coffer: "+text)
	if p.hint != "" {
		fmt.Fprintln(a.errOut, "hint: "+strings.ReplaceAll(p.hint, "\n", "\n  "))
	}
	return p.code
}

// reportJSON writes the error as one JSON object to standard error; standard output stays what a program parses.
func (a *app) reportJSON(p *problem) {
	type body struct {
		Message string   `json:"message"`
		Hint    string   `json:"hint,omitempty"`
		Code    string   `json:"code,omitempty"`
		Exit    exitCode `json:"exit"`
	}
	b := body{Message: p.text, Hint: p.hint, Exit: p.code}
	if p.rv != pkcs11.CKR_OK {
		b.Code = p.rv.String()
	}
	enc := json.NewEncoder(a.errOut)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	enc.Encode(map[string]body{"error": b}) // nothing is left to report to if this fails
}
