package conformance

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.nobody(t)
		h := e.public(t)
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.Logout(h))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_USER, []byte("wrong PIN")))
		rv(t, pkcs11.CKR_USER_TYPE_INVALID, e.Login(h, 9, userPIN))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Login(h, pkcs11.CKU_CONTEXT_SPECIFIC, userPIN))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
		rv(t, pkcs11.CKR_USER_ALREADY_LOGGED_IN, e.Login(h, pkcs11.CKU_USER, userPIN))
		rv(t, pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.Logout(h))
	})
}

func TestASecondLogoutIsAnError(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		require.NoError(t, e.Logout(h))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.Logout(h))
	})
}

func TestTheSOSetsThePINAndSeesNoPrivateObjects(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		e.aes(t, h, yes(pkcs11.CKA_TOKEN))
		require.NoError(t, e.Logout(h))
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.Empty(t, e.find(t, h, nil))
		_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, uint(16)))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err, "nor makes any")
		fresh := []byte("another PIN")
		require.NoError(t, e.InitPIN(h, fresh))
		require.NoError(t, e.Logout(h))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_USER, userPIN))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, fresh))
		require.Len(t, e.find(t, h, nil), 1, "the objects outlive the PIN")
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.InitPIN(h, userPIN), "the user may not")
	})
}

func TestSetPIN(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h, yes(pkcs11.CKA_TOKEN))
		second := []byte("second PIN")
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.SetPIN(h, []byte("wrong PIN"), second))
		rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.SetPIN(h, userPIN, []byte("abc")))
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, e.SetPIN(e.open(t, 0), userPIN, second))
		require.NoError(t, e.SetPIN(h, userPIN, second))
		e.has(t, h, key, num(pkcs11.CKA_VALUE_LEN, uint(32))) // the login goes on
		require.NoError(t, e.Logout(h))
		require.NoError(t, e.SetPIN(h, second, userPIN), "a public session changes the user's")
		require.Equal(t, pkcs11.CKS_RW_PUBLIC_SESSION, e.state(t, h))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_USER, second))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
	})
}

func TestSetPINOfTheSO(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.SetPIN(h, soPIN, []byte("second SO PIN")))
		require.NoError(t, e.InitPIN(h, userPIN), "the login goes on")
		require.NoError(t, e.Logout(h))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, []byte("second SO PIN")))
	})
}

func TestPINsOf4To32BytesAndMore(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		info, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		old := userPIN
		for _, n := range []uint{info.MinPinLen, 4, 8, 31, 32, 33, 64, 128, info.MaxPinLen} {
			pin := bytes.Repeat([]byte{0xc3, 0xa4, 0, ' '}, 64)[:n] // bytes, not text: zeros and blanks count
			require.NoError(t, e.SetPIN(h, old, pin), "%d bytes", n)
			require.NoError(t, e.Logout(h))
			rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_USER, pin[:n-1]))
			require.NoError(t, e.Login(h, pkcs11.CKU_USER, pin))
			old = pin
		}
		rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.SetPIN(h, old, make([]byte, info.MaxPinLen+1)))
		rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.SetPIN(h, old, make([]byte, info.MinPinLen-1)))
	})
}

// pinFlags are those of one user's PIN.
type pinFlags struct{ low, final, locked pkcs11.Flags }

var pinFlagsOf = map[pkcs11.UserType]pinFlags{
	pkcs11.CKU_SO:   {pkcs11.CKF_SO_PIN_COUNT_LOW, pkcs11.CKF_SO_PIN_FINAL_TRY, pkcs11.CKF_SO_PIN_LOCKED},
	pkcs11.CKU_USER: {pkcs11.CKF_USER_PIN_COUNT_LOW, pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_USER_PIN_LOCKED},
}

