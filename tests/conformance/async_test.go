package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// asynchronous are the functions for calls that are pending, and others of which no operation is made.
type asynchronous interface {
	AsyncComplete(h session, function string, wanted bool) (cryptoki.AsyncData, error)
	AsyncGetID(h session, function string) (uint, error)
	AsyncJoin(h session, function string, id uint, buffer *out) error
	GetSessionValidationFlags(h session, kind uint) (pkcs11.Flags, error)
	WaitForSlotEvent(flags pkcs11.Flags, reserved bool) (cryptoki.SlotID, error)
}

func (x *recorded) GetSessionValidationFlags(h session, kind uint) (pkcs11.Flags, error) {
	flags, err := x.Module.GetSessionValidationFlags(h, kind)
	return flags, x.r.saw("GetSessionValidationFlags", err)
}

func (x *recorded) WaitForSlotEvent(flags pkcs11.Flags, reserved bool) (cryptoki.SlotID, error) {
	id, err := x.Module.WaitForSlotEvent(flags, reserved)
	return id, x.r.saw("WaitForSlotEvent", err)
}

func (x *recorded) AsyncComplete(h session, function string, wanted bool) (cryptoki.AsyncData, error) {
	d, err := x.Module.AsyncComplete(h, function, wanted)
	return d, x.r.saw("AsyncComplete", err)
}

func (x *recorded) AsyncGetID(h session, function string) (uint, error) {
	id, err := x.Module.AsyncGetID(h, function)
	return id, x.r.saw("AsyncGetID", err)
}

func (x *recorded) AsyncJoin(h session, function string, id uint, buffer *out) error {
	return x.r.saw("AsyncJoin", x.Module.AsyncJoin(h, function, id, buffer))
}

// completed asks until a pending call is over.
func (e *env) completed(t *testing.T, h session, function string) (d cryptoki.AsyncData, err error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		d, err = e.AsyncComplete(h, function, true)
		if pkcs11.RVOf(err) != pkcs11.CKR_PENDING {
			return d, err
		}
		time.Sleep(time.Millisecond)
	}
	require.Fail(t, function+" is pending for ever")
	return d, err
}

// pending begins to make an RSA-3072 key pair that is not there at once. How long the primes are looked for is chance, and
// how soon the caller is woken the machine's: one that was there at once is no fault, and goes.
func (e *env) pending(t *testing.T, h session, public, private T) {
	t.Helper()
	bits := num(pkcs11.CKA_MODULUS_BITS, uint(3072))
	for range 50 {
		pub, priv, err := e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN}, with(public, bits), private)
		if err != nil {
			rv(t, pkcs11.CKR_PENDING, err)
			return
		}
		require.NoError(t, e.DestroyObject(h, pub))
		require.NoError(t, e.DestroyObject(h, priv))
	}
	require.Fail(t, "RSA keys are always there at once")
}

// TestAsynchronousSession: what takes long is pending, and comes to what it would have come to.
func TestAsynchronousSession(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		info, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.NotZero(t, info.Flags&pkcs11.CKF_ASYNC_SESSION_SUPPORTED)
		e.user(t)
		h := e.open(t, pkcs11.CKF_RW_SESSION|pkcs11.CKF_ASYNC_SESSION)
		state, err := e.GetSessionInfo(h)
		require.NoError(t, err)
		require.NotZero(t, state.Flags&pkcs11.CKF_ASYNC_SESSION)

		e.pending(t, h, nil, yes(pkcs11.CKA_SIGN, pkcs11.CKA_DECRYPT))
		_, err = e.AsyncGetID(h, "C_GenerateKey")
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.AsyncJoin(h, "C_GenerateKeyPair", 1, &out{Query: true}))
		require.NoError(t, e.GenerateRandom(h, make([]byte, 8)), "the session is free")
		made, err := e.completed(t, h, "C_GenerateKeyPair")
		require.NoError(t, err)
		e.has(t, h, made.Object, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), num(pkcs11.CKA_MODULUS_BITS, uint(3072))))
		e.has(t, h, made.Additional, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), yes(pkcs11.CKA_LOCAL)))

		// Whether a signature is pending depends on the machine; that it is good does not.
		sha := &mech{Type: pkcs11.CKM_SHA256_RSA_PKCS}
		require.NoError(t, e.SignInit(h, sha, made.Additional))
		require.NoError(t, e.SignUpdate(h, []byte("in two ")))
		require.NoError(t, e.SignUpdate(h, []byte("parts")))
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, e.SignFinal(h, &out{Capacity: 383}), "never pending")
		o := &out{Capacity: 384, Buffer: 99}
		signature := o
		if err := e.SignFinal(h, o); pkcs11.RVOf(err) == pkcs11.CKR_PENDING {
			d, err := e.completed(t, h, "C_SignFinal")
			require.NoError(t, err)
			require.Equal(t, uint(99), d.Buffer)
			signature.Bytes = d.Value
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, e.VerifyInit(h, sha, made.Object))
		if err := e.Verify(h, []byte("in two parts"), signature.Bytes); pkcs11.RVOf(err) == pkcs11.CKR_PENDING {
			_, err := e.completed(t, h, "C_Verify")
			require.NoError(t, err)
		} else {
			require.NoError(t, err)
		}

		_, _, err = e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN}, num(pkcs11.CKA_MODULUS_BITS, uint(3)), nil)
		if pkcs11.RVOf(err) == pkcs11.CKR_PENDING {
			_, err = e.completed(t, h, "C_GenerateKeyPair")
		}
		oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
	})
}

