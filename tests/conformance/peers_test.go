package conformance

import (
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// faultsOfPeers is what is known to be wrong in other modules, or to surprise their clients, and the tests that hold the
// promise that it is not so here. They run by themselves, over every stack.
var faultsOfPeers = []struct {
	fault string
	tests []func(*testing.T)
}{
	{"SENSITIVE is lowered by unwrap", []func(*testing.T){TestUnwrapNeverLowersSensitive}},
	{"AES to DES3 key-type confusion on unwrap", []func(*testing.T){TestKeyTypeConfusionOnUnwrap}},
	{"AES-CCM decrypts without authentication", []func(*testing.T){TestCCMDecryptAuthenticates}},
	{"a wrong-length signature does not end the operation", []func(*testing.T){TestWrongLengthSignatureEndsTheOperation}},
	{"a crash on NULL parameters, and on GCM pAAD = NULL with a length", []func(*testing.T){TestNullPointersWithALength}},
	{"C_GetAttributeValue stops at a bad attribute, writes out of bounds", []func(*testing.T){TestGetAttributeValueFillsTheRestAfterABadAttribute}},
	{"bad CBC padding is accepted", []func(*testing.T){TestCBCPaddingIsChecked}},
	{"CTR counter bits of 0 or 129 are accepted", []func(*testing.T){TestCTRCounterBitsOutOfRange}},
	{"a generated GCM IV is not written back", []func(*testing.T){TestGeneratedVectors}},
	{"invalid EdDSA keys are accepted", []func(*testing.T){TestInvalidEdwardsAndMontgomeryKeysAreRefused}},
	{"lax PKCS #1 v1.5 signatures are accepted", []func(*testing.T){TestLaxPKCS1SignaturesAreRefused}},
	{"users can set CKA_TRUSTED", []func(*testing.T){TestUserCannotSetTrusted}},
	{"COPYABLE and DESTROYABLE are ignored", []func(*testing.T){TestModifiableCopyableDestroyable}},
	{"an error does not end the operation", []func(*testing.T){TestEveryErrorEndsTheOperation}},
	{"one shot after an update", []func(*testing.T){TestOneShotAfterAnUpdate}},
	{"a second logout succeeds", []func(*testing.T){TestASecondLogoutIsAnError}},
	{"a NULL IV is taken where one is needed", []func(*testing.T){TestNullIVs}},
	{"an ECDSA signature without leading zeros is refused", []func(*testing.T){TestShorterECDSASignatureVerifies}},
	{"an OAEP or unwrap label is ignored", []func(*testing.T){TestOAEPLabelIsUsed}},
	{"CKA_LOCAL is true for what came from outside", []func(*testing.T){TestLocalIsTrueOnlyForWhatWasMadeInside}},
	{"a find by CKA_VALUE is an oracle", []func(*testing.T){TestFindByValueIsNoOracle}},
	{"AES keys of 17 bytes, and lengths of 2^62", []func(*testing.T){TestOddLengths}},
	{"PINs are of 4 to 8 characters only", []func(*testing.T){TestPINsOf4To32BytesAndMore}},
	{"GCM takes IVs of 12 bytes only", []func(*testing.T){TestGCMWithIVsOfAnyLength}},
	{"HMAC keys have a shortest length", []func(*testing.T){TestHMACKeysOfAnyLength}},
	{"KWP fails for short keys", []func(*testing.T){TestKWPOfShortKeys}},
	{"points of small order and off the curve are taken in ECDH", []func(*testing.T){TestPointsThatAreNone}},
	{"two threads that generate token keys deadlock", []func(*testing.T){TestManyThreadsGenerateAndSignAtOnce}},
	{"two processes on one token race", []func(*testing.T){TestTwoViewsOfOneToken}},
}

// TestFaultsOfPeersHaveTests: each has one that go test runs.
func TestFaultsOfPeersHaveTests(t *testing.T) {
	for _, c := range faultsOfPeers {
		require.NotEmpty(t, c.tests, c.fault)
		for _, test := range c.tests {
			name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
			require.Regexp(t, `\.Test[A-Z]\w+$`, name, c.fault)
			t.Logf("%s: %s", c.fault, name[strings.LastIndexByte(name, '.')+1:])
		}
	}
}

// What C alone shows has its tests in tests/capi: the interfaces that are not there (hosts/interfaces.c), wild pointers and
// bytes beyond a buffer (hosts/nulls.c, hosts/sequence.c), children of a fork (hosts/fork.c).

// TestCCMDecryptAuthenticates: whatever bit of a ciphertext or tag is changed, nothing is decrypted.
func TestCCMDecryptAuthenticates(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.create(t, h, secretKey(pkcs11.CKK_AES, message(16)))
		plain := message(20)
		m := func(n int) *mech {
			return &mech{Type: pkcs11.CKM_AES_CCM, Params: &pkcs11.CCMParams{DataLen: uint(n), Nonce: message(12), AAD: message(5), MACLen: 8}}
		}
		sealed := e.sealed(t, h, m(len(plain)), key, plain)
		back, err := e.decrypted(h, m(len(plain)), key, sealed)
		require.NoError(t, err)
		require.Equal(t, plain, back)
		for i := range sealed {
			sealed[i] ^= 1
			back, err := e.decrypted(h, m(len(plain)), key, sealed)
			oneOf(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID)
			require.Empty(t, back)
			sealed[i] ^= 1
		}
	})
}

