package conformance

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestFIPSPolicyWantsAProcessInFIPSMode: the token says so, and is not opened.
func TestFIPSPolicyWantsAProcessInFIPSMode(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("this process is in FIPS mode, as TestInFIPSMode wants it")
	}
	registry, err := all.Registry()
	require.NoError(t, err)
	_, err = engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return mem.New(), nil },
		Mechanisms: registry, KDF: cheap, Policy: policy.Policy{FIPS: true},
	})
	rv(t, pkcs11.CKR_DEVICE_ERROR, err)
	require.ErrorContains(t, err, "GODEBUG=fips140=on")
}

// TestInFIPSMode runs the tests of this file in a process of their own: the mode cannot be changed while one runs.
func TestInFIPSMode(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run", "^TestFIPS", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestFIPSOffersWhatIsApproved")
	t.Logf("%s", out)
}

// inFIPS runs a test with a token in FIPS mode; only in a process in FIPS mode.
func inFIPS(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	if !fips140.Enabled() {
		t.Skip("TestInFIPSMode runs it")
	}
	under(t, policy.Policy{FIPS: true}, f)
}

// TestFIPSOffersWhatIsApproved, no less and no more.
func TestFIPSOffersWhatIsApproved(t *testing.T) {
	registry, err := all.Registry()
	require.NoError(t, err)
	inFIPS(t, func(t *testing.T, e *env) {
		want := map[pkcs11.MechanismType]pkcs11.Flags{}
		for _, m := range registry.Types() {
			if flags := registry.Mechanism(m).Info().Flags & policy.Approved(m); flags != 0 {
				want[m] = flags
			}
		}
		list, err := e.GetMechanismList(e.slot)
		require.NoError(t, err)
		got := map[pkcs11.MechanismType]pkcs11.Flags{}
		for _, m := range list {
			info, err := e.GetMechanismInfo(e.slot, m)
			require.NoError(t, err)
			got[m] = info.Flags & policy.Operations
		}
		require.Equal(t, want, got)
		require.NotContains(t, list, pkcs11.CKM_RSA_X_509)
		require.NotContains(t, list, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN)
	})
}

// TestFIPSRefusesTheRest: operations, keys, curves and parameters.
func TestFIPSRefusesTheRest(t *testing.T) {
	inFIPS(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h, yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT))
		gcm := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte("twelve bytes"), TagBits: 128}}
		rv(t, pkcs11.CKR_MECHANISM_INVALID, e.EncryptInit(h, gcm, key))
		require.NoError(t, e.DecryptInit(h, gcm, key))
		require.NoError(t, e.SessionCancel(h, pkcs11.CKF_DECRYPT))

		_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, uint(13)))
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		_, err = e.CreateObject(h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(14)))
		require.NoError(t, err)

		public, priv := e.pair(t, h, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, num(pkcs11.CKA_MODULUS_BITS, uint(2048)), yes(pkcs11.CKA_SIGN))
		pss := func(hash pkcs11.MechanismType, n int) (*mech, []byte) {
			mgf := map[pkcs11.MechanismType]pkcs11.MGFType{pkcs11.CKM_SHA_1: pkcs11.CKG_MGF1_SHA1, pkcs11.CKM_SHA256: pkcs11.CKG_MGF1_SHA256}[hash]
			return &mech{Type: pkcs11.CKM_RSA_PKCS_PSS, Params: &pkcs11.PSSParams{HashAlg: hash, MGF: mgf, SaltLen: uint(n)}}, message(n)
		}
		old, _ := pss(pkcs11.CKM_SHA_1, 20)
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.SignInit(h, old, priv))
		rv(t, pkcs11.CKR_MECHANISM_INVALID, e.SignInit(h, &mech{Type: pkcs11.CKM_SHA1_RSA_PKCS}, priv))
		now, digest := pss(pkcs11.CKM_SHA256, 32)
		require.NoError(t, e.SignInit(h, now, priv))
		signature := big16()
		require.NoError(t, e.Sign(h, digest, signature))
		require.NoError(t, e.VerifyInit(h, now, public))
		require.NoError(t, e.Verify(h, digest, signature.Bytes))
		for _, salt := range []int{0, 33} {
			other, _ := pss(pkcs11.CKM_SHA256, salt)
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.SignInit(h, other, priv))
		}

		_, _, err = e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN}, nil, nil)
		rv(t, pkcs11.CKR_MECHANISM_INVALID, err)
		pub, _ := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, octets(pkcs11.CKA_EC_PARAMS, p256), yes(pkcs11.CKA_SIGN))
		e.has(t, h, pub, num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC))
	})
}

// TestFIPSTokenSaysSo, in its description and in a validation object.
func TestFIPSTokenSaysSo(t *testing.T) {
	inFIPS(t, func(t *testing.T, e *env) {
		info, err := e.GetTokenInfo(e.slot)
		require.NoError(t, err)
		require.Equal(t, "Coffer FIPS", info.Model)
		h := e.user(t)
		found := e.find(t, h, num(pkcs11.CKA_CLASS, pkcs11.CKO_VALIDATION))
		require.Len(t, found, 1)
		e.has(t, h, found[0], with(num(pkcs11.CKA_VALIDATION_TYPE, pkcs11.CKV_TYPE_SOFTWARE), num(pkcs11.CKA_VALIDATION_LEVEL, uint(1)),
			octets(pkcs11.CKA_VALIDATION_VERSION, []byte{140, 3}), text(pkcs11.CKA_VALIDATION_MODULE_ID, "Go Cryptographic Module "+fips140.Version()),
			num(pkcs11.CKA_VALIDATION_FLAG, uint(engine.ValidationFlag))))
		rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.DestroyObject(h, found[0]))
		flags, err := e.GetSessionValidationFlags(h, pkcs11.CKS_LAST_VALIDATION_OK)
		require.NoError(t, err)
		require.Equal(t, pkcs11.Flags(engine.ValidationFlag), flags)
	})
}
