package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// nobody closes all sessions, so that nobody is logged in.
func (e *env) nobody(t *testing.T) {
	t.Helper()
	require.NoError(t, e.CloseAllSessions(e.slot))
}

func (e *env) state(t *testing.T, h session) pkcs11.State {
	t.Helper()
	info, err := e.GetSessionInfo(h)
	require.NoError(t, err)
	require.Equal(t, e.slot, info.Slot)
	require.NotZero(t, info.Flags&pkcs11.CKF_SERIAL_SESSION)
	return info.State
}

func TestSessionStates(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.nobody(t)
		ro, rw := e.open(t, 0), e.public(t)
		require.Equal(t, pkcs11.CKS_RO_PUBLIC_SESSION, e.state(t, ro))
		require.Equal(t, pkcs11.CKS_RW_PUBLIC_SESSION, e.state(t, rw))
		require.NoError(t, e.Login(ro, pkcs11.CKU_USER, userPIN))
		require.Equal(t, pkcs11.CKS_RO_USER_FUNCTIONS, e.state(t, ro))
		require.Equal(t, pkcs11.CKS_RW_USER_FUNCTIONS, e.state(t, rw), "a login is the application's, not the session's")
		require.Equal(t, pkcs11.CKS_RW_USER_FUNCTIONS, e.state(t, e.public(t)), "of later sessions too")
		require.NoError(t, e.Logout(rw))
		require.Equal(t, pkcs11.CKS_RO_PUBLIC_SESSION, e.state(t, ro))

		rv(t, pkcs11.CKR_SESSION_READ_ONLY_EXISTS, e.Login(rw, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.CloseSession(ro))
		require.NoError(t, e.Login(rw, pkcs11.CKU_SO, soPIN))
		require.Equal(t, pkcs11.CKS_RW_SO_FUNCTIONS, e.state(t, rw))
		_, err := e.OpenSession(e.slot, pkcs11.CKF_SERIAL_SESSION)
		rv(t, pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS, err)
	})
}

func TestParallelSessionsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		_, err := e.OpenSession(e.slot, pkcs11.CKF_RW_SESSION)
		rv(t, pkcs11.CKR_SESSION_PARALLEL_NOT_SUPPORTED, err)
	})
}

func TestTheLastSessionTakesTheLoginWithIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.nobody(t)
		a, b := e.public(t), e.public(t)
		require.NoError(t, e.Login(a, pkcs11.CKU_USER, userPIN))
		require.NoError(t, e.CloseSession(a))
		require.Equal(t, pkcs11.CKS_RW_USER_FUNCTIONS, e.state(t, b))
		require.NoError(t, e.CloseSession(b))
		require.Equal(t, pkcs11.CKS_RW_PUBLIC_SESSION, e.state(t, e.public(t)))
	})
}

// TestSessionObjectsDieWithTheirSession and with no other; token objects stay.
func TestSessionObjectsDieWithTheirSession(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		a, b := e.public(t), e.public(t)
		mine := e.create(t, a, data("of a"))
		other := e.create(t, b, data("of b"))
		stays := e.create(t, a, data("on the token", yes(pkcs11.CKA_TOKEN)))
		e.has(t, h, mine, text(pkcs11.CKA_LABEL, "of a")) // all sessions of the application see it
		require.NoError(t, e.CloseSession(a))
		_, err := e.GetAttributeValue(h, mine, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
		rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
		require.Empty(t, e.find(t, h, text(pkcs11.CKA_LABEL, "of a")))
		e.has(t, h, other, text(pkcs11.CKA_LABEL, "of b"))
		e.has(t, h, stays, text(pkcs11.CKA_LABEL, "on the token"))
		rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, e.DestroyObject(b, mine))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.SignInit(b, &mech{Type: pkcs11.CKM_SHA256_HMAC}, mine))
	})
}

func TestReadOnlySessionsLeaveTheTokenAlone(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		rw := e.user(t)
		ro := e.open(t, 0)
		o := e.create(t, rw, data("token object", yes(pkcs11.CKA_TOKEN)))
		_, err := e.CreateObject(ro, data("x", yes(pkcs11.CKA_TOKEN)))
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, err)
		_, err = e.GenerateKey(ro, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, with(num(pkcs11.CKA_VALUE_LEN, uint(16)), yes(pkcs11.CKA_TOKEN)))
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, err)
		_, err = e.CopyObject(ro, o, nil)
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, err)
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, e.SetAttributeValue(ro, o, text(pkcs11.CKA_LABEL, "y")))
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, e.DestroyObject(ro, o))
		_, err = e.CopyObject(ro, o, no(pkcs11.CKA_TOKEN))
		require.NoError(t, err, "a session object is fine")
		s := e.create(t, ro, data("session object"))
		require.NoError(t, e.SetAttributeValue(ro, s, text(pkcs11.CKA_LABEL, "y")))
		require.NoError(t, e.DestroyObject(ro, s))
	})
}

// TestSessionCancel ends what it is told to end.
func TestSessionCancel(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		ecb, cmac := &mech{Type: pkcs11.CKM_AES_ECB}, &mech{Type: pkcs11.CKM_AES_CMAC}
		require.NoError(t, e.EncryptInit(h, ecb, key))
		require.NoError(t, e.SignInit(h, cmac, key))
		require.NoError(t, e.FindObjectsInit(h, nil))
		require.NoError(t, e.SessionCancel(h, pkcs11.CKF_ENCRYPT|pkcs11.CKF_FIND_OBJECTS))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.FindObjectsFinal(h))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Encrypt(h, make([]byte, 16), &out{Capacity: 16}))
		require.NoError(t, e.Sign(h, nil, &out{Capacity: 16}))
	})
}
