package pkcs8

import (
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Algorithm is an AlgorithmIdentifier (RFC 5280, 4.1.1.2). Parameters are the DER of one value, nil where there are none.
type Algorithm struct {
	OID        asn1.ObjectIdentifier
	Parameters []byte
}

func (a Algorithm) add(b *cryptobyte.Builder) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(a.OID)
		b.AddBytes(a.Parameters)
	})
}

// Join writes a PrivateKeyInfo of version 0 around a private key that is encoded as the algorithm wants it.
func Join(a Algorithm, key []byte) ([]byte, error) {
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, len(key)+len(a.Parameters)+64))
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		a.add(b)
		b.AddASN1OctetString(key)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	return out, nil
}

// Split takes a PrivateKeyInfo apart, of version 0 or 1 (RFC 5958; its attributes and public key are looked over and
// left). CKR_WRAPPED_KEY_INVALID for anything else, for bytes after it, and for more than limit bytes. The slices share
// the memory of info.
func Split(info []byte, limit int) (a Algorithm, key []byte, err error) {
	if len(info) > limit {
		return a, nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a PrivateKeyInfo of %d bytes, expected at most %d", len(info), limit)
	}
	in := cryptobyte.String(info)
	var body, octets cryptobyte.String
	var version int
	ok := in.ReadASN1(&body, der.SEQUENCE) && in.Empty() &&
		body.ReadASN1Integer(&version) && (version == 0 || version == 1) &&
		a.read(&body) &&
		body.ReadASN1(&octets, der.OCTET_STRING) &&
		body.SkipOptionalASN1(der.Tag(0).Constructed().ContextSpecific()) &&
		skipPublic(&body, version) && body.Empty()
	if !ok {
		return Algorithm{}, nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no PrivateKeyInfo, or bytes after it")
	}
	return a, octets, nil
}

// skipPublic passes over the public key that version 1 may have.
func skipPublic(body *cryptobyte.String, version int) bool {
	return version == 0 || body.SkipOptionalASN1(der.Tag(1).ContextSpecific())
}

func (a *Algorithm) read(in *cryptobyte.String) bool {
	var body cryptobyte.String
	if !in.ReadASN1(&body, der.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&a.OID) {
		return false
	}
	if body.Empty() {
		return true
	}
	var value cryptobyte.String
	var tag der.Tag
	if !body.ReadAnyASN1Element(&value, &tag) || !body.Empty() {
		return false
	}
	a.Parameters = value
	return true
}

// JoinPublic writes a SubjectPublicKeyInfo (RFC 5280, 4.1) around a public key that is encoded as the algorithm wants it.
func JoinPublic(a Algorithm, key []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		a.add(b)
		b.AddASN1BitString(key)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SubjectPublicKeyInfo: %w", err)
	}
	return out, nil
}

// Integer writes a positive INTEGER without math/big, for it may be secret.
func Integer(x []byte) ([]byte, error) {
	for len(x) > 1 && x[0] == 0 {
		x = x[1:]
	}
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, len(x)+8))
	b.AddASN1(der.INTEGER, func(b *cryptobyte.Builder) {
		if len(x) == 0 || x[0]&0x80 != 0 {
			b.AddUint8(0)
		}
		b.AddBytes(x)
	})
	return b.Bytes()
}

// WithIntegers is an algorithm whose parameters are a SEQUENCE of numbers.
func WithIntegers(oid asn1.ObjectIdentifier, numbers ...*big.Int) Algorithm {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range numbers {
			b.AddASN1BigInt(n)
		}
	})
	return Algorithm{oid, b.BytesOrPanic()}
}

// Integers reads the first n positive numbers of a SEQUENCE of parameters, and says whether more follows them.
func (a Algorithm) Integers(n int) (numbers [][]byte, more, ok bool) {
	in := cryptobyte.String(a.Parameters)
	var body cryptobyte.String
	if !in.ReadASN1(&body, der.SEQUENCE) || !in.Empty() {
		return nil, false, false
	}
	for range n {
		v := new(big.Int)
		if !body.ReadASN1Integer(v) || v.Sign() <= 0 {
			return nil, false, false
		}
		numbers = append(numbers, v.Bytes())
	}
	return numbers, !body.Empty(), true
}
