package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestCredentialsAreTheirHoldersAlone(t *testing.T) {
	g := newGroup(t)
	a, b, _, _ := g.ready()
	cred, err := a.Login(hsm.WithCaller(bg, hsm.Caller{Holder: "web-1"}), pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
	require.Equal(t, pkcs11.CKU_USER, cred.User())
	sealed, err := a.SealCredential(cred)
	require.NoError(t, err)
	for range 2 { // the second time from the cache
		there, err := b.OpenCredential(sealed, "web-1")
		require.NoError(t, err)
		require.Equal(t, pkcs11.CKU_USER, there.User())
		for _, holder := range []string{"", "web-2", "web-1 "} {
			_, err = b.OpenCredential(sealed, holder)
			wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			require.NotErrorIs(t, err, hsm.ErrExpired)
		}
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		_, err = b.OpenCredential(forged, "web-1")
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	}
	other, _, _, _ := newGroup(t).ready()
	_, err = other.OpenCredential(sealed, "web-1")
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, err = newGroup(t).node().OpenCredential(sealed, "web-1")
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, err = a.SealCredential(nil)
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
}

func TestCredentialsExpireUnlessRenewed(t *testing.T) {
	g := newGroup(t)
	a, b, _, user := g.ready()
	sealed, err := a.SealCredential(user)
	require.NoError(t, err)
	g.now.Add(3599)
	there, err := b.OpenCredential(sealed, "")
	require.NoError(t, err)
	renewed, err := b.SealCredential(there)
	require.NoError(t, err)
	g.now.Add(1)
	for _, e := range []*Engine{a, b} {
		_, err = e.OpenCredential(sealed, "")
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		require.ErrorIs(t, err, hsm.ErrExpired)
		_, err = e.OpenCredential(renewed, "")
		require.NoError(t, err)
	}
	require.NoError(t, a.Logout(bg, user))
	_, err = a.OpenCredential(renewed, "")
	require.NoError(t, err, "a node forgets nothing of what it does not keep")
}

var gcmParams = pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}}

func encryptWith(t testing.TB, e *Engine, cred hsm.Credential, key hsm.Object) []byte {
	t.Helper()
	op, err := e.Begin(bg, cred, hsm.OpEncrypt, gcmParams, key)
	require.NoError(t, err)
	defer op.Close()
	out, err := op.Finish(bg, nil, []byte("data"))
	require.NoError(t, err)
	return out
}

func TestSessionObjectsMoveBetweenNodes(t *testing.T) {
	a, b, _, user := newGroup(t).ready()
	there := carry(t, a, b, user)
	key := newKey(t, a, bg, user, pkcs11.AttrString(pkcs11.CKA_LABEL, "local"), pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true))
	blob, head, err := a.SealObject(key)
	require.NoError(t, err)
	require.Equal(t, []byte("local"), head.Bytes(pkcs11.CKA_LABEL))
	require.False(t, head.Has(pkcs11.CKA_VALUE))
	want := encryptWith(t, a, user, key)
	a.Discard(key)
	for _, at := range []struct {
		e    *Engine
		cred hsm.Credential
	}{{a, user}, {b, there}, {b, there}} {
		o, err := at.e.OpenObject(blob)
		require.NoError(t, err)
		require.Equal(t, key.ID(), o.ID())
		require.False(t, o.Token())
		require.True(t, o.Private())
		label, ok := o.Attribute(pkcs11.CKA_LABEL)
		require.True(t, ok)
		require.Equal(t, []byte("local"), label)
		require.Equal(t, want, encryptWith(t, at.e, at.cred, o))
		_, err = at.e.Size(bg, nil, o)
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		again, _, err := at.e.SealObject(o)
		require.NoError(t, err)
		require.Equal(t, blob, again)
		at.e.Discard(o) // others may have it
	}
	for i := range blob {
		forged := bytes.Clone(blob)
		forged[i] ^= 1
		_, err := b.OpenObject(forged)
		wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	}
	other, _, _, _ := newGroup(t).ready()
	_, err = other.OpenObject(blob)
	wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	_, _, err = a.SealObject(newKey(t, a, bg, user, onToken))
	wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

