package conformance

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestInvalidEdwardsAndMontgomeryKeysAreRefused(t *testing.T) {
	small := make([]byte, 32)
	small[0] = 1 // the neutral element of Ed25519, a point of order 1 of X25519
	off := bytes.Repeat([]byte{0xff}, 32)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		public := func(kt pkcs11.KeyType, params, point []byte) error {
			return second(e.CreateObject(h, with(kind(pkcs11.CKO_PUBLIC_KEY, kt), octets(pkcs11.CKA_EC_PARAMS, params), octets(pkcs11.CKA_EC_POINT, point))))
		}
		private := func(kt pkcs11.KeyType, params, value []byte) error {
			return second(e.CreateObject(h, with(kind(pkcs11.CKO_PRIVATE_KEY, kt), octets(pkcs11.CKA_EC_PARAMS, params), octets(pkcs11.CKA_VALUE, value))))
		}
		good := newKeySet(e, h).of(t, pkcs11.CKK_EC_EDWARDS).pubValues.Bytes(pkcs11.CKA_EC_POINT)
		require.NoError(t, public(pkcs11.CKK_EC_EDWARDS, ed25519, good))
		require.NoError(t, public(pkcs11.CKK_EC_EDWARDS, ed25519, good[2:]), "without the DER frame")
		refused := func(err error, what string) {
			t.Helper()
			require.Contains(t, []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_TEMPLATE_INCONSISTENT,
				pkcs11.CKR_DOMAIN_PARAMS_INVALID, pkcs11.CKR_CURVE_NOT_SUPPORTED}, pkcs11.RVOf(err), "%s: %v", what, err)
		}
		refused(public(pkcs11.CKK_EC_EDWARDS, ed25519, small), "Ed25519, small order")
		refused(public(pkcs11.CKK_EC_EDWARDS, ed25519, off), "Ed25519, off the curve")
		refused(public(pkcs11.CKK_EC_EDWARDS, ed25519, good[:31]), "Ed25519, cut off")
		refused(public(pkcs11.CKK_EC_EDWARDS, x25519, good), "Ed25519 on Curve25519")
		refused(public(pkcs11.CKK_EC_MONTGOMERY, x25519, small), "X25519, small order")
		refused(public(pkcs11.CKK_EC_MONTGOMERY, x25519, make([]byte, 32)), "X25519, zero")
		refused(public(pkcs11.CKK_EC, p256, append([]byte{4}, make([]byte, 64)...)), "P-256, off the curve")
		refused(public(pkcs11.CKK_EC, p256, []byte{0}), "P-256, at infinity")
		for _, n := range []int{0, 31, 33} {
			refused(private(pkcs11.CKK_EC_EDWARDS, ed25519, message(n)), fmt.Sprint("Ed25519 private of ", n))
			refused(private(pkcs11.CKK_EC_MONTGOMERY, x25519, message(n)), fmt.Sprint("X25519 private of ", n))
		}
		refused(private(pkcs11.CKK_EC, p256, make([]byte, 32)), "P-256 private of zero")
		refused(private(pkcs11.CKK_EC, p256, off), "P-256 private beyond the order")
	})
}

// TestOAEPLabelIsUsed, in encryption and in wrapping.
func TestOAEPLabelIsUsed(t *testing.T) {
	oaep := func(label string) *pkcs11.OAEPParams {
		return &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, Source: pkcs11.CKZ_DATA_SPECIFIED, SourceData: []byte(label)}
	}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := newKeySet(e, h).of(t, pkcs11.CKK_RSA)
		for _, c := range []struct{ right, wrong mech }{
			{mech{Type: pkcs11.CKM_RSA_PKCS_OAEP, Params: oaep("one")}, mech{Type: pkcs11.CKM_RSA_PKCS_OAEP, Params: oaep("two")}},
			{mech{Type: pkcs11.CKM_RSA_AES_KEY_WRAP, Params: &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEP: oaep("one")}},
				mech{Type: pkcs11.CKM_RSA_AES_KEY_WRAP, Params: &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEP: oaep("")}}},
		} {
			blob := e.wrapped(t, h, &c.right, key.pub, e.aes(t, h, leaves))
			_, err := e.UnwrapKey(h, &c.wrong, key.priv, blob, aesKind)
			rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err)
			_, err = e.UnwrapKey(h, &c.right, key.priv, blob, aesKind)
			require.NoError(t, err)
		}
		right, wrong := &mech{Type: pkcs11.CKM_RSA_PKCS_OAEP, Params: oaep("one")}, &mech{Type: pkcs11.CKM_RSA_PKCS_OAEP, Params: oaep("")}
		sealed := e.sealed(t, h, right, key.pub, []byte("text"))
		_, err := e.decrypted(h, wrong, key.priv, sealed)
		rv(t, pkcs11.CKR_ENCRYPTED_DATA_INVALID, err)
		got, err := e.decrypted(h, right, key.priv, sealed)
		require.NoError(t, err)
		require.Equal(t, "text", string(got))
	})
}

