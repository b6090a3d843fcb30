package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestLocalIsTrueOnlyForWhatWasMadeInside(t *testing.T) {
	none := num(pkcs11.CKA_KEY_GEN_MECHANISM, uint(pkcs11.CK_UNAVAILABLE_INFORMATION))
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		made := e.aes(t, h, yes(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE, pkcs11.CKA_EXTRACTABLE))
		e.has(t, h, made, with(yes(pkcs11.CKA_LOCAL), num(pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.CKM_AES_KEY_GEN)))
		copied, err := e.CopyObject(h, made, nil)
		require.NoError(t, err)
		e.has(t, h, copied, with(yes(pkcs11.CKA_LOCAL), num(pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.CKM_AES_KEY_GEN)))

		foreign := with(no(pkcs11.CKA_LOCAL), none, no(pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE))
		protected := with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE))
		imported := e.create(t, h, secretKey(pkcs11.CKK_AES, message(16), protected))
		e.has(t, h, imported, foreign)
		copied, err = e.CopyObject(h, imported, nil)
		require.NoError(t, err)
		e.has(t, h, copied, foreign)

		kwp := &mech{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}
		o := &out{Capacity: 64}
		require.NoError(t, e.WrapKey(h, kwp, made, made, o))
		unwrapped, err := e.UnwrapKey(h, kwp, made, o.Bytes, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), protected))
		require.NoError(t, err)
		e.has(t, h, unwrapped, foreign)
		derived, err := e.DeriveKey(h, &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}},
			made, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), protected))
		require.NoError(t, err)
		e.has(t, h, derived, with(no(pkcs11.CKA_LOCAL), none))
	})
}

// TestDefaultsProtect: a template that says nothing gives a key that stays inside.
func TestDefaultsProtect(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		inside := with(yes(pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE),
			no(pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_TOKEN, pkcs11.CKA_WRAP_WITH_TRUSTED))
		e.has(t, h, e.aes(t, h), with(inside, no(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE, pkcs11.CKA_TRUSTED)))
		for _, params := range [][]byte{p256, ed25519, x25519} {
			pub, priv := e.ec(t, h, params)
			e.has(t, h, priv, with(inside, no(pkcs11.CKA_ALWAYS_AUTHENTICATE)))
			e.has(t, h, pub, no(pkcs11.CKA_PRIVATE, pkcs11.CKA_TRUSTED))
			require.Equal(t, e.value(t, h, pub, pkcs11.CKA_PUBLIC_KEY_INFO), e.value(t, h, priv, pkcs11.CKA_PUBLIC_KEY_INFO))
		}
	})
}

// TestKeysOfFewWords: programs that name neither usage nor protection (Java's SunPKCS11) agree on secrets that they can read,
// and wrap the keys that they bring. A token's keys have none of that.
func TestKeysOfFewWords(t *testing.T) {
	curve := octets(pkcs11.CKA_EC_PARAMS, p256)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		agree := func(key, peer handle, more ...T) (handle, error) {
			point, _ := e.value(t, h, peer, pkcs11.CKA_EC_POINT).([]byte)
			p := &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}
			return e.DeriveKey(h, &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: p}, key, with(more...))
		}
		generic := kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET)
		pub, priv := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, curve, nil)
		pub2, priv2 := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, curve, nil)
		e.has(t, h, priv, yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE))
		one, err := agree(priv, pub2, generic)
		require.NoError(t, err)
		two, err := agree(priv2, pub, generic)
		require.NoError(t, err)
		require.Equal(t, e.value(t, h, one, pkcs11.CKA_VALUE), e.value(t, h, two, pkcs11.CKA_VALUE))
		for _, more := range []T{yes(pkcs11.CKA_TOKEN), yes(pkcs11.CKA_SENSITIVE), with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), num(pkcs11.CKA_VALUE_LEN, uint(32)))} {
			key, err := agree(priv, pub2, more)
			require.NoError(t, err)
			e.has(t, h, key, with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE)))
			require.Equal(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, e.missing(t, h, key, pkcs11.CKA_VALUE))
		}

		kept, err := e.CopyObject(h, priv, yes(pkcs11.CKA_TOKEN))
		require.NoError(t, err)
		e.has(t, h, kept, yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE))
		pub3, lasting := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, curve, yes(pkcs11.CKA_TOKEN))
		e.has(t, h, lasting, with(yes(pkcs11.CKA_SIGN), no(pkcs11.CKA_DERIVE)))
		_, err = agree(lasting, pub3, generic)
		rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err)

		rsaPub, rsaPriv := e.pair(t, h, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, num(pkcs11.CKA_MODULUS_BITS, uint(2048)), nil)
		e.has(t, h, rsaPub, yes(pkcs11.CKA_VERIFY_RECOVER))
		brought := e.create(t, h, secretKey(pkcs11.CKK_AES, message(16)))
		e.has(t, h, brought, yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE))
		m := &mech{Type: pkcs11.CKM_RSA_PKCS}
		o := &out{Capacity: 256}
		require.NoError(t, e.WrapKey(h, m, rsaPub, brought, o))
		_, err = e.UnwrapKey(h, m, rsaPriv, o.Bytes, kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES))
		require.NoError(t, err)
		rv(t, pkcs11.CKR_KEY_UNEXTRACTABLE, e.WrapKey(h, m, rsaPub, e.create(t, h, secretKey(pkcs11.CKK_AES, message(16), yes(pkcs11.CKA_TOKEN))), o))
		rv(t, pkcs11.CKR_KEY_UNEXTRACTABLE, e.WrapKey(h, m, rsaPub, e.aes(t, h), o))
	})
}

func TestKeyPairsAreMadeWholeOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		before := len(e.find(t, h, nil))
		ec := &mech{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}
		params := octets(pkcs11.CKA_EC_PARAMS, p256)
		for name, c := range map[string]struct{ public, private T }{
			"private":     {params, yes(pkcs11.CKA_LOCAL)},
			"public":      {with(params, yes(pkcs11.CKA_LOCAL)), nil},
			"no curve":    {nil, nil},
			"odd curve":   {octets(pkcs11.CKA_EC_PARAMS, []byte{6, 1, 1}), nil},
			"other class": {params, num(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)},
		} {
			_, _, err := e.GenerateKeyPair(h, ec, c.public, c.private)
			require.Error(t, err, name)
		}
		require.Len(t, e.find(t, h, nil), before)
		pub, priv := e.pair(t, h, ec.Type, with(params, yes(pkcs11.CKA_TOKEN)), no(pkcs11.CKA_TOKEN))
		e.has(t, h, pub, yes(pkcs11.CKA_TOKEN))
		e.has(t, h, priv, no(pkcs11.CKA_TOKEN))
	})
}

func TestGeneratedSizesOutOfRange(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, n := range []uint{0, 1, 15, 17, 33, 1 << 40, ^uint(0)} {
			_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, n))
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		}
		for _, n := range []uint{0, 1 << 40, ^uint(0)} {
			_, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN}, num(pkcs11.CKA_VALUE_LEN, n))
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		}
		for _, n := range []uint{0, 512, 2047, 1 << 40, ^uint(0)} {
			_, _, err := e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN}, num(pkcs11.CKA_MODULUS_BITS, n), nil)
			oneOf(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		}
	})
}