// signLater begins an SLH-DSA signature that is not there at once, and gives it an id.
func (e *env) signLater(t *testing.T, h session, key handle) (id uint) {
	t.Helper()
	slh := &mech{Type: pkcs11.CKM_SLH_DSA}
	for range 50 {
		require.NoError(t, e.SignInit(h, slh, key))
		if err := e.Sign(h, []byte("later"), &out{Capacity: 17088}); err != nil {
			rv(t, pkcs11.CKR_PENDING, err)
			id, err = e.AsyncGetID(h, "C_Sign")
			require.NoError(t, err)
			return id
		}
	}
	require.Fail(t, "SLH-DSA signatures are always there at once")
	return 0
}

// TestACallIsTakenUpByAnotherSession: one that was given an id outlives its session and C_Finalize, and is found by the same
// user alone.
func TestACallIsTakenUpByAnotherSession(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		label := text(pkcs11.CKA_LABEL, "taken up")
		public, key := e.pair(t, h, pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN, with(num(pkcs11.CKA_PARAMETER_SET, pkcs11.CKP_SLH_DSA_SHA2_128F), yes(pkcs11.CKA_TOKEN), label),
			with(yes(pkcs11.CKA_TOKEN), label))
		_ = public
		first := e.open(t, pkcs11.CKF_RW_SESSION|pkcs11.CKF_ASYNC_SESSION)
		id := e.signLater(t, first, key)
		e.pending(t, first, with(label, yes(pkcs11.CKA_TOKEN)), with(label, yes(pkcs11.CKA_TOKEN)))
		pair, err := e.AsyncGetID(first, "C_GenerateKeyPair")
		require.NoError(t, err)
		require.NotEqual(t, id, pair)
		_, err = e.AsyncComplete(first, "C_Sign", true)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
		require.NoError(t, e.Finalize(false))
		require.NoError(t, e.Initialize(nil))

		big := &out{Capacity: 17088, Buffer: 99}
		h = e.public(t)
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.AsyncJoin(h, "C_Sign", id, big))
		h = e.user(t)
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.AsyncJoin(h, "C_Sign", id^1, big))
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.AsyncJoin(h, "C_SignFinal", id, big))
		rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.AsyncJoin(h, "C_Sign", id, &out{Query: true}))
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, e.AsyncJoin(h, "C_Sign", id, &out{Capacity: 17087}))
		require.NoError(t, e.AsyncJoin(h, "C_Sign", id, big))
		d, err := e.completed(t, h, "C_Sign")
		require.NoError(t, err)
		require.Equal(t, uint(99), d.Buffer)
		keys := e.find(t, h, with(label, num(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_SLH_DSA)))
		require.Len(t, keys, 1)
		require.NoError(t, e.VerifyInit(h, &mech{Type: pkcs11.CKM_SLH_DSA}, keys[0]))
		require.NoError(t, e.Verify(h, []byte("later"), d.Value))

		require.NoError(t, e.AsyncJoin(h, "C_GenerateKeyPair", pair, &out{Query: true}))
		d, err = e.completed(t, h, "C_GenerateKeyPair")
		require.NoError(t, err)
		e.has(t, h, d.Object, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), num(pkcs11.CKA_MODULUS_BITS, uint(3072)), label))
		e.has(t, h, d.Additional, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), yes(pkcs11.CKA_LOCAL), label))
		rv(t, pkcs11.CKR_SAVED_STATE_INVALID, e.AsyncJoin(h, "C_GenerateKeyPair", pair, &out{Query: true}))
		for _, o := range e.find(t, h, label) {
			require.NoError(t, e.DestroyObject(h, o))
		}
	})
}

// TestWaitForSlotEvent waits for what does not come, and is told of the end.
func TestWaitForSlotEvent(t *testing.T) {
	eachBare(t, func(t *testing.T, e *env) {
		require.NoError(t, e.Initialize(nil))
		_, err := e.WaitForSlotEvent(pkcs11.CKF_DONT_BLOCK, false)
		rv(t, pkcs11.CKR_NO_EVENT, err)
		begun, answer := make(chan bool), make(chan error)
		go func() {
			close(begun)
			_, err := e.WaitForSlotEvent(0, false)
			answer <- err
		}()
		<-begun
		_, err = e.GetSlotList(false)
		require.NoError(t, err)
		require.NoError(t, e.Finalize(false))
		rv(t, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, <-answer)
	})
}

// TestValidationFlags: nobody has validated anything.
func TestValidationFlags(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		flags, err := e.GetSessionValidationFlags(h, pkcs11.CKS_LAST_VALIDATION_OK)
		require.NoError(t, err)
		require.Zero(t, flags)
		_, err = e.GetSessionValidationFlags(h, 77)
		rv(t, pkcs11.CKR_ARGUMENTS_BAD, err)
		require.Empty(t, e.find(t, h, num(pkcs11.CKA_CLASS, pkcs11.CKO_VALIDATION)))
	})
}

// TestPendingEndsWithItsSession: what nobody has asked for is not left behind.
func TestPendingEndsWithItsSession(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		main := e.user(t)
		h := e.open(t, pkcs11.CKF_RW_SESSION|pkcs11.CKF_ASYNC_SESSION)
		label := text(pkcs11.CKA_LABEL, "nobody's")
		e.pending(t, h, with(yes(pkcs11.CKA_TOKEN), label), with(yes(pkcs11.CKA_TOKEN), label))
		require.NoError(t, e.CloseSession(h))
		_, err := e.AsyncComplete(h, "C_GenerateKeyPair", true)
		rv(t, pkcs11.CKR_SESSION_HANDLE_INVALID, err)
		// Another pair is made meanwhile: the first has come to its end when it has, or does so soon.
		e.pair(t, main, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, num(pkcs11.CKA_MODULUS_BITS, uint(2048)), nil)
		require.Eventually(t, func() bool { return len(e.find(t, main, label)) == 0 }, time.Minute, 10*time.Millisecond)
	})
}
