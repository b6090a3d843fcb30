package migrate

import (
	"encoding/hex"
	"os"
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestEveryKeyIsProvenByWhatItMayDo: keys that do not sign, curves that Go does not have, keys without an id, and keys that
// want the PIN each time.
func TestEveryKeyIsProvenByWhatItMayDo(t *testing.T) {
	s := newSoft(t)
	curve := func(der string) attrs {
		b, err := hex.DecodeString(der)
		require.NoError(t, err)
		return attrs{a(p11.CKA_EC_PARAMS, b)}
	}
	rsa := attrs{a(p11.CKA_MODULUS_BITS, 2048), a(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}
	kept := attrs{a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, false)}
	no := func(more ...uint) attrs {
		list := append(attrs{}, kept...)
		for _, t := range more {
			list = append(list, a(t, false))
		}
		return list
	}
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "secp256k1", 1, curve("06052b8104000a"), kept)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "brainpool", 2, curve("06092b2403030208010107"), kept)
		generate := func(label string, id byte, public, private attrs) {
			head := attrs{a(p11.CKA_TOKEN, true), a(p11.CKA_LABEL, label), a(p11.CKA_ID, []byte{id})}
			if id == 0 {
				head = head[:2]
			}
			m := uint(p11.CKM_RSA_PKCS_KEY_PAIR_GEN)
			if len(public) == 1 {
				m = p11.CKM_EC_KEY_PAIR_GEN
			}
			_, _, err := c.GenerateKeyPair(session, []*p11.Mechanism{p11.NewMechanism(m, nil)}, append(public, head...),
				append(append(attrs{a(p11.CKA_PRIVATE, true)}, head...), private...))
			require.NoError(t, err, label)
		}
		generate("decrypts", 3, rsa, append(no(p11.CKA_SIGN), a(p11.CKA_DECRYPT, true)))
		generate("unwraps", 4, rsa, append(no(p11.CKA_SIGN, p11.CKA_DECRYPT), a(p11.CKA_UNWRAP, true)))
		generate("derives", 5, curve("06082a8648ce3d030107"), append(no(p11.CKA_SIGN, p11.CKA_DECRYPT), a(p11.CKA_DERIVE, true)))
		generate("no id", 0, curve("06082a8648ce3d030107"), append(no(), a(p11.CKA_SIGN, true)))
		generate("asks", 6, rsa, append(no(), a(p11.CKA_SIGN, true), a(p11.CKA_ALWAYS_AUTHENTICATE, true)))
	})
	k := harness.NewToken(t, "new")
	for range 2 {
		r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
		require.Zero(t, code, "%s %+v", stderr, r)
		require.Equal(t, 14, r.Moved+r.There)
		require.Contains(t, []int{0, 14}, r.There)
		for label, proof := range map[string]string{"secp256k1": "signature", "brainpool": "signature", "decrypts": "decryption", "unwraps": "public value",
			"derives": "public value", "no id": "signature", "asks": "signature"} {
			require.Equal(t, proof, r.of("private", label).Proof, label)
		}
	}
	require.Equal(t, 14, keys(t, k))
}

// TestTrust: what is trusted at the source is trusted here only if the security officer says so.
func TestTrust(t *testing.T) {
	s := newSoft(t)
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		require.NoError(t, c.Logout(session))
		require.NoError(t, c.Login(session, p11.CKU_SO, softSOPIN))
		_, err := c.CreateObject(session, attrs{a(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), a(p11.CKA_KEY_TYPE, p11.CKK_RSA), a(p11.CKA_TOKEN, true),
			a(p11.CKA_PRIVATE, false), a(p11.CKA_LABEL, "wrapper"), a(p11.CKA_ID, []byte{1}), a(p11.CKA_WRAP, true), a(p11.CKA_TRUSTED, true),
			a(p11.CKA_MODULUS, modulus()), a(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})})
		require.NoError(t, err)
	})
	k := harness.NewToken(t, "new")
	r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
	require.Zero(t, code, stderr)
	require.Len(t, r.of("public", "wrapper").Notes, 1)
	require.Contains(t, r.of("public", "wrapper").Notes[0], "--trusted")
	require.NotRegexp(t, `CKA_TRUSTED +yes`, k.Run(t, harness.Coffer(t), "key", "show", "wrapper"))

	r, code, stderr = migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--trusted")
	require.Zero(t, code, stderr)
	require.Empty(t, r.of("public", "wrapper").Notes)
	require.Regexp(t, `CKA_TRUSTED +yes`, k.Run(t, harness.Coffer(t), "key", "show", "wrapper"))
}

// modulus is some number of 2048 bits that could be one.
func modulus() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	b[0], b[255] = 0xc1, 0xc3
	return b
}

// TestTokenThatCannotBeRead: whoever may not read the files is told so.
func TestTokenThatCannotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	s := newSoft(t)
	require.NoError(t, os.Chmod(s.tokens, 0))
	t.Cleanup(func() { os.Chmod(s.tokens, 0o700) })
	_, code, stderr := migrate(t, harness.NewToken(t, "new"), softPIN, "--from-softhsm", s.tokens)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "permission denied")
}
