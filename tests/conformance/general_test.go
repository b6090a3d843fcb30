package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestInitializeAndFinalize(t *testing.T) {
	eachBare(t, func(t *testing.T, e *env) {
		rv(t, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, e.Finalize(false))
		require.NoError(t, e.Initialize(nil))
		rv(t, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED, e.Initialize(nil))
		require.NoError(t, e.Finalize(false))
		require.NoError(t, e.Initialize(&cryptoki.InitArgs{Flags: pkcs11.CKF_OS_LOCKING_OK}), "again, in the same process")
		h, err := e.OpenSession(0, pkcs11.CKF_SERIAL_SESSION)
		require.NoError(t, err)
		require.NoError(t, e.Finalize(false))
		require.NoError(t, e.Initialize(nil))
		_, err = e.GetSessionInfo(h)
		rv(t, pkcs11.CKR_SESSION_HANDLE_INVALID, err, "a session of the run before")
	})
}

func TestInitializeArguments(t *testing.T) {
	eachBare(t, func(t *testing.T, e *env) {
		require.NoError(t, e.Initialize(&cryptoki.InitArgs{Flags: pkcs11.CKF_LIBRARY_CANT_CREATE_OS_THREADS}), "GnuTLS says so")
		require.NoError(t, e.Finalize(false))
		for name, c := range map[string]struct {
			args cryptoki.InitArgs
			want pkcs11.RV
		}{
			"reserved":        {cryptoki.InitArgs{Reserved: true}, pkcs11.CKR_ARGUMENTS_BAD},
			"some callbacks":  {cryptoki.InitArgs{Callbacks: 3}, pkcs11.CKR_ARGUMENTS_BAD},
			"callbacks alone": {cryptoki.InitArgs{Callbacks: 4}, pkcs11.CKR_CANT_LOCK},
		} {
			rv(t, c.want, e.Initialize(&c.args), name)
		}
		require.NoError(t, e.Initialize(&cryptoki.InitArgs{Callbacks: 4, Flags: pkcs11.CKF_OS_LOCKING_OK}))
		rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.Finalize(true))
		require.NoError(t, e.Finalize(false))
	})
}

// idle is every function of the suite but C_Initialize, with arguments of which only the session is looked at.
func idle(e *env, h session) map[string]error {
	errs := map[string]error{}
	note := func(name string, f func() error) { errs[name] = f() }
	value := func(name string, f func() (any, error)) { _, errs[name] = f() }
	m := &mech{Type: pkcs11.CKM_AES_ECB}
	buffer := func() *out { return &out{Capacity: 1 << 16} }
	value("GetInfo", func() (any, error) { return e.GetInfo() })
	value("GetSlotList", func() (any, error) { return e.GetSlotList(true) })
	value("GetSlotInfo", func() (any, error) { return e.GetSlotInfo(0) })
	value("GetTokenInfo", func() (any, error) { return e.GetTokenInfo(0) })
	value("GetMechanismList", func() (any, error) { return e.GetMechanismList(0) })
	value("GetMechanismInfo", func() (any, error) { return e.GetMechanismInfo(0, pkcs11.CKM_AES_ECB) })
	value("OpenSession", func() (any, error) { return e.OpenSession(0, pkcs11.CKF_SERIAL_SESSION) })
	note("InitToken", func() error { return e.InitToken(0, soPIN, tokenLabel) })
	note("CloseAllSessions", func() error { return e.CloseAllSessions(0) })
	for name, err := range inSession(e, h, m, buffer) {
		errs[name] = err
	}
	return errs
}

