package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// certificate returns a self-signed certificate and the DER of its subject.
func certificate(t *testing.T) (der, subject []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "coffer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return der, parsed.RawSubject
}

// TestCreateEachClass imports one object of each class, on the token and in the session.
func TestCreateEachClass(t *testing.T) {
	der, subject := certificate(t)
	x509 := with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509), octets(pkcs11.CKA_VALUE, der))
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		set := newKeySet(e, h)
		templates := map[string]T{
			"data": with(data("d"), text(pkcs11.CKA_APPLICATION, "app"), octets(pkcs11.CKA_OBJECT_ID, []byte{6, 1, 42})),
			"x509": with(x509, octets(pkcs11.CKA_SUBJECT, subject), octets(pkcs11.CKA_ID, []byte{1})),
			"attribute certificate": with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509_ATTR_CERT),
				octets(pkcs11.CKA_OWNER, subject), octets(pkcs11.CKA_AC_ISSUER, subject), octets(pkcs11.CKA_SERIAL_NUMBER, []byte{2, 1, 7}),
				octets(pkcs11.CKA_ATTR_TYPES, []byte{0x30, 0}), octets(pkcs11.CKA_VALUE, []byte{0x30, 0})),
			"WTLS certificate": with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_WTLS),
				octets(pkcs11.CKA_SUBJECT, subject), octets(pkcs11.CKA_VALUE, []byte{1})),
			"trust": with(num(pkcs11.CKA_CLASS, pkcs11.CKO_TRUST), octets(pkcs11.CKA_ISSUER, subject), octets(pkcs11.CKA_SERIAL_NUMBER, []byte{2, 1, 7})),
		}
		for kt, group := range map[pkcs11.KeyType]T{pkcs11.CKK_DH: dhGroup, pkcs11.CKK_DSA: dsaGroup, pkcs11.CKK_X9_42_DH: dsaGroup} {
			templates["domain parameters "+kt.String()] = with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, kt), group)
		}
		for _, kt := range []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_EC_MONTGOMERY,
			pkcs11.CKK_AES, pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_SHA256_HMAC} {
			k := set.of(t, kt)
			templates[kt.String()+" "+"private or secret"] = with(k.privKind, k.values)
			if !k.secret {
				templates[kt.String()+" "+"public"] = with(k.pubKind, k.pubValues)
			}
		}
		for name, template := range templates {
			for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
				o, err := e.CreateObject(h, with(template, where, text(pkcs11.CKA_LABEL, name)))
				require.NoError(t, err, name)
				e.has(t, h, o, with(where, text(pkcs11.CKA_LABEL, name)))
				size, err := e.GetObjectSize(h, o)
				require.NoError(t, err)
				require.Positive(t, size)
				require.NoError(t, e.DestroyObject(h, o))
				rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, e.DestroyObject(h, o))
			}
		}
		o := e.create(t, h, x509)
		e.has(t, h, o, octets(pkcs11.CKA_SUBJECT, subject)) // taken from the certificate
	})
}

