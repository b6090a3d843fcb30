package engine

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// grants is what a version of a key has been found to be good for, and an engine without a key: by kind of operation, the
// mechanism that was asked for last. The version's attributes, the engine's mechanisms and its policy never change, so that
// what was granted once need not be looked at again. Who asks, whether the key is still there, and the day are not in it.
type grants struct {
	kinds atomic.Pointer[[hsm.NumOpKinds]atomic.Pointer[mech.Mechanism]] // nil before the first
}

func (g *grants) of(kind hsm.OpKind) *mech.Mechanism {
	if kinds := g.kinds.Load(); kinds != nil {
		return kinds[kind].Load()
	}
	return nil
}

func (g *grants) note(kind hsm.OpKind, row *mech.Mechanism) {
	kinds := g.kinds.Load()
	for kinds == nil {
		g.kinds.CompareAndSwap(nil, new([hsm.NumOpKinds]atomic.Pointer[mech.Mechanism]))
		kinds = g.kinds.Load()
	}
	if kinds[kind].Load() != row { // else the line would wander between processors
		kinds[kind].Store(row)
	}
}

// rowFor is row for an operation. One that the key, as it is now, was used with before in an operation of that kind can do
// it, and has passed its self-tests.
func (e *Engine) rowFor(kind hsm.OpKind, t pkcs11.MechanismType, key hsm.Object) (*mech.Mechanism, error) {
	known := &e.grants
	if n, ok := key.(*entry); ok {
		if v := n.current.Load(); v != nil {
			known = &v.grants
		}
	}
	if row := known.of(kind); row != nil && row.Type == t {
		return row, nil
	}
	return e.row(t, kind.String(), able[kind])
}

// granted is key for an operation, with a row that rowFor has found; letGo takes the version back.
func (e *Engine) granted(at spread.Seat, cred hsm.Credential, o hsm.Object, kind hsm.OpKind, row *mech.Mechanism) (*version, spread.Hold, error) {
	_, v, hold, err := e.useAt(at, cred, o, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, hold, err
	}
	if v.grants.of(kind) == row {
		err = e.inItsDays(v)
	} else if err = e.checkKey(v, keyUse{row: row, allow: usage[kind], invalid: pkcs11.CKR_KEY_HANDLE_INVALID}); err == nil {
		v.grants.note(kind, row)
	}
	if err != nil {
		v.letGo(hold)
		return nil, hold, err
	}
	return v, hold, nil
}
