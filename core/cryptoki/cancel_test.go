package cryptoki

import (
	"maps"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestEveryMakerHasAFlag by which C_SessionCancel ends it.
func TestEveryMakerHasAFlag(t *testing.T) {
	want := slices.Sorted(maps.Keys(mayPend))
	want = append(want, "GenerateKeyPair")
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(makerFlags)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestCancelEndsTheMakingOfKeys: by its own flag and no other, and what was made is not there.
func TestCancelEndsTheMakingOfKeys(t *testing.T) {
	for function, flag := range makerFlags {
		t.Run(function, func(t *testing.T) {
			b := start(t)
			s := b.later()
			base := b.object(s, true, true, "base")
			g := b.shut()
			var err error
			switch function {
			case "GenerateKey":
				_, err = b.GenerateKey(s, generic, hidden)
			case "GenerateKeyPair":
				_, _, err = b.GenerateKeyPair(s, generic, nil, hidden)
			case "UnwrapKey":
				_, err = b.UnwrapKey(s, generic, base, []byte("x"), hidden)
			case "DeriveKey":
				_, err = b.DeriveKey(s, generic, base, hidden)
			}
			b.want(pkcs11.CKR_PENDING, err)
			b.ok(b.SessionCancel(s, ^flag))
			_, err = b.AsyncComplete(s, "C_"+function, true)
			b.want(pkcs11.CKR_PENDING, err)
			b.ok(b.SessionCancel(s, flag))
			_, err = b.AsyncComplete(s, "C_"+function, true)
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
			close(g.open)
			b.slotIsFree()
			if n := len(b.hsm.session); n != 0 {
				t.Errorf("%d session objects are left", n)
			}
		})
	}
}

// TestCancelEndsACallWithAnID: of the session that has let go of it or has joined it, and of no other.
func TestCancelEndsACallWithAnID(t *testing.T) {
	for name, c := range map[string]struct{ join, again bool }{
		"let go": {}, "joined": {join: true}, "joined and let go": {join: true, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			s := b.later()
			g, p, id := b.signing(s)
			owner, other := s, b.rw()
			if c.join {
				owner, other = other, owner
				b.ok(b.AsyncJoin(owner, "C_Sign", id, later(32)))
			}
			if c.again {
				_, err := b.AsyncGetID(owner, "C_Sign")
				b.ok(err)
			}
			b.ok(b.SessionCancel(other, pkcs11.CKF_SIGN))
			b.ok(b.SessionCancel(owner, ^pkcs11.CKF_SIGN))
			if len(b.kept.calls) != 1 {
				t.Fatal("cancelled by whom it is no concern of")
			}
			b.ok(b.SessionCancel(owner, pkcs11.CKF_SIGN))
			_, err := b.AsyncComplete(owner, "C_Sign", true)
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
			for _, x := range []SessionHandle{owner, other} {
				b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(x, "C_Sign", id, later(32)))
			}
			close(g.open)
			<-p.done
			b.slotIsFree()
			if n := len(b.hsm.running); n != 0 || len(b.kept.calls) != 0 {
				t.Errorf("%d operations were not closed, %d calls are kept", n, len(b.kept.calls))
			}
		})
	}
}
