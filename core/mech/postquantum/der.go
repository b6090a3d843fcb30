package postquantum

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// maxDER bounds a PrivateKeyInfo; the longest of these keys, ML-DSA-87 with its seed, has 5 KB.
const maxDER = 16 << 10

// NIST makes the object identifier of a NIST algorithm: 2.16.840.1.101.3.4.family.number.
func NIST(family, number int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, family, number}
}

// Private is what a PrivateKeyInfo holds. At least one of the two is there; each is the caller's to wipe.
type Private struct {
	Seed  []byte // RFC 9881, 9935: the seed that the key comes from
	Value []byte // the key as its FIPS writes it
}

// Wipe erases both.
func (p *Private) Wipe() {
	secret.Wipe(p.Seed)
	secret.Wipe(p.Value)
}

var tagSeed = cbasn1.Tag(0).ContextSpecific()

// MarshalSeeded writes a private key of ML-DSA or ML-KEM: the seed alone if it is known, as RFC 9881, 6, and RFC 9935,
// 6, recommend; else the expanded key.
func MarshalSeeded(oid asn1.ObjectIdentifier, key Private) ([]byte, error) {
	return marshal(oid, func(b *cryptobyte.Builder) {
		if len(key.Seed) > 0 {
			b.AddASN1(tagSeed, func(b *cryptobyte.Builder) { b.AddBytes(key.Seed) })
			return
		}
		b.AddASN1OctetString(key.Value)
	})
}

// MarshalBare writes a private key of SLH-DSA, which stands in the PrivateKeyInfo as it is (RFC 9909, 6).
func MarshalBare(oid asn1.ObjectIdentifier, value []byte) ([]byte, error) {
	return marshal(oid, func(b *cryptobyte.Builder) { b.AddBytes(value) })
}

func marshal(oid asn1.ObjectIdentifier, key cryptobyte.BuilderContinuation) ([]byte, error) {
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, maxDER)) // growing would leave copies of the key behind
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1(cbasn1.OCTET_STRING, key)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	return der, nil
}

var errNoKey = pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no PrivateKeyInfo of this kind, or bytes after it")

// ParseSeeded reads a private key of ML-DSA or ML-KEM in each of the three forms: seed, expanded key, both. The lengths
// are the caller's to check. CKR_WRAPPED_KEY_INVALID.
func ParseSeeded(der []byte) (asn1.ObjectIdentifier, Private, error) {
	oid, key, err := parse(der)
	if err != nil {
		return nil, Private{}, err
	}
	var p Private
	var seed, value, both cryptobyte.String
	switch {
	case key.PeekASN1Tag(tagSeed):
		if !key.ReadASN1(&seed, tagSeed) {
			return nil, p, errNoKey
		}
	case key.PeekASN1Tag(cbasn1.OCTET_STRING):
		if !key.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return nil, p, errNoKey
		}
	default:
		if !key.ReadASN1(&both, cbasn1.SEQUENCE) || !both.ReadASN1(&seed, cbasn1.OCTET_STRING) ||
			!both.ReadASN1(&value, cbasn1.OCTET_STRING) || !both.Empty() || len(seed) == 0 || len(value) == 0 {
			return nil, p, errNoKey
		}
	}
	if !key.Empty() || len(seed)+len(value) == 0 {
		return nil, p, errNoKey
	}
	if len(seed) > 0 {
		p.Seed = append([]byte{}, seed...)
	}
	if len(value) > 0 {
		p.Value = append([]byte{}, value...)
	}
	return oid, p, nil
}

// ParseBare reads a private key of SLH-DSA. CKR_WRAPPED_KEY_INVALID.
func ParseBare(der []byte) (asn1.ObjectIdentifier, []byte, error) {
	oid, key, err := parse(der)
	if err != nil {
		return nil, nil, err
	}
	return oid, append([]byte{}, key...), nil
}

// parse takes a OneAsymmetricKey apart (RFC 5958): its attributes and its public key, which follows from the private one,
// are passed over.
func parse(der []byte) (oid asn1.ObjectIdentifier, key cryptobyte.String, err error) {
	if len(der) > maxDER {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a PrivateKeyInfo of %d bytes, expected at most %d", len(der), maxDER)
	}
	var info, algorithm cryptobyte.String
	var version int64
	in := cryptobyte.String(der)
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !in.Empty() || !info.ReadASN1Integer(&version) || version < 0 || version > 1 ||
		!info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) || !algorithm.Empty() ||
		!info.ReadASN1(&key, cbasn1.OCTET_STRING) ||
		!info.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		version == 1 && !info.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific()) || !info.Empty() {
		return nil, nil, errNoKey
	}
	return oid, key, nil
}

// PublicInfo writes a SubjectPublicKeyInfo, whose bits are the key as its FIPS writes it (RFC 9881, 4; RFC 9935, 4;
// RFC 9909, 4).
func PublicInfo(oid asn1.ObjectIdentifier, public []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
		b.AddASN1BitString(public)
	})
	return b.Bytes()
}

// ParsePublicInfo reads a SubjectPublicKeyInfo without parameters.
func ParsePublicInfo(der []byte) (oid asn1.ObjectIdentifier, public []byte, ok bool) {
	var info, algorithm cryptobyte.String
	in := cryptobyte.String(der)
	ok = in.ReadASN1(&info, cbasn1.SEQUENCE) && in.Empty() && info.ReadASN1(&algorithm, cbasn1.SEQUENCE) &&
		algorithm.ReadASN1ObjectIdentifier(&oid) && algorithm.Empty() && info.ReadASN1BitStringAsBytes(&public) && info.Empty()
	return oid, public, ok
}
