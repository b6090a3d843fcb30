package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// suite builds the test-suite of a package as it is in the module cache, into the token's folder.
func suite(t *testing.T, k *harness.Token, pkg string) string {
	t.Helper()
	bin := filepath.Join(k.Dir, filepath.Base(pkg)+".test")
	build := k.Command(t, "go", "test", "-c", "-o", bin, pkg)
	build.Dir, build.Env = harness.Root(), os.Environ()
	b, err := build.CombinedOutput()
	require.NoError(t, err, string(b))
	return bin
}

// crypto11Suite runs the test-suite of ThalesGroup/crypto11 on a token. Version 1.2.6 is the last whose tests agree with
// its code: later ones answer an error for a key that is not there, which their own tests take for a failure, with any module.
func crypto11Suite(t *testing.T, k *harness.Token, label string, args ...string) string {
	t.Helper()
	bin := suite(t, k, "github.com/ThalesGroup/crypto11")
	conf, err := json.Marshal(map[string]any{"Path": harness.Module(t), "TokenLabel": label, "Pin": harness.UserPIN})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "config"), conf, 0o600))
	b, err := k.Command(t, bin, append([]string{"-test.v"}, args...)...).CombinedOutput()
	require.NoError(t, err, string(b))
	return string(b)
}

func TestCrypto11Suite(t *testing.T) {
	client(t, "go")
	// TestHardDSA wants DSA, which is not offered. TestHmac has a test of its own below.
	out := crypto11Suite(t, harness.NewToken(t, "crypto11"), "crypto11", "-test.skip", "^(TestHardDSA|TestHmac)$")
	passed := len(regexp.MustCompile(`(?m)^\s*--- PASS`).FindAllString(out, -1))
	skipped := regexp.MustCompile(`(?m)^\s*--- SKIP.*`).FindAllString(out, -1)
	t.Logf("%d tests of crypto11 passed, skipped by themselves: %q", passed, skipped)
	require.Greater(t, passed, 100)
	require.Len(t, skipped, 1, "only 3DES, which is not offered")
}

// TestCrypto11Hmac: crypto11 makes HMAC keys with nCipher's vendor mechanisms, so the keys that its test looks for are
// made beforehand.
func TestCrypto11Hmac(t *testing.T) {
	client(t, "go")
	k := harness.NewToken(t, "hmac")
	for _, label := range []string{"hmac0", "hmac1"} {
		k.Run(t, harness.Coffer(t), "key", "generate", "--type", "hmac:256", "--label", label)
	}
	out := crypto11Suite(t, k, "hmac", "-test.run", "^TestHmac$")
	require.Contains(t, out, "--- PASS: TestHmac/HMACSHA1General")
}

// TestMiekgSuite runs the binding's own test-suite, which is written for SoftHSM: its PIN is always 1234. Left out are what
// wants a library of that name, what wants a pair made for signatures to encrypt as well (a template that names a use means no
// other), and what reads its own source.
func TestMiekgSuite(t *testing.T) {
	client(t, "go")
	k := harness.NewSlot(t)
	env := k.Env("COFFER_PIN=1234", "SOFTHSM_LIB="+harness.Module(t), "SOFTHSM_PIN=1234", "SOFTHSM_TOKENLABEL=miekg",
		"SOFTHSM_PRIVKEYLABEL=rsakey")
	run := func(name string, args ...string) string {
		cmd := k.Command(t, name, args...)
		cmd.Env = env
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, string(b))
		return string(b)
	}
	run(harness.Coffer(t), "token", "init", "--label", "miekg")
	run(harness.Coffer(t), "key", "generate", "--type", "rsa:2048", "--label", "rsakey")
	out := run(suite(t, k, "github.com/miekg/pkcs11"), "-test.v", "-test.run", "^Test",
		"-test.skip", "^(TestGetInfo|TestOAEPParams|TestConstCouunt)$")
	require.Greater(t, len(regexp.MustCompile(`(?m)^\s*--- PASS`).FindAllString(out, -1)), 20)
	require.NotContains(t, out, "--- SKIP")
}

// TestMiekgPKCS11: the binding that Go programs use, from finding the token to signing and encrypting, in threads.
func TestMiekgPKCS11(t *testing.T) {
	client(t, "go")
	k := harness.NewToken(t, "miekg")
	t.Setenv("COFFER_CONF", k.Conf)
	p := pkcs11.New(harness.Module(t))
	require.NotNil(t, p)
	defer p.Destroy()
	require.NoError(t, p.Initialize())
	defer p.Finalize()
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	require.Len(t, slots, 1)
	s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.Login(s, pkcs11.CKU_USER, harness.UserPIN))
	pub, priv, err := p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
	require.NoError(t, err)
	aes, err := p.GenerateKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32)})
	require.NoError(t, err)

	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION)
			if !assert.NoError(t, err) {
				return
			}
			defer p.CloseSession(s)
			for i := range 100 {
				data := fmt.Appendf(nil, "message %d of %d", i, n)
				ecdsa := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA_SHA256, nil)}
				assert.NoError(t, p.SignInit(s, ecdsa, priv))
				sig, err := p.Sign(s, data)
				assert.NoError(t, err)
				assert.NoError(t, p.VerifyInit(s, ecdsa, pub))
				assert.NoError(t, p.Verify(s, data, sig))

				gcm := pkcs11.NewGCMParams(fmt.Appendf(nil, "%04d%08d", n, i), []byte("aad"), 128)
				m := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, gcm)}
				assert.NoError(t, p.EncryptInit(s, m, aes))
				enc, err := p.Encrypt(s, data)
				assert.NoError(t, err)
				assert.NoError(t, p.DecryptInit(s, m, aes))
				dec, err := p.Decrypt(s, enc)
				assert.NoError(t, err)
				assert.Equal(t, data, dec)
				gcm.Free()
			}
		})
	}
	group.Wait()
}