// TestChangingASessionObjectChangesOnesOwn: neither the others' nor the earlier sealed form.
func TestChangingASessionObjectChangesOnesOwn(t *testing.T) {
	a, b, _, user := newGroup(t).ready()
	there := carry(t, a, b, user)
	blob, _, err := a.SealObject(newKey(t, a, bg, user, pkcs11.AttrString(pkcs11.CKA_LABEL, "old")))
	require.NoError(t, err)
	open := func(blob []byte) hsm.Object {
		o, err := b.OpenObject(blob)
		require.NoError(t, err)
		return o
	}
	label := func(o hsm.Object) string {
		v, err := b.Attributes(bg, there, o, labelOf)
		require.NoError(t, err)
		require.NoError(t, v[0].Err)
		return string(v[0].Value.([]byte))
	}
	bystander, mine := open(blob), open(blob)
	require.NoError(t, b.SetAttributes(bg, there, mine, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "new")}))
	changed, head, err := b.SealObject(mine)
	require.NoError(t, err)
	require.Equal(t, []byte("new"), head.Bytes(pkcs11.CKA_LABEL))
	require.Equal(t, "new", label(mine))
	b.Discard(mine)
	require.Equal(t, "new", label(open(changed)))
	require.Equal(t, "old", label(bystander))
	require.Equal(t, "old", label(open(blob)))
	require.Equal(t, encryptWith(t, b, there, open(blob)), encryptWith(t, b, there, open(changed)), "the key is the same")
	// Destroyed by one request under another's hands.
	mine = open(blob)
	require.NoError(t, b.Destroy(bg, there, mine))
	_, err = b.Size(bg, there, mine)
	wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	require.Equal(t, "old", label(bystander))
	encryptWith(t, b, there, bystander)
}

// TestOpenedSessionObjectsAreBounded: one that the cache has given up is wiped, and opened again by who still has it.
func TestOpenedSessionObjectsAreBounded(t *testing.T) {
	a, _, _, user := newGroup(t).ready()
	a.node.sessions.most = 2
	var blobs [][]byte
	for range 5 {
		key := newKey(t, a, bg, user)
		blob, _, err := a.SealObject(key)
		require.NoError(t, err)
		a.Discard(key)
		blobs = append(blobs, blob)
	}
	first, err := a.OpenObject(blobs[0])
	require.NoError(t, err)
	version := first.(*entry).current.Load()
	op, err := a.Begin(bg, user, hsm.OpEncrypt, gcmParams, first)
	require.NoError(t, err)
	value := version.Bytes(pkcs11.CKA_VALUE)
	for _, blob := range blobs[1:] {
		_, err := a.OpenObject(blob)
		require.NoError(t, err)
	}
	require.Len(t, a.node.sessions.items, 2)
	require.NotEqual(t, make([]byte, 32), value, "the operation goes on")
	out, err := op.Finish(bg, nil, []byte("data"))
	require.NoError(t, err)
	op.Close()
	require.Equal(t, make([]byte, 32), value, "nobody has it any more")
	require.Equal(t, out, encryptWith(t, a, user, first))
}

