package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// hop takes what a session does into another one, and ends it there. false where the operation cannot be saved, which
// only those may that work on their whole data.
func (b *battery) hop(t *testing.T, from, to session, encryption, authentication handle) bool {
	t.Helper()
	o := &out{Capacity: 1 << 20}
	err := b.GetOperationState(from, o)
	if pkcs11.RVOf(err) == pkcs11.CKR_STATE_UNSAVEABLE && (b.r.sealed || b.r.whole || b.row.Type == pkcs11.CKM_EDDSA) {
		return false
	}
	require.NoError(t, err)
	rv(t, pkcs11.CKR_KEY_NEEDED, b.SetOperationState(to, o.Bytes, 0, 0))
	require.NoError(t, b.SetOperationState(to, o.Bytes, encryption, authentication))
	return true
}

// states moves each operation of the mechanism into another session in the middle, and wants what it would have given.
func (b *battery) states(t *testing.T) {
	if b.row.OnePart {
		return
	}
	there := b.open(t, pkcs11.CKF_RW_SESSION)
	n := b.r.lens[len(b.r.lens)-1]
	in := message(n)
	if b.row.Encrypt != nil && b.row.Decrypt != nil {
		b.cipherStates(t, there, in)
	}
	if b.row.Sign != nil && b.row.Verify != nil {
		b.signStates(t, there, in)
	}
	require.NoError(t, b.CloseSession(there))
}

func (b *battery) cipherStates(t *testing.T, there session, in []byte) {
	sealed := b.encrypt(t, in)
	for _, d := range []struct {
		key         handle
		begin       func(session, *mech, handle) error
		update      func(session, []byte, *out) error
		final       func(session, *out) error
		input, want []byte
	}{
		{b.key.pub, b.EncryptInit, b.EncryptUpdate, b.EncryptFinal, in, sealed},
		{b.key.priv, b.DecryptInit, b.DecryptUpdate, b.DecryptFinal, sealed, in},
	} {
		for _, cut := range []int{1, len(d.input) / 2} {
			require.NoError(t, d.begin(b.h, b.mech(), d.key))
			o := big16()
			require.NoError(t, d.update(b.h, d.input[:cut], o))
			got := o.Bytes
			if !b.hop(t, b.h, there, d.key, 0) {
				require.NoError(t, d.update(b.h, d.input[cut:], big16()), "what cannot be saved goes on")
				require.NoError(t, d.final(b.h, big16()))
				continue
			}
			// Both go on, by themselves.
			for _, h := range []session{there, b.h} {
				o := big16()
				require.NoError(t, d.update(h, d.input[cut:], o))
				whole := append(got[:len(got):len(got)], o.Bytes...)
				o = big16()
				require.NoError(t, d.final(h, o))
				require.Equal(t, d.want, append(whole, o.Bytes...), "cut at %d", cut)
			}
		}
	}
}

func (b *battery) signStates(t *testing.T, there session, in []byte) {
	cut := len(in) / 2
	require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
	require.NoError(t, b.SignUpdate(b.h, in[:cut]))
	if !b.hop(t, b.h, there, 0, b.key.priv) {
		require.NoError(t, b.SignFinal(b.h, big16()), "what cannot be saved goes on")
		return
	}
	require.NoError(t, b.SignFinal(b.h, big16()))
	require.NoError(t, b.SignUpdate(there, in[cut:]))
	o := big16()
	require.NoError(t, b.SignFinal(there, o))
	b.wantVerified(t, in, o.Bytes)

	require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub))
	require.NoError(t, b.VerifyUpdate(b.h, in[:cut]))
	require.True(t, b.hop(t, b.h, there, 0, b.key.pub))
	oneOf(t, b.VerifyFinal(b.h, o.Bytes), pkcs11.CKR_SIGNATURE_INVALID, pkcs11.CKR_OK) // half of it, and a MAC may have one byte
	require.NoError(t, b.VerifyUpdate(there, in[cut:]))
	require.NoError(t, b.VerifyFinal(there, o.Bytes))
}

