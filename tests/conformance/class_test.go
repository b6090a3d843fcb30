package conformance

import (
	"crypto/sha1"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Groups that are too small to use and large enough to check: of order 22 and 11 modulo 23.
var (
	dhGroup  = with(octets(pkcs11.CKA_PRIME, []byte{23}), octets(pkcs11.CKA_BASE, []byte{5}))
	dsaGroup = with(octets(pkcs11.CKA_PRIME, []byte{23}), octets(pkcs11.CKA_SUBPRIME, []byte{11}), octets(pkcs11.CKA_BASE, []byte{4}))
)

// TestDomainParameters have sizes that are counted, and hold together.
func TestDomainParameters(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		o := e.create(t, h, with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, pkcs11.CKK_DSA), dsaGroup))
		e.has(t, h, o, with(num(pkcs11.CKA_PRIME_BITS, uint(5)), num(pkcs11.CKA_SUBPRIME_BITS, uint(4)), no(pkcs11.CKA_LOCAL, pkcs11.CKA_PRIVATE)))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.SignInit(h, &mech{Type: pkcs11.CKM_SHA256_HMAC}, o))
		for name, c := range map[string]struct {
			template T
			want     pkcs11.RV
		}{
			"no prime":         {octets(pkcs11.CKA_BASE, []byte{5}), pkcs11.CKR_TEMPLATE_INCOMPLETE},
			"an even prime":    {with(dhGroup, octets(pkcs11.CKA_PRIME, []byte{24})), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
			"an empty prime":   {with(dhGroup, octets(pkcs11.CKA_PRIME, nil)), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
			"base 1":           {with(dhGroup, octets(pkcs11.CKA_BASE, []byte{1})), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
			"base p-1":         {with(dhGroup, octets(pkcs11.CKA_BASE, []byte{22})), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
			"base beyond p":    {with(dhGroup, octets(pkcs11.CKA_BASE, []byte{27})), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
			"sizes of its own": {with(dhGroup, num(pkcs11.CKA_PRIME_BITS, uint(5))), pkcs11.CKR_ATTRIBUTE_READ_ONLY},
			"a huge prime":     {with(dhGroup, octets(pkcs11.CKA_PRIME, append(message(4096), 1))), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		} {
			_, err := e.CreateObject(h, with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, pkcs11.CKK_DH), c.template))
			rv(t, c.want, err, name)
		}
		for name, bad := range map[string]T{
			"a subprime that does not divide": octets(pkcs11.CKA_SUBPRIME, []byte{7}),
			"a subprime of nothing":           octets(pkcs11.CKA_SUBPRIME, []byte{0}),
			"a base of another order":         octets(pkcs11.CKA_BASE, []byte{5}),
		} {
			_, err := e.CreateObject(h, with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, pkcs11.CKK_DSA), dsaGroup, bad))
			rv(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err, name)
		}
	})
}

// TestCheckValuesAreComputedAndChecked: of secret keys and certificates of all types; an empty one is a wish to have none.
func TestCheckValuesAreComputedAndChecked(t *testing.T) {
	der, subject := certificate(t)
	sum := func(b []byte) []byte { s := sha1.Sum(b); return s[:3] }
	value := message(16)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		// Of an AES key it is the beginning of a block of zeros, encrypted.
		zeros := e.create(t, h, secretKey(pkcs11.CKK_AES, value, yes(pkcs11.CKA_ENCRYPT)))
		o := big16()
		require.NoError(t, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_ECB}, zeros))
		require.NoError(t, e.Encrypt(h, make([]byte, 16), o))
		aesCheck := o.Bytes[:3:3]
		for name, c := range map[string]struct {
			template T
			check    []byte
		}{
			"AES":            {secretKey(pkcs11.CKK_AES, value), aesCheck},
			"generic secret": {secretKey(pkcs11.CKK_GENERIC_SECRET, value), sum(value)},
			"HMAC":           {secretKey(pkcs11.CKK_SHA256_HMAC, value), sum(value)},
			"X.509": {with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
				octets(pkcs11.CKA_VALUE, der)), sum(der)},
			"X.509 attribute certificate": {with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509_ATTR_CERT),
				octets(pkcs11.CKA_OWNER, subject), octets(pkcs11.CKA_VALUE, der)), sum(der)},
			"WTLS": {with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_WTLS),
				octets(pkcs11.CKA_SUBJECT, subject), octets(pkcs11.CKA_VALUE, value)), sum(value)},
		} {
			made := e.create(t, h, c.template)
			e.has(t, h, made, octets(pkcs11.CKA_CHECK_VALUE, c.check))
			e.create(t, h, with(c.template, octets(pkcs11.CKA_CHECK_VALUE, c.check)))
			_, err := e.CreateObject(h, with(c.template, octets(pkcs11.CKA_CHECK_VALUE, []byte{1, 2, 3})))
			rv(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err, name)
			none := e.create(t, h, with(c.template, octets(pkcs11.CKA_CHECK_VALUE, nil)))
			e.has(t, h, none, octets(pkcs11.CKA_CHECK_VALUE, []byte{}))
		}
		_, err := e.CreateObject(h, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509_ATTR_CERT),
			octets(pkcs11.CKA_VALUE, value)))
		rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err, "no owner")
	})
}
