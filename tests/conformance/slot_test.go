package conformance

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestSlots(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		for _, present := range []bool{false, true} {
			slots, err := e.GetSlotList(present)
			require.NoError(t, err)
			require.Equal(t, []uint{e.slot}, slots)
		}
		info, err := e.GetSlotInfo(e.slot)
		require.NoError(t, err)
		require.NotEmpty(t, info.Description) // programs show it, and name slots by it
		require.NotZero(t, info.Flags&pkcs11.CKF_TOKEN_PRESENT)
		require.Zero(t, info.Flags&(pkcs11.CKF_REMOVABLE_DEVICE|pkcs11.CKF_HW_SLOT))
		const nowhere = 4711
		_, err = e.GetSlotInfo(nowhere)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, err)
		_, err = e.GetTokenInfo(nowhere)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, err)
		_, err = e.GetMechanismList(nowhere)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, err)
		_, err = e.GetMechanismInfo(nowhere, pkcs11.CKM_AES_ECB)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, err)
		_, err = e.OpenSession(nowhere, pkcs11.CKF_SERIAL_SESSION)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, err)
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, e.CloseAllSessions(nowhere))
		rv(t, pkcs11.CKR_SLOT_ID_INVALID, e.InitToken(nowhere, soPIN, "x"))
	})
}

// tokenFlags are those that tell of the token's life and PINs.
func (e *env) tokenFlags(t *testing.T) pkcs11.Flags {
	t.Helper()
	info, err := e.GetTokenInfo(e.slot)
	require.NoError(t, err)
	return info.Flags
}

func TestTokenInfo(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		info, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.Equal(t, tokenLabel, info.Label)
		require.Len(t, info.Serial, 16)
		require.Equal(t, pkcs11.CKF_RNG|pkcs11.CKF_LOGIN_REQUIRED|pkcs11.CKF_TOKEN_INITIALIZED|pkcs11.CKF_USER_PIN_INITIALIZED|
			pkcs11.CKF_DUAL_CRYPTO_OPERATIONS|pkcs11.CKF_ASYNC_SESSION_SUPPORTED, info.Flags)
		require.LessOrEqual(t, info.MinPinLen, uint(4))
		require.GreaterOrEqual(t, info.MaxPinLen, uint(32))
	})
}

func TestTokenInfoCountsSessions(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		before, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		e.open(t, 0)
		e.open(t, pkcs11.CKF_RW_SESSION)
		now, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.Equal(t, before.SessionCount+2, now.SessionCount)
		require.Equal(t, before.RwSessionCount+1, now.RwSessionCount)
	})
}

// TestTokenFlagsFollowTheToken goes through a token's youth.
func TestTokenFlagsFollowTheToken(t *testing.T) {
	eachBare(t, func(t *testing.T, e *env) {
		require.NoError(t, e.Initialize(nil))
		const born = pkcs11.CKF_TOKEN_INITIALIZED | pkcs11.CKF_USER_PIN_INITIALIZED
		require.Zero(t, e.tokenFlags(t)&born)
		h := e.public(t)
		rv(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, e.Login(h, pkcs11.CKU_USER, userPIN))
		rv(t, pkcs11.CKR_SESSION_EXISTS, e.InitToken(e.slot, soPIN, tokenLabel))
		require.NoError(t, e.CloseSession(h))

		rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.InitToken(e.slot, []byte("abc"), tokenLabel))
		require.NoError(t, e.InitToken(e.slot, soPIN, tokenLabel))
		require.Equal(t, pkcs11.CKF_TOKEN_INITIALIZED, e.tokenFlags(t)&born)
		h = e.public(t)
		rv(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, e.Login(h, pkcs11.CKU_USER, userPIN))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.InitPIN(h, userPIN))
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
		rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.InitPIN(h, []byte("abc")))
		require.NoError(t, e.InitPIN(h, userPIN))
		require.Equal(t, born, e.tokenFlags(t)&born)
	})
}

// TestInitTokenErasesTheOldToken, given the SO's PIN and nothing less.
func TestInitTokenErasesTheOldToken(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		e.create(t, h, data("old", yes(pkcs11.CKA_TOKEN)))
		e.aes(t, h, yes(pkcs11.CKA_TOKEN))
		old, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.NoError(t, e.CloseAllSessions(e.slot))
		rv(t, pkcs11.CKR_PIN_INCORRECT, e.InitToken(e.slot, userPIN, "new"))
		require.Equal(t, old.Flags, e.tokenFlags(t)&^(pkcs11.CKF_SO_PIN_COUNT_LOW|pkcs11.CKF_SO_PIN_FINAL_TRY))

		require.NoError(t, e.InitToken(e.slot, soPIN, "new"))
		now, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.Equal(t, "new", now.Label)
		if e.can(newSerial) {
			require.NotEqual(t, old.Serial, now.Serial)
		} else {
			require.Equal(t, old.Serial, now.Serial)
		}
		require.Zero(t, now.Flags&pkcs11.CKF_USER_PIN_INITIALIZED)
		require.Empty(t, e.find(t, e.public(t), nil))
	})
}

func TestMechanismListIsTheRegistry(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		list, err := e.GetMechanismList(e.slot)
		require.NoError(t, err)
		slices.Sort(list)
		offered := registry(t) // legacy rows among them, where the stack's policy lets them
		if e.stack != memory && e.stack != sqliteFile && e.stack != library {
			var err error
			offered, err = all.Registry()
			require.NoError(t, err)
		}
		require.Equal(t, offered.Types(), list)
		for _, m := range list {
			info, err := e.GetMechanismInfo(e.slot, m)
			require.NoError(t, err)
			require.Equal(t, registry(t).Mechanism(m).Info(), info, "%v", m)
		}
		for _, m := range []pkcs11.MechanismType{pkcs11.CKM_SKIPJACK_CBC64, pkcs11.CKM_VENDOR_DEFINED + 77, ^pkcs11.MechanismType(0)} {
			_, err := e.GetMechanismInfo(e.slot, m)
			rv(t, pkcs11.CKR_MECHANISM_INVALID, err)
		}
	})
}
