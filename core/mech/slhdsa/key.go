package slhdsa

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// set is a parameter set (FIPS 205, 11, table 2).
type set struct {
	id  pkcs11.ParameterSet
	alg slhdsa.ID
	oid asn1.ObjectIdentifier
	n   int // the security parameter, in bytes
}

// sets are ordered by the length of their keys.
var sets = []*set{
	{pkcs11.CKP_SLH_DSA_SHA2_128S, slhdsa.SHA2_128s, postquantum.NIST(3, 20), 16},
	{pkcs11.CKP_SLH_DSA_SHA2_128F, slhdsa.SHA2_128f, postquantum.NIST(3, 21), 16},
	{pkcs11.CKP_SLH_DSA_SHAKE_128S, slhdsa.SHAKE_128s, postquantum.NIST(3, 26), 16},
	{pkcs11.CKP_SLH_DSA_SHAKE_128F, slhdsa.SHAKE_128f, postquantum.NIST(3, 27), 16},
	{pkcs11.CKP_SLH_DSA_SHA2_192S, slhdsa.SHA2_192s, postquantum.NIST(3, 22), 24},
	{pkcs11.CKP_SLH_DSA_SHA2_192F, slhdsa.SHA2_192f, postquantum.NIST(3, 23), 24},
	{pkcs11.CKP_SLH_DSA_SHAKE_192S, slhdsa.SHAKE_192s, postquantum.NIST(3, 28), 24},
	{pkcs11.CKP_SLH_DSA_SHAKE_192F, slhdsa.SHAKE_192f, postquantum.NIST(3, 29), 24},
	{pkcs11.CKP_SLH_DSA_SHA2_256S, slhdsa.SHA2_256s, postquantum.NIST(3, 24), 32},
	{pkcs11.CKP_SLH_DSA_SHA2_256F, slhdsa.SHA2_256f, postquantum.NIST(3, 25), 32},
	{pkcs11.CKP_SLH_DSA_SHAKE_256S, slhdsa.SHAKE_256s, postquantum.NIST(3, 30), 32},
	{pkcs11.CKP_SLH_DSA_SHAKE_256F, slhdsa.SHAKE_256f, postquantum.NIST(3, 31), 32},
}

func (s *set) publicLen() int    { return 2 * s.n }
func (s *set) privateLen() int   { return 4 * s.n }
func (s *set) signatureLen() int { return s.alg.Scheme().SignatureSize() }

// keys are the sets by their names.
var keys = postquantum.Sets[*set]{Algorithm: "SLH-DSA", All: sets}

// Identity implements postquantum.Set.
func (s *set) Identity() (pkcs11.ParameterSet, asn1.ObjectIdentifier) { return s.id, s.oid }

// publicKey and privateKey are the expanded forms.
type publicKey struct {
	*set
	key *slhdsa.PublicKey
}

type privateKey struct {
	publicKey
	key *slhdsa.PrivateKey
}

func (s *set) public(value []byte) (*publicKey, error) {
	key := &slhdsa.PublicKey{ID: s.alg}
	if err := key.UnmarshalBinary(value); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, a public key of %v has %d", len(value), s.alg, s.publicLen())
	}
	return &publicKey{s, key}, nil
}

func (s *set) private(value []byte) (*privateKey, error) {
	key := &slhdsa.PrivateKey{ID: s.alg}
	if err := key.UnmarshalBinary(value); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, a private key of %v has %d", len(value), s.alg, s.privateLen())
	}
	public := key.PublicKey()
	return &privateKey{publicKey{s, &public}, key}, nil
}

// checkPrivate computes the root of a private key's tree again, as when a key is made: a key whose root is another gives
// signatures that nobody accepts. It takes up to half a second.
func (s *set) checkPrivate(value []byte) error {
	key, err := s.private(value)
	if err != nil {
		return err
	}
	public, _, err := slhdsa.GenerateKey(bytes.NewReader(value[:3*s.n]), s.alg)
	if err != nil || !public.Equal(*key.publicKey.key) {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE is no private key of %v: its root does not follow from its seeds", s.alg)
	}
	return nil
}

func privateOf(k mech.Key) (*privateKey, error) {
	return postquantum.Expanded(k, keys, func(s *set) (*privateKey, error) { return s.private(k.Bytes(pkcs11.CKA_VALUE)) })
}

func publicOf(k mech.Key) (*publicKey, error) {
	return postquantum.Expanded(k, keys, func(s *set) (*publicKey, error) { return s.public(k.Bytes(pkcs11.CKA_VALUE)) })
}

// generate makes a pair of the parameter set that the public template names. PKCS#11 v3.2, SLH-DSA key pair generation.
func generate(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := postquantum.NoParameter(param); err != nil {
		return nil, nil, err
	}
	s, err := keys.Of(public.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, nil, err
	}
	p, k, err := slhdsa.GenerateKey(rand.Reader, s.alg)
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
	}
	open, errP := p.MarshalBinary()
	closed, errK := k.MarshalBinary()
	if errP != nil || errK != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a new key cannot be written: %v, %v", errP, errK)
	}
	set := pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id)
	return pkcs11.Template{set, pkcs11.Attr(pkcs11.CKA_VALUE, open)}, pkcs11.Template{set, pkcs11.Attr(pkcs11.CKA_VALUE, closed)}, nil
}

func check(class pkcs11.ObjectClass, t pkcs11.Template) (pkcs11.Template, error) {
	s, err := keys.Of(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	switch class {
	case pkcs11.CKO_PUBLIC_KEY:
		_, err = s.public(t.Bytes(pkcs11.CKA_VALUE))
		return nil, err
	case pkcs11.CKO_PRIVATE_KEY:
		return nil, s.checkPrivate(t.Bytes(pkcs11.CKA_VALUE))
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be an SLH-DSA key", class)
}

func marshalPKCS8(k mech.Key) ([]byte, error) {
	s, err := keys.Of(k.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	return postquantum.MarshalBare(s.oid, k.Bytes(pkcs11.CKA_VALUE))
}

func parsePKCS8(der []byte) (pkcs11.Template, error) {
	oid, value, err := postquantum.ParseBare(der)
	if err != nil {
		return nil, err
	}
	s, err := keys.Named(oid)
	if err != nil {
		secret.Wipe(value)
		return nil, err
	}
	if len(value) != s.privateLen() {
		secret.Wipe(value)
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a key of %d bytes, %v has %d", len(value), s.alg, s.privateLen())
	}
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id), pkcs11.Attr(pkcs11.CKA_VALUE, value)}, nil
}

func publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	s, err := keys.Of(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	value := t.Bytes(pkcs11.CKA_VALUE)
	if class == pkcs11.CKO_PRIVATE_KEY {
		if len(value) != s.privateLen() {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, expected %d", len(value), s.privateLen())
		}
		value = value[2*s.n:] // its second half is the public key
	}
	if _, err := s.public(value); err != nil {
		return nil, err
	}
	return postquantum.PublicInfo(s.oid, value)
}
