package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// under runs a test with a token under a policy, in this process and behind a node.
func under(t *testing.T, p policy.Policy, f func(t *testing.T, e *env)) {
	t.Helper()
	for _, s := range []*Stack{
		inProcessUnder("mem", p, inMemory),
		overNodes("node", site{nodes: 1, policy: func(int) policy.Policy { return p }}),
	} {
		t.Run(s.Name, func(t *testing.T) { f(t, &env{Module: s.Open(t), stack: s}) })
	}
}

func aesGen() *mech { return &mech{Type: pkcs11.CKM_AES_KEY_GEN} }

// TestWhatThePolicyDeniesIsNotThere: neither in the list nor when it is asked for, and its keys stay.
func TestWhatThePolicyDeniesIsNotThere(t *testing.T) {
	ecb := &mech{Type: pkcs11.CKM_AES_ECB}
	for name, p := range map[string]policy.Policy{
		"denied":      {Deny: []pkcs11.MechanismType{pkcs11.CKM_AES_ECB, pkcs11.CKM_SHA256}},
		"not allowed": {Allow: []pkcs11.MechanismType{pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_CTR}},
	} {
		t.Run(name, func(t *testing.T) {
			under(t, p, func(t *testing.T, e *env) {
				list, err := e.GetMechanismList(e.slot)
				require.NoError(t, err)
				require.NotContains(t, list, pkcs11.CKM_AES_ECB)
				require.Contains(t, list, pkcs11.CKM_AES_CTR)
				if p.Allow != nil {
					require.Equal(t, slices.Sorted(slices.Values(p.Allow)), list)
				}
				_, err = e.GetMechanismInfo(e.slot, pkcs11.CKM_AES_ECB)
				rv(t, pkcs11.CKR_MECHANISM_INVALID, err)
				h := e.user(t)
				key := e.aes(t, h, yes(pkcs11.CKA_ENCRYPT))
				rv(t, pkcs11.CKR_MECHANISM_INVALID, e.EncryptInit(h, ecb, key))
				rv(t, pkcs11.CKR_MECHANISM_INVALID, e.DigestInit(h, &mech{Type: pkcs11.CKM_SHA256}))
				require.NoError(t, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 128}}, key))
				require.NoError(t, e.Encrypt(h, message(16), big16()))
			})
		})
	}
}

// TestSmallKeysAreRefused, wherever they come from.
func TestSmallKeysAreRefused(t *testing.T) {
	p := policy.Policy{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_AES: 192, pkcs11.CKK_EC: 384, pkcs11.CKK_RSA: 3072}}
	under(t, p, func(t *testing.T, e *env) {
		h := e.user(t)
		size := func(n uint) T { return num(pkcs11.CKA_VALUE_LEN, n) }
		_, err := e.GenerateKey(h, aesGen(), size(16))
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		_, err = e.GenerateKey(h, aesGen(), size(24))
		require.NoError(t, err)
		_, err = e.CreateObject(h, secretKey(pkcs11.CKK_AES, message(16)))
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		_, err = e.CreateObject(h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(16)))
		require.NoError(t, err, "another key type")

		kek := e.aes(t, h, wrapping, yes(pkcs11.CKA_DERIVE))
		out := e.wrapped(t, h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP}, kek,
			e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(16), yes(pkcs11.CKA_EXTRACTABLE))))
		_, err = e.UnwrapKey(h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP}, kek, out, aesKind)
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		derive := &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}}
		_, err = e.DeriveKey(h, derive, kek, with(aesKind, size(16)))
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		_, err = e.DeriveKey(h, derive, kek, with(aesKind, size(32)))
		require.NoError(t, err)

		for curve, want := range map[string]pkcs11.RV{
			"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07": pkcs11.CKR_KEY_SIZE_RANGE, // P-256
			"\x06\x05\x2b\x81\x04\x00\x22":             pkcs11.CKR_OK,             // P-384
		} {
			_, _, err = e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}, octets(pkcs11.CKA_EC_PARAMS, []byte(curve)), nil)
			rv(t, want, err)
		}
		_, _, err = e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN}, num(pkcs11.CKA_MODULUS_BITS, uint(2048)), nil)
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
		require.Empty(t, e.find(t, h, kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA)), "half a pair is left")
	})
}

// TestDatesBoundUse where the policy says so, and are mere attributes where it does not.
func TestDatesBoundUse(t *testing.T) {
	day := func(a pkcs11.AttributeType, days int) T {
		return octets(a, []byte(time.Now().UTC().AddDate(0, 0, days).Format("20060102")))
	}
	usage := yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE)
	for _, enforced := range []bool{true, false} {
		under(t, policy.Policy{Dates: enforced}, func(t *testing.T, e *env) {
			h := e.user(t)
			for name, c := range map[string]struct {
				dates T
				good  bool
			}{
				"no dates":     {nil, true},
				"in between":   {with(day(pkcs11.CKA_START_DATE, -2), day(pkcs11.CKA_END_DATE, 2)), true},
				"not yet":      {day(pkcs11.CKA_START_DATE, 2), false},
				"not any more": {day(pkcs11.CKA_END_DATE, -2), false},
			} {
				want := pkcs11.CKR_OK
				if enforced && !c.good {
					want = pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED
				}
				key := e.aes(t, h, usage, c.dates)
				cmac, kw := &mech{Type: pkcs11.CKM_AES_CMAC}, &mech{Type: pkcs11.CKM_AES_KEY_WRAP}
				other := e.aes(t, h, yes(pkcs11.CKA_EXTRACTABLE))
				rv(t, want, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_ECB}, key), name)
				rv(t, want, e.SignInit(h, cmac, key), name)
				rv(t, want, e.VerifyInit(h, cmac, key), name)
				rv(t, want, e.WrapKey(h, kw, e.aes(t, h, wrapping, c.dates), other, big16()), name)
				derive := &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}}
				_, err := e.DeriveKey(h, derive, key, with(aesKind, num(pkcs11.CKA_VALUE_LEN, uint(32))))
				rv(t, want, err, name)
				if want != pkcs11.CKR_OK {
					_, err = e.UnwrapKey(h, kw, key, message(24), aesKind)
					rv(t, want, err, name)
				}
				rv(t, pkcs11.CKR_OK, e.SessionCancel(h, pkcs11.CKF_ENCRYPT|pkcs11.CKF_SIGN|pkcs11.CKF_VERIFY))
			}
		})
	}
}

