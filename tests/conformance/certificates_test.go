package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// certified is a key pair from outside and its certificate, as templates of token objects without CKA_ID.
type certified struct{ public, private, certificate T }

func newCertified(t *testing.T) certified {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	value, err := key.Bytes()
	require.NoError(t, err)
	raw, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	point, err := asn1.Marshal(raw)
	require.NoError(t, err)
	params, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "coffer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	onToken, curve := with(yes(pkcs11.CKA_TOKEN), ours), octets(pkcs11.CKA_EC_PARAMS, params)
	return certified{
		public:  with(kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_EC), onToken, curve, octets(pkcs11.CKA_EC_POINT, point)),
		private: with(kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), onToken, curve, octets(pkcs11.CKA_VALUE, value), yes(pkcs11.CKA_EXTRACTABLE)),
		certificate: with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509), onToken,
			octets(pkcs11.CKA_VALUE, der)),
	}
}

func id(b ...byte) T { return octets(pkcs11.CKA_ID, b) }

var certificatesProfile = with(num(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE), num(pkcs11.CKA_PROFILE_ID, pkcs11.CKP_PUBLIC_CERTIFICATES_TOKEN))

// again logs the user out and in: a token that has its promise back says so from then on.
func (e *env) again(t *testing.T) session {
	t.Helper()
	e.nobody(t)
	return e.user(t)
}

var ours = text(pkcs11.CKA_LABEL, "ours")

// clean destroys the test's objects, which survive its logins.
func (e *env) clean(t *testing.T, h session) {
	t.Helper()
	for _, o := range e.find(t, h, ours) {
		require.NoError(t, e.DestroyObject(h, o))
	}
}

// TestPublicCertificatesAreWhatTheProfilePromises, to who has not logged in: PKCS#11 Profiles v3.2, section 5.5, and the
// steps of its test case CERT-M-1-32.
func TestPublicCertificatesAreWhatTheProfilePromises(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.again(t)
		web := newCertified(t)
		e.create(t, h, with(web.public, id(1)))
		e.create(t, h, with(web.private, id(1)))
		e.create(t, h, with(web.certificate, id(1)))
		ca := newCertified(t) // its key is elsewhere
		e.create(t, h, ca.certificate)

		e.nobody(t)
		h = e.open(t, 0)
		require.Len(t, e.find(t, h, certificatesProfile), 1)
		certs := e.find(t, h, num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE))
		require.Len(t, certs, 2)
		e.has(t, h, certs[0], with(ours, octets(pkcs11.CKA_VALUE, web.certificate.Bytes(pkcs11.CKA_VALUE)), id(1)))
		keys := e.find(t, h, id(1))
		require.Len(t, keys, 2, "the certificate and the public key")
		require.Equal(t, e.value(t, h, certs[0], pkcs11.CKA_PUBLIC_KEY_INFO), e.value(t, h, keys[0], pkcs11.CKA_PUBLIC_KEY_INFO))
		e.clean(t, e.again(t))
	})
}