// TestWrongPINsLock: the flags warn, then the PIN is locked, and only for the user there is a way back.
func TestWrongPINsLock(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		for user, f := range pinFlagsOf {
			right := map[pkcs11.UserType][]byte{pkcs11.CKU_SO: soPIN, pkcs11.CKU_USER: userPIN}[user]
			if user == pkcs11.CKU_SO {
				continue // last: nobody unlocks it
			}
			e.lock(t, h, user, f)
			rv(t, pkcs11.CKR_PIN_LOCKED, e.Login(h, user, right))
			rv(t, pkcs11.CKR_PIN_LOCKED, e.SetPIN(h, right, []byte("another PIN")))
			require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
			require.NoError(t, e.InitPIN(h, userPIN))
			require.NoError(t, e.Logout(h))
			require.Zero(t, e.tokenFlags(t)&(f.low|f.final|f.locked))
			require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
			require.NoError(t, e.Logout(h))
		}
		e.lock(t, h, pkcs11.CKU_SO, pinFlagsOf[pkcs11.CKU_SO])
		rv(t, pkcs11.CKR_PIN_LOCKED, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN), "the user is not touched by it")
		require.NoError(t, e.CloseAllSessions(e.slot))
		rv(t, pkcs11.CKR_PIN_LOCKED, e.InitToken(e.slot, soPIN, "new"))
	})
}

// lock gives wrong PINs until the PIN is locked.
func (e *env) lock(t *testing.T, h session, user pkcs11.UserType, f pinFlags) {
	t.Helper()
	warned := false
	for range 100 {
		now := e.tokenFlags(t)
		if now&f.locked != 0 {
			require.True(t, warned, "locked without CKF_..._FINAL_TRY before")
			return
		}
		warned = now&f.final != 0
		if warned {
			require.NotZero(t, now&f.low)
		}
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, user, []byte("wrong PIN")))
	}
	t.Fatal("100 wrong PINs did not lock it")
}

func TestLockoutSurvivesFinalize(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		e.lock(t, h, pkcs11.CKU_USER, pinFlagsOf[pkcs11.CKU_USER])
		require.NoError(t, e.Finalize(false))
		require.NoError(t, e.Initialize(nil))
		rv(t, pkcs11.CKR_PIN_LOCKED, e.Login(e.public(t), pkcs11.CKU_USER, userPIN))
	})
}

// TestAlwaysAuthenticate: each use of the key wants the PIN once more, and a wrong one leaves the operation.
func TestAlwaysAuthenticate(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		pub, priv := e.ec(t, h, p256, yes(pkcs11.CKA_ALWAYS_AUTHENTICATE))
		ecdsa, digest := &mech{Type: pkcs11.CKM_ECDSA}, bytes.Repeat([]byte{7}, 32)
		require.NoError(t, e.SignInit(h, ecdsa, priv))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.Sign(h, digest, &out{Capacity: 64}))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Sign(h, digest, &out{Capacity: 64}))

		require.NoError(t, e.SignInit(h, ecdsa, priv))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.Login(h, pkcs11.CKU_CONTEXT_SPECIFIC, []byte("wrong PIN")))
		require.NoError(t, e.Login(h, pkcs11.CKU_CONTEXT_SPECIFIC, userPIN))
		o := &out{Capacity: 64}
		require.NoError(t, e.Sign(h, digest, o))
		require.NoError(t, e.VerifyInit(h, ecdsa, pub))
		require.NoError(t, e.Verify(h, digest, o.Bytes))
		require.NoError(t, e.SignInit(h, ecdsa, priv))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.Sign(h, digest, &out{Capacity: 64}), "once is not for ever")
	})
}

// TestLoginUserKnowsNoStrangers, and who has users does not tell which.
func TestLoginUserKnowsNoStrangers(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.nobody(t)
		h := e.public(t)
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.LoginUser(h, pkcs11.CKU_USER, userPIN, []byte("alice")))
		require.NoError(t, e.LoginUser(h, pkcs11.CKU_USER, userPIN, nil))
	})
}