// TestOneShotAfterAnUpdate is out of order, and ends the operation.
func TestOneShotAfterAnUpdate(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		require.NoError(t, e.DigestInit(h, &mech{Type: pkcs11.CKM_SHA256}))
		require.NoError(t, e.DigestUpdate(h, message(3)))
		oneOf(t, e.Digest(h, message(3), big16()), pkcs11.CKR_OPERATION_ACTIVE)
		oneOf(t, e.DigestUpdate(h, message(3)), pkcs11.CKR_OPERATION_NOT_INITIALIZED)
	})
}

// TestNullIVs are refused where a vector is needed.
func TestNullIVs(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.create(t, h, secretKey(pkcs11.CKK_AES, message(16)))
		for _, typ := range []pkcs11.MechanismType{pkcs11.CKM_AES_CBC, pkcs11.CKM_AES_CBC_PAD, pkcs11.CKM_AES_CTR, pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_CCM} {
			oneOf(t, e.EncryptInit(h, &mech{Type: typ}, key), pkcs11.CKR_MECHANISM_PARAM_INVALID)
		}
	})
}

// TestOddLengths are refused: keys have the sizes of their type, from wherever they come.
func TestOddLengths(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, n := range []int{0, 15, 17, 33} {
			_, err := e.CreateObject(h, secretKey(pkcs11.CKK_AES, message(n)))
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_TEMPLATE_INCONSISTENT)
		}
		for _, n := range []uint{0, 17, 1 << 31, 1 << 62, 1<<64 - 1} {
			_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, n))
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		}
		for _, n := range []uint{1 << 31, 1 << 62, 1<<64 - 1} {
			_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, n))
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		}
	})
}

// TestPointsThatAreNone: ECDH with the point at infinity, points that are not on the curve, and those of small order.
func TestPointsThatAreNone(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		_, short := e.ec(t, h, p256, yes(pkcs11.CKA_DERIVE))
		off := make([]byte, 65)
		off[0], off[64] = 4, 1
		for _, point := range [][]byte{nil, {0}, off[:64], off, make([]byte, 65)} {
			refusesPoint(t, e, h, short, point)
		}
		_, montgomery := e.ec(t, h, x25519, yes(pkcs11.CKA_DERIVE))
		one := make([]byte, 32)
		one[0] = 1
		for _, point := range [][]byte{make([]byte, 32), one, make([]byte, 31), make([]byte, 33)} {
			refusesPoint(t, e, h, montgomery, point)
		}
	})
}

func refusesPoint(t *testing.T, e *env, h session, key handle, point []byte) {
	t.Helper()
	m := &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}}
	_, err := e.DeriveKey(h, m, key, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), num(pkcs11.CKA_VALUE_LEN, uint(16))))
	oneOf(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_PUBLIC_KEY_INVALID, pkcs11.CKR_DOMAIN_PARAMS_INVALID)
}
