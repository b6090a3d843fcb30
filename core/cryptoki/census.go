package cryptoki

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// census counts the sessions of a slot, in one word, so that sessions come and go without a lock. What more depends on
// needs the slot's mu: the first session to come, for C_InitToken wants none; the last to go, which takes the login with
// it; and any to come while the census is guarded.
type census struct{ word atomic.Uint64 }

// The word: how many sessions there are, how many of them are read/write, and whether it is guarded.
const (
	oneSession  = 1 << 0
	oneWriter   = 1 << 31
	guarding    = 1 << 62
	mostCounted = oneWriter - 1
)

func (x *session) weight() uint64 {
	if x.rw {
		return oneSession + oneWriter
	}
	return oneSession
}

// count says how many sessions there are, and how many of them are read/write.
func (c *census) count() (all, rw uint) { return counted(c.word.Load()) }

func counted(word uint64) (all, rw uint) {
	return uint(word & mostCounted), uint(word / oneWriter & mostCounted)
}

// enter counts a session in; done is false if that needs the slot's mu, which a caller that says locked holds.
func (c *census) enter(x *session, limits hsm.Limits, locked bool) (done bool, err error) {
	for {
		word := c.word.Load()
		all, rw := counted(word)
		if !locked && (all == 0 || word&guarding != 0) {
			return false, nil
		}
		if full(all, limits.Sessions) || x.rw && full(rw, limits.RwSessions) || all == mostCounted {
			return true, pkcs11.Errorf(pkcs11.CKR_SESSION_COUNT, "%d sessions are open, %d of them read/write", all, rw)
		}
		if c.word.CompareAndSwap(word, word+x.weight()) {
			return true, nil
		}
	}
}

// leave counts a session out; done and locked are those of enter.
func (c *census) leave(x *session, locked bool) (done bool) {
	for {
		word := c.word.Load()
		if all, _ := counted(word); !locked && all == 1 {
			return false
		}
		if c.word.CompareAndSwap(word, word-x.weight()) {
			return true
		}
	}
}

// guard says whether sessions need the slot's mu to come in. The caller holds it.
func (c *census) guard(on bool) {
	if on {
		c.word.Or(guarding)
	} else {
		c.word.And(^uint64(guarding))
	}
}

// full reports whether a limit of CK_TOKEN_INFO is reached; 0 and "not known" are none.
func full(n, limit uint) bool {
	return limit != pkcs11.CK_EFFECTIVELY_INFINITE && limit != pkcs11.CK_UNAVAILABLE_INFORMATION && n >= limit
}
