package migrate

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestThroughTheModule: what shows its value is read, what is sensitive and extractable comes wrapped, and what may not
// leave stays.
func TestThroughTheModule(t *testing.T) {
	s := newSoft(t)
	curve := func(der string) attrs {
		b, err := hex.DecodeString(der)
		require.NoError(t, err)
		return attrs{a(p11.CKA_EC_PARAMS, b)}
	}
	hidden := attrs{a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, true)}
	shown := attrs{a(p11.CKA_SENSITIVE, false), a(p11.CKA_EXTRACTABLE, true)}
	kept := attrs{a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, false)}
	rsa := attrs{a(p11.CKA_MODULUS_BITS, 2048), a(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}), a(p11.CKA_ENCRYPT, true)}
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		pair(t, c, session, p11.CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa", 1, rsa, hidden)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "p256", 2, curve("06082a8648ce3d030107"), hidden)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "p384", 3, curve("06052b81040022"), hidden)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "p521", 4, curve("06052b81040023"), hidden)
		pair(t, c, session, 0x1055, "ed25519", 5, curve("130c656477617264733235353139"), shown)
		pair(t, c, session, 0x1055, "edhidden", 12, curve("130c656477617264733235353139"), hidden) // which SoftHSM2 does not wrap
		secretKey(t, c, session, p11.CKM_AES_KEY_GEN, "aes", 6, append(attrs{a(p11.CKA_VALUE_LEN, 32), a(p11.CKA_ENCRYPT, true), a(p11.CKA_DECRYPT, true)}, hidden...)...)
		secretKey(t, c, session, p11.CKM_GENERIC_SECRET_KEY_GEN, "generic", 7, append(attrs{a(p11.CKA_VALUE_LEN, 48), a(p11.CKA_SIGN, true)}, hidden...)...)
		// SoftHSM2 2.6.1 wraps three zeros with this one.
		secretKey(t, c, session, p11.CKM_GENERIC_SECRET_KEY_GEN, "odd", 13, append(attrs{a(p11.CKA_VALUE_LEN, 45), a(p11.CKA_SIGN, true)}, hidden...)...)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "open", 8, curve("06082a8648ce3d030107"), shown)
		pair(t, c, session, p11.CKM_RSA_PKCS_KEY_PAIR_GEN, "kept", 9, rsa, kept)
		secretKey(t, c, session, p11.CKM_AES_KEY_GEN, "keptaes", 10, append(attrs{a(p11.CKA_VALUE_LEN, 16), a(p11.CKA_ENCRYPT, true)}, kept...)...)
		// Nobody but the key itself knows this one's public key.
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "alone", 11, curve("06052b81040022"), hidden)
		require.NoError(t, c.DestroyObject(session, find(t, c, session, p11.CKO_PUBLIC_KEY, 11)))
	})
	before := s.sum()
	k := harness.NewToken(t, "new")

	r, code, _ := migrate(t, k, softPIN, "--from-module", softModule, "--dry-run")
	require.Equal(t, 1, code)
	require.Zero(t, keys(t, k))
	require.Equal(t, []int{18, 0, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)

	r, code, _ = migrate(t, k, softPIN, "--from-module", softModule, "--from-token", "old")
	require.Equal(t, 1, code)
	require.Equal(t, []int{18, 0, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	require.Equal(t, before, s.sum(), "the source was changed")
	for label, way := range map[string]string{"rsa": "CKM_AES_KEY_WRAP_PAD", "p256": "CKM_AES_KEY_WRAP_PAD", "p521": "CKM_AES_KEY_WRAP_PAD",
		"p384": "CKM_AES_KEY_WRAP_PAD", "ed25519": "value", "open": "value"} {
		require.Equal(t, way, r.of("private", label).Way, label)
		require.Equal(t, "signature", r.of("private", label).Proof, label)
	}
	require.Equal(t, "signature of the source", r.of("private", "alone").Proof)
	require.Equal(t, "CKM_AES_ECB", r.of("secret", "aes").Proof)
	require.Equal(t, "CKM_SHA256_HMAC", r.of("secret", "generic").Proof)
	for _, o := range []object{r.of("private", "kept"), r.of("secret", "keptaes")} {
		require.Equal(t, "left", o.Result)
		require.Contains(t, o.Reason, "CKA_EXTRACTABLE is false")
		require.Contains(t, o.Hint, "--from-softhsm")
	}
	require.Contains(t, r.of("private", "edhidden").Reason, "CKR_KEY_NOT_WRAPPABLE")
	require.Equal(t, "CKM_AES_KEY_WRAP_PAD", r.of("secret", "odd").Way)
	require.Contains(t, k.Run(t, harness.Coffer(t), "key", "list", "odd"), "hmac:360", "without the zeros")

	t.Run("used", func(t *testing.T) {
		in, out := filepath.Join(s.dir, "in"), filepath.Join(s.dir, "out")
		message := []byte("32 bytes, as long as a SHA-256..")
		require.NoError(t, os.WriteFile(in, message, 0o600))
		signatures := map[byte][]byte{}
		for _, id := range []byte{2, 3, 4, 8} {
			k.Run(t, harness.Coffer(t), "sign", "--key", "id:"+hex.EncodeToString([]byte{id}), "--mechanism", "ECDSA", "--format", "raw", "--out", out, in)
			b, err := os.ReadFile(out)
			require.NoError(t, err)
			signatures[id] = b
		}
		k.Run(t, harness.Coffer(t), "sign", "--key", "id:07", "--mechanism", "SHA384_HMAC", "--out", out, in)
		mac, err := os.ReadFile(out)
		require.NoError(t, err)
		s.library(func(c *p11.Ctx, session p11.SessionHandle) {
			for id, sig := range signatures {
				require.NoError(t, c.VerifyInit(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, find(t, c, session, p11.CKO_PUBLIC_KEY, id)))
				require.NoError(t, c.Verify(session, message, sig), "the key %d", id)
			}
			require.NoError(t, c.SignInit(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_SHA384_HMAC, nil)}, find(t, c, session, p11.CKO_SECRET_KEY, 7)))
			theirs, err := c.Sign(session, message)
			require.NoError(t, err)
			require.Equal(t, theirs, mac)
		})
	})
	t.Run("again", func(t *testing.T) {
		r, code, _ := migrate(t, k, softPIN, "--from-module", softModule)
		require.Equal(t, 1, code)
		require.Equal(t, []int{0, 18, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	})
	t.Run("the files give the rest", func(t *testing.T) {
		r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
		require.Zero(t, code, stderr)
		require.Equal(t, []int{3, 18, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	})
}