// TestOneKeyWrapsOrDecrypts, unless the policy says otherwise: neither at once nor in turn, nor in two copies.
func TestOneKeyWrapsOrDecrypts(t *testing.T) {
	wraps, decrypts := yes(pkcs11.CKA_WRAP), yes(pkcs11.CKA_DECRYPT)
	under(t, policy.Policy{}, func(t *testing.T, e *env) {
		h := e.user(t)
		both := with(wraps, decrypts)
		_, err := e.GenerateKey(h, aesGen(), with(num(pkcs11.CKA_VALUE_LEN, uint(16)), both))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		_, err = e.CreateObject(h, secretKey(pkcs11.CKK_AES, message(16), both, yes(pkcs11.CKA_SENSITIVE)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)

		kek := e.aes(t, h, wraps, yes(pkcs11.CKA_UNWRAP))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, e.SetAttributeValue(h, kek, decrypts))
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, kek, with(no(pkcs11.CKA_WRAP), decrypts)))
		_, err = e.CopyObject(h, kek, with(no(pkcs11.CKA_WRAP), decrypts))
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		require.NoError(t, e.SetAttributeValue(h, kek, no(pkcs11.CKA_WRAP)))
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, kek, decrypts), "in turn")

		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, kek, yes(pkcs11.CKA_ENCRYPT)), "in counter modes that is decrypting")

		key := e.aes(t, h, decrypts)
		require.NoError(t, e.SetAttributeValue(h, key, yes(pkcs11.CKA_ENCRYPT)))
		copied, err := e.CopyObject(h, key, no(pkcs11.CKA_DECRYPT, pkcs11.CKA_ENCRYPT, pkcs11.CKA_SIGN))
		require.NoError(t, err)
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, copied, wraps))
		// What a base key's template demands is the new key's as well.
		demanding := e.aes(t, h, yes(pkcs11.CKA_UNWRAP, pkcs11.CKA_WRAP), T{pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, decrypts)})
		out := e.wrapped(t, h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP}, demanding, e.aes(t, h, yes(pkcs11.CKA_EXTRACTABLE)))
		_, err = e.UnwrapKey(h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP}, demanding, out, with(aesKind, wraps))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)

		// A key that can be read hides nothing, nor does one of a password from whoever made it, as long as they stay in the session.
		readable, err := e.CreateObject(h, secretKey(pkcs11.CKK_AES, message(16), both, no(pkcs11.CKA_SENSITIVE), yes(pkcs11.CKA_EXTRACTABLE)))
		require.NoError(t, err)
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, e.SetAttributeValue(h, readable, yes(pkcs11.CKA_SENSITIVE)))
		_, err = e.CopyObject(h, readable, yes(pkcs11.CKA_TOKEN))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		fromPassword := &mech{Type: pkcs11.CKM_PKCS5_PBKD2, Params: &pkcs11.PBKD2Params{SaltSource: pkcs11.CKZ_SALT_SPECIFIED, Salt: []byte("salt"),
			Iterations: 3, PRF: pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256, Password: []byte("password")}}
		asked := with(num(pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_AES)), num(pkcs11.CKA_VALUE_LEN, uint(16)), both, yes(pkcs11.CKA_UNWRAP))
		free, err := e.GenerateKey(h, fromPassword, asked)
		require.NoError(t, err)
		e.has(t, h, free, both)
		_, err = e.GenerateKey(h, fromPassword, with(asked, yes(pkcs11.CKA_TOKEN)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		_, err = e.CopyObject(h, free, yes(pkcs11.CKA_TOKEN))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
	})
	under(t, roomy, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h, wraps, decrypts)
		copied, err := e.CopyObject(h, e.aes(t, h, wraps), decrypts)
		require.NoError(t, err)
		e.has(t, h, key, with(wraps, decrypts))
		e.has(t, h, copied, with(wraps, decrypts))
	})
}

// TestNodesOfTwoPoliciesShowWhatBothAllow.
func TestNodesOfTwoPoliciesShowWhatBothAllow(t *testing.T) {
	s := overNodes("two", site{nodes: 2, tls: true, policy: func(i int) policy.Policy {
		return policy.Policy{Deny: [][]pkcs11.MechanismType{{pkcs11.CKM_AES_ECB}, {pkcs11.CKM_AES_CTR}}[i]}
	}})
	e := &env{Module: s.Open(t), stack: s}
	require.Eventually(t, func() bool { // both have been reached
		list, err := e.GetMechanismList(e.slot)
		return err == nil && !slices.Contains(list, pkcs11.CKM_AES_ECB) && !slices.Contains(list, pkcs11.CKM_AES_CTR) &&
			slices.Contains(list, pkcs11.CKM_AES_GCM)
	}, time.Minute, 10*time.Millisecond)
}