func TestOAEPWithEveryHashAndMask(t *testing.T) {
	digests := []pkcs11.MechanismType{pkcs11.CKM_SHA_1, pkcs11.CKM_SHA224, pkcs11.CKM_SHA256, pkcs11.CKM_SHA384, pkcs11.CKM_SHA512,
		pkcs11.CKM_SHA3_224, pkcs11.CKM_SHA3_256, pkcs11.CKM_SHA3_384, pkcs11.CKM_SHA3_512}
	masks := []pkcs11.MGFType{pkcs11.CKG_MGF1_SHA1, pkcs11.CKG_MGF1_SHA224, pkcs11.CKG_MGF1_SHA256, pkcs11.CKG_MGF1_SHA384,
		pkcs11.CKG_MGF1_SHA512, pkcs11.CKG_MGF1_SHA3_224, pkcs11.CKG_MGF1_SHA3_256, pkcs11.CKG_MGF1_SHA3_384, pkcs11.CKG_MGF1_SHA3_512}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := newKeySet(e, h).of(t, pkcs11.CKK_RSA)
		for _, d := range digests {
			for _, g := range masks {
				m := &mech{Type: pkcs11.CKM_RSA_PKCS_OAEP, Params: &pkcs11.OAEPParams{HashAlg: d, MGF: g, Source: pkcs11.CKZ_DATA_SPECIFIED}}
				got, err := e.decrypted(h, m, key.priv, e.sealed(t, h, m, key.pub, []byte("text")))
				require.NoError(t, err, "%v, %v", d, g)
				require.Equal(t, "text", string(got))
			}
		}
	})
}

func TestHMACKeysOfAnyLength(t *testing.T) {
	m := &mech{Type: pkcs11.CKM_SHA256_HMAC}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, n := range []int{1, 3, 13, 32, 63, 64, 65, 200, 5000} {
			for _, kt := range []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_SHA256_HMAC} {
				state := hmac.New(sha256.New, message(n))
				state.Write([]byte("text"))
				require.Equal(t, state.Sum(nil), e.signed(t, h, m, e.create(t, h, secretKey(kt, message(n))), []byte("text")))
			}
		}
	})
}

// TestKWPOfShortKeys and of long ones.
func TestKWPOfShortKeys(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, wrapping, readable)
		for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 24, 100, 1000} {
			key := e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(n), readable))
			blob := e.wrapped(t, h, kwp, kek, key)
			require.Len(t, blob, (n+7)/8*8+8)
			o, err := e.UnwrapKey(h, kwp, kek, blob, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable))
			require.NoError(t, err, "%d bytes", n)
			e.has(t, h, o, octets(pkcs11.CKA_VALUE, message(n)))
		}
	})
}

// TestManyThreadsGenerateAndSignAtOnce with token keys of their own and one that all share.
func TestManyThreadsGenerateAndSignAtOnce(t *testing.T) {
	const threads, rounds = 8, 6
	m := &mech{Type: pkcs11.CKM_ECDSA_SHA256}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		pub, priv := e.ec(t, h, p256, yes(pkcs11.CKA_TOKEN))
		var wg sync.WaitGroup
		errs := make(chan error, threads)
		for i := range threads {
			s := e.public(t)
			wg.Go(func() { errs <- e.churn(s, m, pub, priv, rounds, i) })
		}
		wg.Wait()
		for range threads {
			require.NoError(t, <-errs)
		}
		require.Len(t, e.find(t, h, with(text(pkcs11.CKA_LABEL, "churned"), num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES))), threads*rounds)
	})
}

// churn makes token keys and signs, in one session.
func (e *env) churn(s session, m *mech, pub, priv handle, rounds, who int) error {
	template := with(num(pkcs11.CKA_VALUE_LEN, uint(32)), yes(pkcs11.CKA_TOKEN), text(pkcs11.CKA_LABEL, "churned"))
	for i := range rounds {
		in, o := []byte(fmt.Sprint(who, i)), big16()
		key, err := e.GenerateKey(s, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, template)
		for _, step := range []func() error{
			func() error { return err },
			func() error { return e.SignInit(s, m, priv) },
			func() error { return e.Sign(s, in, o) },
			func() error { return e.VerifyInit(s, m, pub) },
			func() error { return e.Verify(s, in, o.Bytes) },
			func() error { return e.EncryptInit(s, &mech{Type: pkcs11.CKM_AES_ECB}, key) },
			func() error { return e.Encrypt(s, make([]byte, 16), big16()) },
			func() error { return e.SetAttributeValue(s, key, octets(pkcs11.CKA_ID, in)) },
		} {
			if err := step(); err != nil {
				return fmt.Errorf("round %d: %w", i, err)
			}
		}
	}
	return nil
}

// TestTwoViewsOfOneToken see each other's changes: two libraries on one file, as two processes have it.
func TestTwoViewsOfOneToken(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.needs(t, secondView)
		h := e.user(t)
		l := bare(t, roomy, inFile(sqlitePath(t)))
		require.NoError(t, l.Initialize(nil))
		other := &env{Module: e.rec.over(l), stack: e.stack, rec: e.rec}
		g := other.user(t)
		mine := e.aes(t, h, yes(pkcs11.CKA_TOKEN), text(pkcs11.CKA_LABEL, "shared"))
		theirs := other.find(t, g, text(pkcs11.CKA_LABEL, "shared"))
		require.Len(t, theirs, 1)
		ecb := &mech{Type: pkcs11.CKM_AES_ECB}
		got, err := other.decrypted(g, ecb, theirs[0], e.sealed(t, h, ecb, mine, message(16)))
		require.NoError(t, err)
		require.Equal(t, message(16), got)
		require.NoError(t, other.SetAttributeValue(g, theirs[0], text(pkcs11.CKA_LABEL, "renamed")))
		e.has(t, h, mine, text(pkcs11.CKA_LABEL, "renamed"))
		require.NoError(t, e.DestroyObject(h, mine))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, other.EncryptInit(g, ecb, theirs[0]))
		require.NoError(t, other.SetPIN(g, userPIN, []byte("another PIN")))
		_, err = e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, uint(16)))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err, "a new PIN ends the logins under the old one")
	})
}