// TestBadTemplates: each has its own return value, and nothing is made.
func TestBadTemplates(t *testing.T) {
	value := message(32)
	good := secretKey(pkcs11.CKK_AES, value)
	twice := func(a T) T { return append(append(T{}, good...), a...) }
	cases := map[string]struct {
		template T
		want     []pkcs11.RV
	}{
		"nothing":                  {nil, []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCOMPLETE}},
		"no key type":              {with(num(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), octets(pkcs11.CKA_VALUE, value)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCOMPLETE}},
		"no value":                 {kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCOMPLETE}},
		"no such class":            {with(good, num(pkcs11.CKA_CLASS, uint(0x7777))), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"no such key type":         {with(good, num(pkcs11.CKA_KEY_TYPE, uint(0x7777))), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"a private AES key":        {with(good, num(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"twice, the same":          {twice(octets(pkcs11.CKA_VALUE, value)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"twice, contradictory":     {twice(octets(pkcs11.CKA_VALUE, message(16))), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"two classes":              {twice(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"of another class":         {with(good, octets(pkcs11.CKA_MODULUS, value)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"CKA_LOCAL":                {with(good, yes(pkcs11.CKA_LOCAL)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		"CKA_ALWAYS_SENSITIVE":     {with(good, yes(pkcs11.CKA_ALWAYS_SENSITIVE)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		"CKA_NEVER_EXTRACTABLE":    {with(good, yes(pkcs11.CKA_NEVER_EXTRACTABLE)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		"CKA_UNIQUE_ID":            {with(good, text(pkcs11.CKA_UNIQUE_ID, "mine")), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		"a length":                 {with(good, num(pkcs11.CKA_VALUE_LEN, uint(32))), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		"17 bytes":                 {secretKey(pkcs11.CKK_AES, message(17)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"0 bytes":                  {secretKey(pkcs11.CKK_AES, nil), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"no generic bytes":         {secretKey(pkcs11.CKK_GENERIC_SECRET, nil), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"a month 13":               {with(good, text(pkcs11.CKA_START_DATE, "20261301")), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"an end before its start":  {with(good, text(pkcs11.CKA_START_DATE, "20260102"), text(pkcs11.CKA_END_DATE, "20260101")), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"no mechanisms allowed":    {with(good, T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{})}), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"a wrong check value":      {with(good, octets(pkcs11.CKA_CHECK_VALUE, []byte{1, 2, 3})), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}},
		"a profile":                {num(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
		"a certificate of nothing": {with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509)), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCOMPLETE}},
		"an unknown attribute":     {with(good, octets(pkcs11.CKA_VENDOR_DEFINED+0x999, nil)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_TYPE_INVALID}},
	}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		before := len(e.find(t, h, nil))
		for name, c := range cases {
			_, err := e.CreateObject(h, c.template)
			require.Contains(t, c.want, pkcs11.RVOf(err), "%s: %v", name, err)
		}
		require.Len(t, e.find(t, h, nil), before)
		e.create(t, h, good)
	})
}

// TestUniqueID: every object has one of its own, a copy too, and is found by it.
func TestUniqueID(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		seen := map[string]bool{}
		for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
			a := e.aes(t, h, where)
			b, err := e.CopyObject(h, a, nil)
			require.NoError(t, err)
			for _, o := range []handle{a, b} {
				id, _ := e.value(t, h, o, pkcs11.CKA_UNIQUE_ID).([]byte)
				require.NotEmpty(t, id)
				require.False(t, seen[string(id)], "twice: %s", id)
				seen[string(id)] = true
				require.Equal(t, []handle{o}, e.find(t, h, octets(pkcs11.CKA_UNIQUE_ID, id)))
				rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, o, text(pkcs11.CKA_UNIQUE_ID, "mine")))
			}
		}
	})
}

// TestModifiableCopyableDestroyable are obeyed.
func TestModifiableCopyableDestroyable(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
			fixed := e.create(t, h, data("fixed", where, no(pkcs11.CKA_MODIFIABLE)))
			rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.SetAttributeValue(h, fixed, text(pkcs11.CKA_LABEL, "x")))
			rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.SetAttributeValue(h, fixed, yes(pkcs11.CKA_MODIFIABLE)))
			single := e.aes(t, h, where, no(pkcs11.CKA_COPYABLE))
			_, err := e.CopyObject(h, single, nil)
			rv(t, pkcs11.CKR_ACTION_PROHIBITED, err)
			rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, single, yes(pkcs11.CKA_COPYABLE)), "never again")
			lasting := e.create(t, h, data("lasting", no(pkcs11.CKA_TOKEN, pkcs11.CKA_DESTROYABLE)))
			rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.DestroyObject(h, lasting))
			rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, lasting, yes(pkcs11.CKA_DESTROYABLE)))
			e.has(t, h, lasting, text(pkcs11.CKA_LABEL, "lasting"))
		}
	})
}

func TestSetAttributeValueIsAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
			o := e.aes(t, h, where, text(pkcs11.CKA_LABEL, "before"))
			bad := append(text(pkcs11.CKA_LABEL, "after"), num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)...)
			rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, o, bad))
			e.has(t, h, o, text(pkcs11.CKA_LABEL, "before"))
			require.NoError(t, e.SetAttributeValue(h, o, with(text(pkcs11.CKA_LABEL, "after"), octets(pkcs11.CKA_ID, []byte{9}))))
			e.has(t, h, o, with(text(pkcs11.CKA_LABEL, "after"), octets(pkcs11.CKA_ID, []byte{9})))
			require.Equal(t, []handle{o}, e.find(t, h, octets(pkcs11.CKA_ID, []byte{9})))
			require.Empty(t, e.find(t, h, text(pkcs11.CKA_LABEL, "before")))
			require.NoError(t, e.DestroyObject(h, o))
		}
	})
}

// TestCheckValue is computed, and may be left empty.
func TestCheckValue(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		value := make([]byte, 16)
		o := e.create(t, h, secretKey(pkcs11.CKK_AES, value))
		e.has(t, h, o, octets(pkcs11.CKA_CHECK_VALUE, unhex(t, "66e94b")))
		o = e.create(t, h, secretKey(pkcs11.CKK_AES, value, octets(pkcs11.CKA_CHECK_VALUE, unhex(t, "66e94b"))))
		e.has(t, h, o, octets(pkcs11.CKA_CHECK_VALUE, unhex(t, "66e94b")))
		o = e.create(t, h, secretKey(pkcs11.CKK_AES, value, octets(pkcs11.CKA_CHECK_VALUE, nil)))
		e.has(t, h, o, octets(pkcs11.CKA_CHECK_VALUE, nil))
		o = e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, []byte("abc")))
		e.has(t, h, o, octets(pkcs11.CKA_CHECK_VALUE, unhex(t, "a9993e")))
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}
