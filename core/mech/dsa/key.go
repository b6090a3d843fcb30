package dsa

import (
	"bytes"
	"encoding/asn1"
	"math/big"

	"filippo.io/bigmod"
	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/pkcs8"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// privateKey and publicKey are the expanded forms (mech.SlotMain).
type publicKey struct {
	group *ff.Group
	y     *big.Int
}

type privateKey struct {
	publicKey
	p, q *bigmod.Modulus
	x    []byte // as long as q
}

// Wipe zeroes the private value.
func (k *privateKey) Wipe() { secret.Wipe(k.x) }

var errKeyType = pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "not the half of a DSA key that the operation needs")

func privateOf(k mech.Key) (*privateKey, error) {
	if k.Type() != pkcs11.CKK_DSA || k.Class() != pkcs11.CKO_PRIVATE_KEY {
		return nil, errKeyType
	}
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return private(k.Bytes) })
	if err != nil {
		return nil, err
	}
	key, ok := x.(*privateKey)
	if !ok {
		return nil, errKeyType
	}
	return key, nil
}

func publicOf(k mech.Key) (*publicKey, error) {
	if k.Type() != pkcs11.CKK_DSA || k.Class() != pkcs11.CKO_PUBLIC_KEY {
		return nil, errKeyType
	}
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return public(k.Bytes) })
	if err != nil {
		return nil, err
	}
	key, ok := x.(*publicKey)
	if !ok {
		return nil, errKeyType
	}
	return key, nil
}

// attributes gives a byte-string attribute of a key or a template.
type attributes func(pkcs11.AttributeType) []byte

var errNoValue = pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE is needed")

func public(of attributes) (*publicKey, error) {
	g, err := group(of)
	if err != nil {
		return nil, err
	}
	value := of(pkcs11.CKA_VALUE)
	if value == nil {
		return nil, errNoValue
	}
	y, err := g.Public(value)
	if err != nil {
		return nil, err
	}
	return &publicKey{g, y}, nil
}

func private(of attributes) (*privateKey, error) {
	g, err := group(of)
	if err != nil {
		return nil, err
	}
	value := of(pkcs11.CKA_VALUE)
	if value == nil {
		return nil, errNoValue
	}
	short, err := g.Private(value)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(short)
	size := len(g.Q.Bytes())
	x := append(make([]byte, size-len(short), size), short...)
	y, err := g.Exp(g.G.Bytes(), x)
	if err != nil {
		return nil, err
	}
	p, errP := bigmod.NewModulus(g.P.Bytes())
	q, errQ := bigmod.NewModulus(g.Q.Bytes())
	if errP != nil || errQ != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_DOMAIN_PARAMS_INVALID, "the primes: %v, %v", errP, errQ)
	}
	return &privateKey{publicKey{g, new(big.Int).SetBytes(y)}, p, q, x}, nil
}

// group is the group of a key or of domain parameters, of one of FIPS 186-4's sizes.
func group(of attributes) (*ff.Group, error) {
	p, q, g := of(pkcs11.CKA_PRIME), of(pkcs11.CKA_SUBPRIME), of(pkcs11.CKA_BASE)
	if p == nil || q == nil || g == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PRIME, CKA_SUBPRIME and CKA_BASE are needed")
	}
	made, err := ff.New(p, q, g)
	if err != nil {
		return nil, err
	}
	if n := uint(made.Q.BitLen()); made.Bits > maxBits || n%8 != 0 || n > 256 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "primes of %d and %d bits, expected at most %d, and 160, 224 or 256", made.Bits, n, maxBits)
	}
	return made, nil
}

func domain(g *ff.Group) pkcs11.Template {
	return pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_PRIME, g.P.Bytes()), pkcs11.Attr(pkcs11.CKA_SUBPRIME, g.Q.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, g.G.Bytes()),
	}
}

// check brings the numbers of a key, or of domain parameters, to the forms that are given out.
func check(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	g, err := group(t.Bytes)
	if err != nil {
		return nil, err
	}
	normal := domain(g)
	switch class {
	case pkcs11.CKO_DOMAIN_PARAMETERS:
		add = pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, g.Bits), pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, uint(g.Q.BitLen())),
		}
	case pkcs11.CKO_PUBLIC_KEY:
		key, err := public(t.Bytes)
		if err != nil {
			return nil, err
		}
		normal = append(normal, pkcs11.Attr(pkcs11.CKA_VALUE, key.y.FillBytes(make([]byte, g.Size()))))
	case pkcs11.CKO_PRIVATE_KEY:
		key, err := private(t.Bytes)
		if err != nil {
			return nil, err
		}
		normal = append(normal, pkcs11.Attr(pkcs11.CKA_VALUE, key.x))
	default:
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be a DSA key", class)
	}
	for _, a := range normal {
		if b, _ := a.Value.([]byte); !bytes.Equal(b, t.Bytes(a.Type)) {
			add = append(add, a)
		}
	}
	return add, nil
}

// id-dsa with p, q, g (RFC 3279, 2.3.2).
var idDSA = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}

func algorithm(g *ff.Group) pkcs8.Algorithm { return pkcs8.WithIntegers(idDSA, g.P, g.Q, g.G) }

func marshalPKCS8(k mech.Key) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	x, err := pkcs8.Integer(key.x)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	defer secret.Wipe(x)
	return pkcs8.Join(algorithm(key.group), x)
}

const maxPKCS8 = 4 << 10

var errNoKey = pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no DSA key in the PrivateKeyInfo")

func parsePKCS8(info []byte) (pkcs11.Template, error) {
	a, inner, err := pkcs8.Split(info, maxPKCS8)
	if err != nil {
		return nil, err
	}
	numbers, more, ok := a.Integers(3)
	value := cryptobyte.String(inner)
	var x []byte
	if !ok || more || !a.OID.Equal(idDSA) || !value.ReadASN1Integer(&x) || !value.Empty() {
		return nil, errNoKey
	}
	t := pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_PRIME, numbers[0]), pkcs11.Attr(pkcs11.CKA_SUBPRIME, numbers[1]), pkcs11.Attr(pkcs11.CKA_BASE, numbers[2]),
		pkcs11.Attr(pkcs11.CKA_VALUE, x),
	}
	key, err := private(t.Bytes)
	if err != nil {
		return nil, errNoKey
	}
	return append(domain(key.group), pkcs11.Attr(pkcs11.CKA_VALUE, key.x)), nil
}

// publicKeyInfo writes the SubjectPublicKeyInfo of a public or a private key.
func publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	var key *publicKey
	var err error
	if class == pkcs11.CKO_PRIVATE_KEY {
		var own *privateKey
		if own, err = private(t.Bytes); err == nil {
			key = &own.publicKey
			defer own.Wipe()
		}
	} else {
		key, err = public(t.Bytes)
	}
	if err != nil {
		return nil, err
	}
	y, err := pkcs8.Integer(key.y.Bytes())
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SubjectPublicKeyInfo: %w", err)
	}
	return pkcs8.JoinPublic(algorithm(key.group), y)
}
