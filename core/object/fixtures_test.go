package object

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Short forms for templates in tests.

type tmpl = pkcs11.Template

func flag(t pkcs11.AttributeType, v bool) pkcs11.Attribute   { return pkcs11.Attr(t, v) }
func num(t pkcs11.AttributeType, v uint) pkcs11.Attribute    { return pkcs11.AttrUlong(t, v) }
func text(t pkcs11.AttributeType, s string) pkcs11.Attribute { return pkcs11.AttrString(t, s) }

func class(c pkcs11.ObjectClass) pkcs11.Attribute { return num(pkcs11.CKA_CLASS, uint(c)) }
func ktype(k pkcs11.KeyType) pkcs11.Attribute     { return num(pkcs11.CKA_KEY_TYPE, uint(k)) }

func join(a tmpl, b ...pkcs11.Attribute) tmpl { return append(a[:len(a):len(a)], b...) }

var serial int

func newID() string { serial++; return fmt.Sprintf("%032x", serial) }

// Imports that are complete.
var (
	aesImport = tmpl{class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_AES), text(pkcs11.CKA_VALUE, "0123456789abcdef")}
	rsaImport = tmpl{class(pkcs11.CKO_PRIVATE_KEY), ktype(pkcs11.CKK_RSA), text(pkcs11.CKA_MODULUS, "n"),
		text(pkcs11.CKA_PUBLIC_EXPONENT, "e"), text(pkcs11.CKA_PRIVATE_EXPONENT, "d")}
	ecImport    = tmpl{class(pkcs11.CKO_PRIVATE_KEY), ktype(pkcs11.CKK_EC), text(pkcs11.CKA_EC_PARAMS, "p"), text(pkcs11.CKA_VALUE, "d")}
	ecPubImport = tmpl{class(pkcs11.CKO_PUBLIC_KEY), ktype(pkcs11.CKK_EC), text(pkcs11.CKA_EC_PARAMS, "p"), text(pkcs11.CKA_EC_POINT, "q")}
	certImport  = tmpl{class(pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, uint(pkcs11.CKC_X_509)),
		text(pkcs11.CKA_SUBJECT, "s"), text(pkcs11.CKA_VALUE, "cert")}
	dataImport = tmpl{class(pkcs11.CKO_DATA), text(pkcs11.CKA_VALUE, "v")}
)

func allPolicies() (list []*policy) {
	for _, kinds := range table().classes {
		list = slices.AppendSeq(list, maps.Values(kinds))
	}
	return list
}

func user(op Op) Request { return Request{Op: op, User: true} }

// create imports a template as the user.
func create(t *testing.T, template tmpl) *Object {
	t.Helper()
	o, _ := finish(t, user(OpCreate), template, nil)
	return o
}

func finish(t *testing.T, req Request, template, made tmpl) (*Object, tmpl) {
	t.Helper()
	d, err := Build(req, template)
	require.NoError(t, err)
	o, secret, err := d.Finish(newID(), made)
	d.Done()
	require.NoError(t, err)
	return o, secret
}

// generate makes an AES key.
func generate(t *testing.T, more ...pkcs11.Attribute) *Object {
	t.Helper()
	o, _ := finish(t, generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), join(tmpl{num(pkcs11.CKA_VALUE_LEN, 16)}, more...),
		tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef")})
	return o
}

func generation(c pkcs11.ObjectClass, k pkcs11.KeyType) Request {
	return Request{Op: OpGenerate, User: true, Mechanism: pkcs11.CKM_AES_KEY_GEN, Fixed: true, Makes: Kind{c, k}}
}

func requireRV(t *testing.T, want pkcs11.RV, err error, about ...any) {
	t.Helper()
	require.Equal(t, want, pkcs11.RVOf(err), append([]any{err}, about...)...)
}

func refused(t *testing.T, want pkcs11.RV, req Request, template tmpl) {
	t.Helper()
	_, err := Build(req, template)
	requireRV(t, want, err, template)
}

// seeded returns a generator whose seed is in the log.
func seededRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
