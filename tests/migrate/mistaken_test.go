package migrate

import (
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestKeysWithTheSameIDAreToldApart: an id names no single key, so the public key of one says nothing about another.
func TestKeysWithTheSameIDAreToldApart(t *testing.T) {
	s := newSoft(t)
	hidden := attrs{a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, true)}
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		for _, label := range []string{"a", "b"} {
			pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "signs "+label, 1, attrs{a(p11.CKA_EC_PARAMS, p256)}, hidden)
		}
	})
	t.Run("wrapped", func(t *testing.T) {
		k := harness.NewToken(t, "new")
		r, code, stderr := migrate(t, k, softPIN, "--from-module", softModule)
		require.Zero(t, code, stderr)
		require.Equal(t, []int{4, 0, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Equal(t, "signature of the source", r.of("private", "signs b").Proof)
		r, code, stderr = migrate(t, k, softPIN, "--from-module", softModule)
		require.Zero(t, code, stderr)
		require.Equal(t, []int{0, 4, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Equal(t, 4, keys(t, k))
	})
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		for _, label := range []string{"a", "b"} {
			derives(t, c, session, "derives "+label, 2, p256)
		}
	})
	t.Run("files", func(t *testing.T) {
		k := harness.NewToken(t, "new")
		r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
		require.Zero(t, code, stderr)
		require.Equal(t, []int{8, 0, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Equal(t, "signature", r.of("private", "signs b").Proof)
		require.Equal(t, "public value", r.of("private", "derives b").Proof)
		r, code, stderr = migrate(t, k, softPIN, "--from-softhsm", s.tokens)
		require.Zero(t, code, stderr)
		require.Equal(t, []int{0, 8, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Equal(t, 8, keys(t, k))
	})
}

// TestUnprovenKeysAreNotTakenForTheSame: the same id and label in the token are no proof.
func TestUnprovenKeysAreNotTakenForTheSame(t *testing.T) {
	s := newSoft(t)
	secp256k1 := []byte{6, 5, 0x2b, 0x81, 4, 0, 10}
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		derives(t, c, session, "alone", 1, secp256k1)
		require.NoError(t, c.DestroyObject(session, find(t, c, session, p11.CKO_PUBLIC_KEY, 1)))
	})
	k := harness.NewToken(t, "new")
	for _, reason := range []string{"nothing that the key may do", "the token has a key with its id and label"} {
		r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
		require.Equal(t, 1, code, stderr)
		require.Equal(t, []int{0, 0, 1, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Contains(t, r.Objects[0].Reason, reason)
		require.Contains(t, stderr, "of 1 keys nothing shows")
		require.Equal(t, 1, keys(t, k))
	}
}

// TestDryRunRefusesWhatTheRunRefuses: a key that can be read and both wraps and decrypts, which is free in a session.
func TestDryRunRefusesWhatTheRunRefuses(t *testing.T) {
	s := newSoft(t)
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		_, err := c.GenerateKey(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, attrs{a(p11.CKA_TOKEN, true),
			a(p11.CKA_PRIVATE, true), a(p11.CKA_LABEL, "both"), a(p11.CKA_VALUE_LEN, 32), a(p11.CKA_SENSITIVE, false), a(p11.CKA_EXTRACTABLE, true),
			a(p11.CKA_WRAP, true), a(p11.CKA_DECRYPT, true), a(p11.CKA_ENCRYPT, true)})
		require.NoError(t, err)
	})
	k := harness.NewToken(t, "new")
	for _, more := range [][]string{{"--dry-run"}, nil} {
		r, code, stderr := migrate(t, k, softPIN, append([]string{"--from-softhsm", s.tokens}, more...)...)
		require.Equal(t, 1, code, stderr)
		require.Equal(t, "left", r.of("secret", "both").Result, "%v", more)
		require.Contains(t, r.of("secret", "both").Hint, "--drop-wrap")
	}
	for _, more := range [][]string{{"--dry-run"}, nil} {
		r, code, stderr := migrate(t, k, softPIN, append([]string{"--from-softhsm", s.tokens, "--drop-wrap"}, more...)...)
		require.Zero(t, code, stderr)
		require.Equal(t, "CKM_AES_ECB", r.of("secret", "both").Proof)
	}
	require.Regexp(t, `CKA_SENSITIVE +no`, k.Run(t, harness.Coffer(t), "key", "show", "both"), "a dry run's is another")
}

// derives makes a pair that agrees on keys and does not sign.
func derives(t *testing.T, c *p11.Ctx, session p11.SessionHandle, label string, id byte, curve []byte) {
	t.Helper()
	head := attrs{a(p11.CKA_TOKEN, true), a(p11.CKA_LABEL, label), a(p11.CKA_ID, []byte{id})}
	_, _, err := c.GenerateKeyPair(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)},
		append(attrs{a(p11.CKA_EC_PARAMS, curve)}, head...),
		append(attrs{a(p11.CKA_PRIVATE, true), a(p11.CKA_SENSITIVE, true), a(p11.CKA_SIGN, false), a(p11.CKA_DECRYPT, false), a(p11.CKA_DERIVE, true)}, head...))
	require.NoError(t, err, label)
}