// inSession is the functions that take a session.
func inSession(e *env, h session, m *mech, buffer func() *out) map[string]error {
	two := func(_ any, err error) error { return err }
	_, _, pair := e.GenerateKeyPair(h, m, nil, nil)
	return map[string]error{
		"InitPIN":             e.InitPIN(h, userPIN),
		"SetPIN":              e.SetPIN(h, userPIN, userPIN),
		"CloseSession":        e.CloseSession(h),
		"GetSessionInfo":      two(e.GetSessionInfo(h)),
		"GetOperationState":   e.GetOperationState(h, buffer()),
		"SetOperationState":   e.SetOperationState(h, []byte("state"), 0, 0),
		"Login":               e.Login(h, pkcs11.CKU_USER, userPIN),
		"Logout":              e.Logout(h),
		"CreateObject":        two(e.CreateObject(h, data("x"))),
		"CopyObject":          two(e.CopyObject(h, 1, nil)),
		"DestroyObject":       e.DestroyObject(h, 1),
		"GetObjectSize":       two(e.GetObjectSize(h, 1)),
		"GetAttributeValue":   two(e.GetAttributeValue(h, 1, []pkcs11.AttributeType{pkcs11.CKA_LABEL})),
		"SetAttributeValue":   e.SetAttributeValue(h, 1, nil),
		"FindObjectsInit":     e.FindObjectsInit(h, nil),
		"FindObjects":         two(e.FindObjects(h, 1)),
		"FindObjectsFinal":    e.FindObjectsFinal(h),
		"EncryptInit":         e.EncryptInit(h, m, 1),
		"Encrypt":             e.Encrypt(h, nil, buffer()),
		"EncryptUpdate":       e.EncryptUpdate(h, nil, buffer()),
		"EncryptFinal":        e.EncryptFinal(h, buffer()),
		"DecryptInit":         e.DecryptInit(h, m, 1),
		"Decrypt":             e.Decrypt(h, nil, buffer()),
		"DecryptUpdate":       e.DecryptUpdate(h, nil, buffer()),
		"DecryptFinal":        e.DecryptFinal(h, buffer()),
		"DigestInit":          e.DigestInit(h, &mech{Type: pkcs11.CKM_SHA256}),
		"Digest":              e.Digest(h, nil, buffer()),
		"DigestUpdate":        e.DigestUpdate(h, nil),
		"DigestKey":           e.DigestKey(h, 1),
		"DigestFinal":         e.DigestFinal(h, buffer()),
		"DigestEncryptUpdate": e.DigestEncryptUpdate(h, nil, buffer()),
		"DecryptDigestUpdate": e.DecryptDigestUpdate(h, nil, buffer()),
		"SignEncryptUpdate":   e.SignEncryptUpdate(h, nil, buffer()),
		"DecryptVerifyUpdate": e.DecryptVerifyUpdate(h, nil, buffer()),
		"SignInit":            e.SignInit(h, m, 1),
		"Sign":                e.Sign(h, nil, buffer()),
		"SignUpdate":          e.SignUpdate(h, nil),
		"SignFinal":           e.SignFinal(h, buffer()),
		"SignRecoverInit":     e.SignRecoverInit(h, m, 1),
		"SignRecover":         e.SignRecover(h, nil, buffer()),
		"VerifyInit":          e.VerifyInit(h, m, 1),
		"Verify":              e.Verify(h, nil, nil),
		"VerifyUpdate":        e.VerifyUpdate(h, nil),
		"VerifyFinal":         e.VerifyFinal(h, nil),
		"VerifyRecoverInit":   e.VerifyRecoverInit(h, m, 1),
		"VerifyRecover":       e.VerifyRecover(h, nil, buffer()),
		"GenerateKey":         two(e.GenerateKey(h, m, nil)),
		"GenerateKeyPair":     pair,
		"WrapKey":             e.WrapKey(h, m, 1, 2, buffer()),
		"UnwrapKey":           two(e.UnwrapKey(h, m, 1, make([]byte, 16), nil)),
		"DeriveKey":           two(e.DeriveKey(h, m, 1, nil)),
		"SeedRandom":          e.SeedRandom(h, []byte("seed")),
		"GenerateRandom":      e.GenerateRandom(h, make([]byte, 8)),
	}
}

// TestCallsBeforeInitializeAndAfterFinalize: all are told so, whatever else is wrong with them.
func TestCallsBeforeInitializeAndAfterFinalize(t *testing.T) {
	eachBare(t, func(t *testing.T, e *env) {
		for name, err := range idle(e, 1) {
			rv(t, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, err, name)
		}
		require.NoError(t, e.Initialize(nil))
		h, err := e.OpenSession(0, pkcs11.CKF_SERIAL_SESSION)
		require.NoError(t, err)
		require.NoError(t, e.Finalize(false))
		for name, err := range idle(e, h) {
			rv(t, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, err, name)
		}
	})
}

// TestCallsInAClosedSession: so does every function with a session that is gone, or never was.
func TestCallsInAClosedSession(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		require.NoError(t, e.CloseSession(h))
		for _, gone := range []session{h, 0, 1 << 40, ^session(0)} {
			for name, err := range inSession(e, gone, &mech{Type: pkcs11.CKM_AES_ECB}, func() *out { return &out{Capacity: 99} }) {
				rv(t, pkcs11.CKR_SESSION_HANDLE_INVALID, err, name, gone)
			}
		}
	})
}

func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		info, err := e.GetInfo()
		require.NoError(t, err)
		require.GreaterOrEqual(t, info.CryptokiVersion.Major, byte(2))
		require.Equal(t, "Coffer", info.Manufacturer)
		require.NotEmpty(t, info.Description)
		require.Zero(t, info.Flags)
		require.Equal(t, release.Number(), info.LibraryVersion)

		slot, err := e.GetSlotInfo(e.slot)
		require.NoError(t, err)
		token, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		for _, v := range []pkcs11.Version{slot.HardwareVersion, slot.FirmwareVersion, token.HardwareVersion, token.FirmwareVersion} {
			require.Equal(t, release.Number(), v)
		}
	})
}