// digestStates does the same with a digest, into which a key goes on the way.
func (b *battery) digestStates(t *testing.T, in, want []byte) {
	there := b.open(t, pkcs11.CKF_RW_SESSION)
	o := &out{Capacity: 1 << 20}
	require.NoError(t, b.DigestInit(b.h, b.mech()))
	require.NoError(t, b.DigestUpdate(b.h, in[:len(in)/2]))
	require.NoError(t, b.GetOperationState(b.h, o))
	for _, h := range []session{there, b.h} {
		require.NoError(t, b.SetOperationState(h, o.Bytes, 0, 0))
		require.NoError(t, b.DigestUpdate(h, in[len(in)/2:]))
		d := big16()
		require.NoError(t, b.DigestFinal(h, d))
		require.Equal(t, want, d.Bytes)
	}
	require.NoError(t, b.CloseSession(there))
}

// TestStateOfADigestWithAKey: what a key has left in a digest goes along, and cannot be read.
func TestStateOfADigestWithAKey(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		value := message(20)
		key := e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, value))
		sha := &mech{Type: pkcs11.CKM_SHA256}
		require.NoError(t, e.DigestInit(h, sha))
		require.NoError(t, e.DigestUpdate(h, []byte("before")))
		require.NoError(t, e.DigestKey(h, key))
		o := &out{Capacity: 1 << 20}
		require.NoError(t, e.GetOperationState(h, o))
		require.NotContains(t, string(o.Bytes), string(value))
		require.NotContains(t, string(o.Bytes), "before")
		got, again := big16(), big16()
		require.NoError(t, e.DigestFinal(h, got))
		require.NoError(t, e.SetOperationState(h, o.Bytes, 0, 0))
		require.NoError(t, e.DigestFinal(h, again))
		require.Equal(t, got.Bytes, again.Bytes)
	})
}

// TestStatesAreForOneKeyAndOneState: what C_SetOperationState refuses leaves the session as it was.
func TestStatesAreForOneKeyAndOneState(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.GetOperationState(h, big16()))
		key, other := e.aes(t, h), e.aes(t, h)
		ctr := &mech{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 128}}
		require.NoError(t, e.EncryptInit(h, ctr, key))
		require.NoError(t, e.EncryptUpdate(h, []byte("abc"), big16()))
		o := big16()
		require.NoError(t, e.GetOperationState(h, o))
		forged := append([]byte{}, o.Bytes...)
		forged[len(forged)/2] ^= 1
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.SetOperationState(h, forged, key, 0))
		rv(t, pkcs11.CKR_KEY_CHANGED, e.SetOperationState(h, o.Bytes, other, 0))
		rv(t, pkcs11.CKR_KEY_NOT_NEEDED, e.SetOperationState(h, o.Bytes, key, key))
		ro := e.open(t, 0)
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.SetOperationState(ro, o.Bytes, key, 0), "a session in another state")
		require.NoError(t, e.EncryptFinal(h, big16()), "it is still there")
		require.NoError(t, e.DestroyObject(h, key))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.SetOperationState(h, o.Bytes, key, 0))
	})
}

// TestStateOfAKeyThatAsksEachTime: one PIN is for one operation.
func TestStateOfAKeyThatAsksEachTime(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		_, priv := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, with(octets(pkcs11.CKA_EC_PARAMS, p256), everyPublic),
			with(everyPrivate, yes(pkcs11.CKA_ALWAYS_AUTHENTICATE), yes(pkcs11.CKA_PRIVATE)))
		require.NoError(t, e.SignInit(h, &mech{Type: pkcs11.CKM_ECDSA_SHA256}, priv))
		rv(t, pkcs11.CKR_STATE_UNSAVEABLE, e.GetOperationState(h, big16()))
		require.NoError(t, e.Login(h, pkcs11.CKU_CONTEXT_SPECIFIC, userPIN))
		rv(t, pkcs11.CKR_STATE_UNSAVEABLE, e.GetOperationState(h, big16()))
		require.NoError(t, e.Sign(h, []byte("x"), big16()))
	})
}
