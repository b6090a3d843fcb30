package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// Stack is one way to put a module together.
type Stack struct {
	Name string
	// Open returns an initialised module whose first slot holds a token with both PINs set, and nothing else that a test
	// could trip over. What it shares with earlier tests it says in its own comment.
	Open func(t *testing.T) Module
	// Bare returns a module that was never initialised, over a slot without a token.
	Bare func(t *testing.T) Module
}

var stacks = []*Stack{memory, sqliteFile, library, oneNode, oneTLS, threeNodes, threeOneDead, threeKilled}

var (
	soPIN   = []byte(harness.SOPIN)
	userPIN = []byte(harness.UserPIN)
)

const tokenLabel = "conformance"

// env is what a test works with: a module, and what the suite knows about it.
type env struct {
	Module
	stack *Stack
	rec   *recorder
	slot  uint
}

// each runs a test on every stack that can show what it asks for.
func each(t *testing.T, f func(t *testing.T, e *env)) {
	eachOf(t, func(s *Stack) func(*testing.T) Module { return s.Open }, f)
}

// eachBare is each on a module that is not initialised.
func eachBare(t *testing.T, f func(t *testing.T, e *env)) {
	eachOf(t, func(s *Stack) func(*testing.T) Module { return s.Bare }, f)
}

func eachOf(t *testing.T, open func(*Stack) func(*testing.T) Module, f func(t *testing.T, e *env)) {
	name := t.Name()
	for _, s := range stacks {
		t.Run(s.Name, func(t *testing.T) {
			if reason, skipped := skipped(s, name); skipped {
				t.Skip(reason)
			}
			m := open(s)(t)
			rec := recorderOf(s)
			f(t, &env{Module: rec.over(m), stack: s, rec: rec})
		})
	}
}

// can reports whether the stack shows a feature; a row of the skips says why not.
func (e *env) can(feature string) bool {
	_, skip := skipped(e.stack, feature)
	return !skip
}

// open opens a session that ends with the test.
func (e *env) open(t *testing.T, flags pkcs11.Flags) session {
	t.Helper()
	h, err := e.OpenSession(e.slot, flags|pkcs11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
	t.Cleanup(func() { e.CloseSession(h) })
	return h
}

// public opens a read/write session; who is logged in, if anybody, is the stack's business.
func (e *env) public(t *testing.T) session {
	t.Helper()
	return e.open(t, pkcs11.CKF_RW_SESSION)
}

// user opens a read/write session with the user logged in. Token objects that the test makes go with it, as far as they
// let themselves be destroyed.
func (e *env) user(t *testing.T) session {
	t.Helper()
	h := e.public(t)
	if err := e.Login(h, pkcs11.CKU_USER, userPIN); pkcs11.RVOf(err) != pkcs11.CKR_USER_ALREADY_LOGGED_IN {
		require.NoError(t, err)
	}
	before := map[handle]bool{}
	for _, o := range e.find(t, h, with(yes(pkcs11.CKA_TOKEN))) {
		before[o] = true
	}
	t.Cleanup(func() {
		if _, err := e.GetSessionInfo(h); err != nil {
			return
		}
		e.FindObjectsFinal(h)
		for _, o := range e.find(t, h, with(yes(pkcs11.CKA_TOKEN))) {
			if !before[o] {
				e.DestroyObject(h, o)
			}
		}
	})
	return h
}

// rv wants a return value.
func rv(t *testing.T, want pkcs11.RV, err error, what ...any) {
	t.Helper()
	if got := pkcs11.RVOf(err); got != want {
		require.FailNow(t, "another return value", "%v, want %v (%v) %v", got, want, err, what)
	}
}

// oneOf wants one of several return values.
func oneOf(t *testing.T, err error, want ...pkcs11.RV) {
	t.Helper()
	require.Contains(t, want, pkcs11.RVOf(err), "%v", err)
}
