package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestHSSKeysRunOut: every signature takes one off CKA_HSS_KEYS_REMAINING, a question for its length none, and there is an end.
func TestHSSKeysRunOut(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		// LMS_SHA256_M32_H5 with LMOTS_SHA256_N32_W4.
		private := with(yes(pkcs11.CKA_TOKEN), num(pkcs11.CKA_HSS_LEVELS, uint(1)),
			T{pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, []uint{5}), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, []uint{3})})
		_, _, err := e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_HSS_KEY_PAIR_GEN}, nil, with(private[1:]))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err, "a session object")
		pub, priv := e.pair(t, h, pkcs11.CKM_HSS_KEY_PAIR_GEN, nil, private)
		e.has(t, h, priv, with(yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE), no(pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_COPYABLE),
			num(pkcs11.CKA_HSS_KEYS_REMAINING, uint(32))))
		e.has(t, h, pub, with(num(pkcs11.CKA_HSS_LEVELS, uint(1)), num(pkcs11.CKA_HSS_LMS_TYPE, uint(5)), num(pkcs11.CKA_HSS_LMOTS_TYPE, uint(3))))
		hss := &mech{Type: pkcs11.CKM_HSS}
		seen := map[string]bool{}
		for left := uint(32); left > 0; left-- {
			require.Equal(t, left, e.value(t, h, priv, pkcs11.CKA_HSS_KEYS_REMAINING))
			require.NoError(t, e.SignInit(h, hss, priv))
			o := &out{Query: true}
			require.NoError(t, e.Sign(h, message(20), o))
			require.EqualValues(t, 4+8+4+32+67*32+5*32, o.Length)
			o = &out{Capacity: 1 << 16}
			require.NoError(t, e.Sign(h, message(20), o))
			index := string(o.Bytes[4:8])
			require.False(t, seen[index], "index %x twice", index)
			seen[index] = true
			require.NoError(t, e.VerifyInit(h, hss, pub))
			require.NoError(t, e.Verify(h, message(20), o.Bytes))
		}
		require.NoError(t, e.SignInit(h, hss, priv))
		rv(t, pkcs11.CKR_KEY_EXHAUSTED, e.Sign(h, message(20), &out{Capacity: 1 << 16}))
		require.Equal(t, uint(0), e.value(t, h, priv, pkcs11.CKA_HSS_KEYS_REMAINING))
		require.NoError(t, e.DestroyObject(h, priv))
	})
}

// TestHSSWithEveryHash: the parameter sets of SP 800-208, on two levels.
func TestHSSWithEveryHash(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		scheme := func(lms, lmots []uint) T {
			return with(yes(pkcs11.CKA_TOKEN), num(pkcs11.CKA_HSS_LEVELS, uint(2)),
				T{pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, lms), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, lmots)})
		}
		hss := &mech{Type: pkcs11.CKM_HSS}
		for _, set := range [][2]uint{{10, 7}, {15, 11}, {20, 15}} {
			pub, priv := e.pair(t, h, pkcs11.CKM_HSS_KEY_PAIR_GEN, nil, scheme([]uint{set[0], set[0]}, []uint{set[1], set[1]}))
			e.has(t, h, pub, with(num(pkcs11.CKA_HSS_LMS_TYPE, set[0]), num(pkcs11.CKA_HSS_LMOTS_TYPE, set[1])))
			require.Equal(t, uint(1024), e.value(t, h, priv, pkcs11.CKA_HSS_KEYS_REMAINING))
			require.NoError(t, e.SignInit(h, hss, priv))
			o := &out{Capacity: 1 << 16}
			require.NoError(t, e.Sign(h, message(20), o))
			value := e.value(t, h, pub, pkcs11.CKA_VALUE).([]byte)
			from := e.create(t, h, with(kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_HSS), octets(pkcs11.CKA_VALUE, value)))
			require.NoError(t, e.VerifyInit(h, hss, from))
			require.NoError(t, e.Verify(h, message(20), o.Bytes))
			o.Bytes[len(o.Bytes)-1] ^= 1
			require.NoError(t, e.VerifyInit(h, hss, from))
			rv(t, pkcs11.CKR_SIGNATURE_INVALID, e.Verify(h, message(20), o.Bytes))
		}
		_, _, err := e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_HSS_KEY_PAIR_GEN}, nil, scheme([]uint{5, 10}, []uint{3, 7}))
		rv(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err, "two hashes")
	})
}