// TestTheProfileEndsWithItsPromise, and is there again when a login finds that it is kept.
func TestTheProfileEndsWithItsPromise(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.again(t)
		claimed := func(want int) {
			t.Helper()
			require.Len(t, e.find(t, h, certificatesProfile), want)
		}
		web := newCertified(t)
		claimed(1)
		profile := e.find(t, h, certificatesProfile)[0]

		// A private certificate.
		e.create(t, h, with(web.certificate, yes(pkcs11.CKA_PRIVATE)))
		claimed(0)
		rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, second(e.GetObjectSize(h, profile)))
		h = e.again(t)
		claimed(0)
		e.clean(t, h)
		h = e.again(t)
		claimed(1)

		// A private key of another id, and one without its public half.
		e.create(t, h, with(web.certificate, id(1)))
		claimed(1)
		key := e.create(t, h, with(web.private, id(2)))
		claimed(0)
		require.NoError(t, e.SetAttributeValue(h, key, id(1)))
		h = e.again(t)
		claimed(0)
		e.create(t, h, with(web.public, id(1)))
		h = e.again(t)
		claimed(1)

		// Changes that do not matter, and some that do.
		one := func(class pkcs11.ObjectClass) handle {
			return e.find(t, h, with(ours, num(pkcs11.CKA_CLASS, class)))[0]
		}
		require.NoError(t, e.SetAttributeValue(h, one(pkcs11.CKO_CERTIFICATE), octets(pkcs11.CKA_ISSUER, []byte{0x30, 0})))
		e.ec(t, h, p256, yes(pkcs11.CKA_TOKEN), ours)
		claimed(1)
		for name, breaks := range map[string]func() error{
			"the certificate's id": func() error { return e.SetAttributeValue(h, one(pkcs11.CKO_CERTIFICATE), id(3)) },
			"the public key's id":  func() error { return e.SetAttributeValue(h, one(pkcs11.CKO_PUBLIC_KEY), id(3)) },
			"no public key":        func() error { return e.DestroyObject(h, one(pkcs11.CKO_PUBLIC_KEY)) },
			"a copy of the key":    func() error { return second(e.CopyObject(h, one(pkcs11.CKO_PRIVATE_KEY), id(3))) },
			"a second certificate": func() error { return second(e.CreateObject(h, with(web.certificate, id(3)))) },
		} {
			e.clean(t, h)
			for _, template := range []T{web.public, web.private, web.certificate} {
				e.create(t, h, with(template, id(1)))
			}
			h = e.again(t)
			claimed(1)
			require.NoError(t, breaks(), name)
			require.Empty(t, e.find(t, h, certificatesProfile), name)
		}
		e.clean(t, h)

		// Whoever has not logged in may not see whether the key is there; the next login sees.
		e.nobody(t)
		h = e.public(t)
		e.create(t, h, newCertified(t).certificate)
		h = e.again(t)
		claimed(1)
		e.clean(t, h)
	})
}

// TestThePolicyKeepsCertificatesPublic: what would end the profile is refused.
func TestThePolicyKeepsCertificatesPublic(t *testing.T) {
	under(t, policy.Policy{PublicCertificates: true}, func(t *testing.T, e *env) {
		h := e.user(t)
		web := newCertified(t)
		create := func(template T) error { return second(e.CreateObject(h, template)) }
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, create(with(web.certificate, yes(pkcs11.CKA_PRIVATE))))
		require.NoError(t, create(with(web.certificate, yes(pkcs11.CKA_PRIVATE), no(pkcs11.CKA_TOKEN))), "of the session")
		copied := e.create(t, h, with(web.certificate, no(pkcs11.CKA_TOKEN)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, second(e.CopyObject(h, copied, yes(pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE))))

		cert := e.create(t, h, with(web.certificate, id(1)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, create(with(web.private, id(1))), "the public key is not here")
		public := e.create(t, h, with(web.public, id(1)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, create(with(web.private, id(2))))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, create(web.private))
		key := e.create(t, h, with(web.private, id(1)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, create(with(web.certificate, id(2))))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, second(e.CopyObject(h, key, id(2))))
		kek := e.aes(t, h, wrapping)
		blob := e.wrapped(t, h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, kek, key)
		_, err := e.UnwrapKey(h, &mech{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, kek, blob, with(kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), yes(pkcs11.CKA_TOKEN), id(2)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		for _, o := range []handle{cert, public, key} {
			rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, e.SetAttributeValue(h, o, id(2)))
			require.NoError(t, e.SetAttributeValue(h, o, text(pkcs11.CKA_LABEL, "x")))
		}
		rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.DestroyObject(h, public))
		require.Len(t, e.find(t, h, certificatesProfile), 1)
		require.NoError(t, e.DestroyObject(h, cert))
		require.NoError(t, e.DestroyObject(h, public))
		require.Len(t, e.find(t, h, certificatesProfile), 1)
	})
}