func TestSessionObjectsInManyHands(t *testing.T) {
	a, _, _, user := newGroup(t).ready()
	a.node.sessions.most = 2
	var blobs, want [][]byte
	for range 4 {
		key := newKey(t, a, bg, user)
		blob, _, err := a.SealObject(key)
		require.NoError(t, err)
		blobs, want = append(blobs, blob), append(want, encryptWith(t, a, user, key))
		a.Discard(key)
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 50 {
				n := (worker + i) % len(blobs)
				o, err := a.OpenObject(blobs[n])
				if err != nil {
					t.Error(err)
					return
				}
				op, err := a.Begin(bg, user, hsm.OpEncrypt, gcmParams, o)
				if err != nil {
					t.Error(err)
					return
				}
				out, err := op.Finish(bg, nil, []byte("data"))
				op.Close()
				if err != nil || !bytes.Equal(out, want[n]) {
					t.Errorf("%x, %v", out, err)
				}
				if i%10 == 0 {
					if err := a.Destroy(bg, user, o); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestNodesAgree(t *testing.T) {
	a, b, _, user := newGroup(t).ready()
	require.Equal(t, a.Revision(), b.Revision())
	var ids []string
	for range 3 {
		ids = append(ids, newKey(t, a, bg, user, onToken).ID())
	}
	require.NoError(t, b.Await(bg, a.Revision()))
	wantRV(t, pkcs11.CKR_DEVICE_ERROR, b.Await(bg, a.Revision()+1))
	require.Equal(t, []bool{true, true, true, false}, b.Holds(append(ids, "none")))
	same := func() []byte {
		t.Helper()
		sumA, n, revision, err := a.Digest(bg, user)
		require.NoError(t, err)
		require.Equal(t, len(ids), n)
		sumB, n, at, err := b.Digest(bg, carry(t, a, b, user))
		require.NoError(t, err)
		require.Equal(t, len(ids), n)
		require.Equal(t, revision, at)
		require.Equal(t, sumA, sumB)
		again, _, _, err := a.Digest(bg, user)
		require.NoError(t, err)
		require.Equal(t, sumA, again)
		return sumA
	}
	before := same()
	require.NoError(t, b.SetAttributes(bg, carry(t, a, b, user), b.TokenObject(ids[0], true), pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "x")}))
	after := same()
	require.NotEqual(t, before, after)
	require.NoError(t, a.Destroy(bg, user, a.TokenObject(ids[0], true)))
	ids = ids[1:]
	require.NotEqual(t, after, same())
}

// TestADigestCountsWhatItsCallerSees: how many private objects there are is told to those who may find them.
func TestADigestCountsWhatItsCallerSees(t *testing.T) {
	a, _, officer, user := newGroup(t).ready()
	counts := func(want int, cred hsm.Credential) []byte {
		t.Helper()
		sum, n, _, err := a.Digest(bg, cred)
		require.NoError(t, err)
		require.Equal(t, want, n)
		return sum
	}
	empty := counts(0, nil)
	nothing := sha256.Sum256(nil)
	require.NotContains(t, string(nothing[:]), string(empty), "anybody knows the digest of nothing")
	for range 3 {
		newKey(t, a, bg, user, onToken)
	}
	_, err := a.Create(bg, user, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, true),
		pkcs11.Attr(pkcs11.CKA_PRIVATE, false), pkcs11.Attr(pkcs11.CKA_VALUE, []byte("seen by all"))})
	require.NoError(t, err)
	all := counts(4, user)
	require.Equal(t, all, counts(1, nil))
	require.Equal(t, all, counts(1, officer))
}

// watched is a context that tells when it is asked whether it has ended.
type watched struct {
	context.Context
	asked func() error
}

func (w watched) Err() error { return w.asked() }

// TestADigestHoldsNobodyUp: the engine's lock is free while it is computed, and it ends when nobody waits any more.
func TestADigestHoldsNobodyUp(t *testing.T) {
	a, _, _, user := newGroup(t).ready()
	newKey(t, a, bg, user, onToken)
	asked := 0
	_, _, _, err := a.Digest(watched{bg, func() error {
		asked++
		if !a.mu.TryLock() {
			return errors.New("the engine's lock is held")
		}
		a.mu.Unlock()
		return nil
	}}, nil)
	require.NoError(t, err)
	require.Positive(t, asked)
	newKey(t, a, bg, user, onToken)
	_, _, _, err = a.Digest(watched{bg, func() error { return context.Canceled }}, nil)
	wantRV(t, pkcs11.CKR_FUNCTION_CANCELED, err)
	_, n, _, err := a.Digest(watched{bg, func() error { return nil }}, user)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, _, _, err = a.Digest(watched{bg, func() error { return errors.New("computed again") }}, nil)
	require.NoError(t, err)
}
