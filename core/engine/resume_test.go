package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// operations are ones that go from node to node after each part.
var operations = []struct {
	kind  hsm.OpKind
	m     pkcs11.Mechanism
	allow pkcs11.AttributeType
	gen   pkcs11.MechanismType
}{
	{hsm.OpEncrypt, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC_PAD, Params: pkcs11.IV(make([]byte, 16))}, pkcs11.CKA_ENCRYPT, pkcs11.CKM_AES_KEY_GEN},
	{hsm.OpEncrypt, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 32}}, pkcs11.CKA_ENCRYPT, pkcs11.CKM_AES_KEY_GEN},
	{hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}, pkcs11.CKA_SIGN, pkcs11.CKM_AES_KEY_GEN},
	{hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_HMAC}, pkcs11.CKA_SIGN, pkcs11.CKM_GENERIC_SECRET_KEY_GEN},
	{hsm.OpDigest, pkcs11.Mechanism{Type: pkcs11.CKM_SHA384}, 0, 0},
}

func TestOperationsGoOnOnAnotherNode(t *testing.T) {
	g := newGroup(t)
	a, b, so, user := g.ready()
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
	alice, err := a.Login(bg, pkcs11.CKU_USER, "alice", pin)
	require.NoError(t, err)
	for _, c := range operations {
		t.Run(fmt.Sprint(c.m.Type), func(t *testing.T) {
			var keyA, keyB, wrong hsm.Object
			if c.allow != 0 {
				template := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), onToken, pkcs11.Attr(c.allow, true)}
				keyA, err = a.GenerateKey(bg, user, pkcs11.Mechanism{Type: c.gen}, template)
				require.NoError(t, err)
				wrong, err = a.GenerateKey(bg, user, pkcs11.Mechanism{Type: c.gen}, template)
				require.NoError(t, err)
				keyB = b.TokenObject(keyA.ID(), true)
			}
			there := carry(t, a, b, user)
			op, err := a.Begin(bg, user, c.kind, c.m, keyA)
			require.NoError(t, err)
			d := a.Describe(op)
			require.True(t, d.Parts)
			require.True(t, d.Resumable)
			data := bytes.Repeat([]byte("0123456789"), 5)
			want, err := op.Update(bg, nil, data)
			require.NoError(t, err)
			want, err = op.Finish(bg, want, nil)
			require.NoError(t, err)
			op.Close()

			op, err = a.Begin(bg, user, c.kind, c.m, keyA)
			require.NoError(t, err)
			var got, state []byte
			for i := 0; i < len(data); i += 10 {
				got, err = op.Update(bg, got, data[i:i+10])
				require.NoError(t, err)
				state, err = []*Engine{a, b}[i/10%2].SealOperation(op)
				require.NoError(t, err)
				op.Close()
				if i/10%2 == 0 {
					op, err = b.OpenOperation(bg, there, c.kind, c.m, keyB, state)
				} else {
					op, err = a.OpenOperation(bg, user, c.kind, c.m, keyA, state)
				}
				require.NoError(t, err)
			}
			got, err = op.Finish(bg, got, nil)
			require.NoError(t, err)
			op.Close()
			require.Equal(t, want, got)

			refused := func(e *Engine, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, state []byte) {
				t.Helper()
				_, err := e.OpenOperation(bg, cred, kind, m, key, state)
				wantRV(t, pkcs11.CKR_SAVED_STATE_INVALID, err)
			}
			forged := bytes.Clone(state)
			forged[len(forged)-1] ^= 1
			refused(a, user, c.kind, c.m, keyA, forged)
			refused(a, user, c.kind, c.m, keyA, state[:10])
			refused(a, user, hsm.OpDigest, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}, nil, state)
			if c.allow != 0 {
				refused(a, alice, c.kind, c.m, keyA, state)
				refused(a, user, c.kind, c.m, wrong, state)
			}
			if _, hasIV := c.m.Params.(pkcs11.IV); hasIV {
				refused(a, user, c.kind, pkcs11.Mechanism{Type: c.m.Type, Params: pkcs11.IV(bytes.Repeat([]byte{1}, 16))}, keyA, state)
				refused(a, user, c.kind, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC, Params: c.m.Params}, keyA, state)
			}
		})
	}
}

func TestDescriptions(t *testing.T) {
	a, _, _, user := newGroup(t).ready()
	_, priv, err := a.GenerateKeyPair(bg, user, ecGen, pkcs11.Template{onP256}, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	require.NoError(t, err)
	key := newKey(t, a, bg, user, pkcs11.Attr(pkcs11.CKA_SIGN, true))
	for _, c := range []struct {
		kind hsm.OpKind
		m    pkcs11.Mechanism
		key  hsm.Object
		want hsm.Description
	}{
		{hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, priv, hsm.Description{Shape: hsm.Shape{Post: 64, Exact: true}, Hash: "SHA-256", Parts: true, Resumable: true}},
		{hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, priv, hsm.Description{Shape: hsm.Shape{Post: 64, Exact: true}}},
		{hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}, key, hsm.Description{Shape: hsm.Shape{Post: 16, Exact: true}, Parts: true, Resumable: true}},
		{hsm.OpDigest, pkcs11.Mechanism{Type: pkcs11.CKM_SHA512}, nil, hsm.Description{Shape: hsm.Shape{Post: 64, Exact: true}, Hash: "SHA-512", Parts: true, Resumable: true}},
	} {
		op, err := a.Begin(bg, user, c.kind, c.m, c.key)
		require.NoError(t, err)
		require.Equal(t, c.want, a.Describe(op), "%v", c.m.Type)
		op.Close()
	}
	op, err := a.Begin(bg, user, hsm.OpEncrypt, gcmParams, key)
	require.NoError(t, err)
	defer op.Close()
	d := a.Describe(op)
	require.True(t, d.Parts)
	require.False(t, d.Resumable)
	_, err = op.Update(bg, nil, []byte("data"))
	require.NoError(t, err)
	_, err = a.SealOperation(op)
	wantRV(t, pkcs11.CKR_STATE_UNSAVEABLE, err)
	require.Equal(t, hsm.Description{}, a.Describe(nil))
	_, err = a.SealOperation(nil)
	wantRV(t, pkcs11.CKR_STATE_UNSAVEABLE, err)
}

