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

var ours = text(pkcs11.CKA_LABEL, "ours")

// TestPublicCertificatesAreWhatTheProfilePromises, to who has not logged in: PKCS#11 Profiles v3.2, section 5.5, and the
// steps of its test case CERT-M-1-32.
func TestPublicCertificatesAreWhatTheProfilePromises(t *testing.T) {
	under(t, policy.Policy{PublicCertificates: true}, func(t *testing.T, e *env) {
		h := e.user(t)
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