func TestDigestsOfTheNearSide(t *testing.T) {
	a, b, _, user := newGroup(t).ready()
	pub, priv, err := a.GenerateKeyPair(bg, user, ecGen, pkcs11.Template{onP256, onToken, pkcs11.Attr(pkcs11.CKA_VERIFY, true)},
		pkcs11.Template{onToken, pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	require.NoError(t, err)
	ecdsa := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}
	data := []byte("hashed on the near side")
	sum := sha256.Sum256(data)
	there := carry(t, a, b, user)
	begin := func(kind hsm.OpKind, m pkcs11.Mechanism, o hsm.Object) hsm.Operation {
		op, err := b.Begin(bg, there, kind, m, b.TokenObject(o.ID(), o.Private()))
		require.NoError(t, err)
		t.Cleanup(op.Close)
		return op
	}
	sig, err := b.FinishDigest(bg, begin(hsm.OpSign, ecdsa, priv), nil, sum[:])
	require.NoError(t, err)
	require.NoError(t, begin(hsm.OpVerify, ecdsa, pub).Verify(bg, data, sig))
	require.NoError(t, b.VerifyDigest(bg, begin(hsm.OpVerify, ecdsa, pub), sum[:], sig))
	sum[0] ^= 1
	wantRV(t, pkcs11.CKR_SIGNATURE_INVALID, b.VerifyDigest(bg, begin(hsm.OpVerify, ecdsa, pub), sum[:], sig))
	_, err = b.FinishDigest(bg, begin(hsm.OpSign, ecdsa, priv), nil, sum[:31])
	wantRV(t, pkcs11.CKR_DATA_LEN_RANGE, err)
	_, err = b.FinishDigest(bg, begin(hsm.OpVerify, ecdsa, pub), nil, sum[:])
	wantRV(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err)
	_, err = b.FinishDigest(bg, begin(hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, priv), nil, sum[:])
	wantRV(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err)

	h := sha256.New()
	h.Write(data[:5])
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	require.NoError(t, err)
	op, err := b.ResumeDigest(bg, nil, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}, state)
	require.NoError(t, err)
	got, err := op.Finish(bg, nil, data[5:])
	require.NoError(t, err)
	want := sha256.Sum256(data)
	require.Equal(t, want[:], got)
	for _, bad := range [][]byte{nil, state[:20], append(bytes.Clone(state), 0)} {
		_, err = b.ResumeDigest(bg, nil, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}, bad)
		wantRV(t, pkcs11.CKR_SAVED_STATE_INVALID, err)
	}
}

// TestAuthenticationTravels: the PIN that a key asks for each time is given at one node and used at another, soon.
func TestAuthenticationTravels(t *testing.T) {
	g := newGroup(t)
	a, b, so, _ := g.ready()
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", otherPIN))
	alice, err := a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
	require.NoError(t, err)
	there := carry(t, a, b, alice)
	_, priv, err := a.GenerateKeyPair(bg, alice, ecGen, pkcs11.Template{onP256},
		pkcs11.Template{onToken, pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true)})
	require.NoError(t, err)
	ecdsa := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}
	op, err := a.Begin(bg, alice, hsm.OpSign, ecdsa, priv)
	require.NoError(t, err)
	defer op.Close()
	require.True(t, a.Describe(op).MustAuthenticate)
	unused, err := a.SealOperation(op)
	require.NoError(t, err)
	wantRV(t, pkcs11.CKR_PIN_INCORRECT, op.Authenticate(bg, pin))
	require.NoError(t, op.Authenticate(bg, []byte("alice:another-pin")))
	state, err := a.SealOperation(op)
	require.NoError(t, err)

	open := func(state []byte) (hsm.Operation, error) {
		return b.OpenOperation(bg, there, hsm.OpSign, ecdsa, b.TokenObject(priv.ID(), true), state)
	}
	fresh, err := open(unused)
	require.NoError(t, err)
	defer fresh.Close()
	sum := sha256.Sum256(nil)
	_, err = b.FinishDigest(bg, fresh, nil, sum[:])
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	g.now.Add(authenticatedFor)
	ready, err := open(state)
	require.NoError(t, err)
	defer ready.Close()
	require.False(t, ready.MustAuthenticate())
	_, err = ready.Finish(bg, nil, []byte("data"))
	require.NoError(t, err)
	g.now.Add(1)
	_, err = open(state)
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
}
