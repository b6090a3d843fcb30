package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// with puts templates together; later ones win.
func with(parts ...T) T {
	all := T{}
	for _, p := range parts {
		for _, a := range p {
			all = all.Set(a.Type, a.Value)
		}
	}
	return all
}

func flags(v bool, types []pkcs11.AttributeType) T {
	var t T
	for _, a := range types {
		t = append(t, pkcs11.Attr(a, v))
	}
	return t
}

func yes(types ...pkcs11.AttributeType) T { return flags(true, types) }
func no(types ...pkcs11.AttributeType) T  { return flags(false, types) }

func num[N ~uint](t pkcs11.AttributeType, n N) T { return T{pkcs11.AttrUlong(t, n)} }

func text(t pkcs11.AttributeType, s string) T { return T{pkcs11.AttrString(t, s)} }

func octets(t pkcs11.AttributeType, b []byte) T { return T{pkcs11.Attr(t, b)} }

func kind(class pkcs11.ObjectClass, kt pkcs11.KeyType) T {
	return with(num(pkcs11.CKA_CLASS, class), num(pkcs11.CKA_KEY_TYPE, kt))
}

// readable lets a key's value be read.
var readable = with(yes(pkcs11.CKA_EXTRACTABLE), no(pkcs11.CKA_SENSITIVE))

// Everything that keys of a class can do.
var (
	everyPublic = yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_VERIFY, pkcs11.CKA_VERIFY_RECOVER, pkcs11.CKA_WRAP,
		pkcs11.CKA_ENCAPSULATE)
	everyPrivate = yes(pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE,
		pkcs11.CKA_DECAPSULATE)
	everySecret = yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_WRAP,
		pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE)
)

// The curves' CKA_EC_PARAMS.
var (
	p256    = []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
	p521    = []byte{6, 5, 0x2b, 0x81, 4, 0, 35}
	ed25519 = []byte{6, 3, 0x2b, 0x65, 0x70}
	x25519  = []byte{6, 3, 0x2b, 0x65, 0x6e}
	ed448   = []byte{6, 3, 0x2b, 0x65, 0x71}
	x448    = []byte{6, 3, 0x2b, 0x65, 0x6f}
)

// secretKey is the template of an imported secret key.
func secretKey(kt pkcs11.KeyType, value []byte, more ...T) T {
	return with(append([]T{kind(pkcs11.CKO_SECRET_KEY, kt), octets(pkcs11.CKA_VALUE, value)}, more...)...)
}

// data is the template of a data object.
func data(label string, more ...T) T {
	return with(append([]T{num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), text(pkcs11.CKA_LABEL, label),
		text(pkcs11.CKA_VALUE, "value of "+label)}, more...)...)
}

// create imports an object.
func (e *env) create(t *testing.T, h session, template T) handle {
	t.Helper()
	o, err := e.CreateObject(h, template)
	require.NoError(t, err)
	return o
}

// aes generates an AES key of 32 bytes.
func (e *env) aes(t *testing.T, h session, more ...T) handle {
	t.Helper()
	template := with(append([]T{num(pkcs11.CKA_VALUE_LEN, uint(32))}, more...)...)
	o, err := e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, template)
	require.NoError(t, err)
	return o
}

// pair generates a key pair.
func (e *env) pair(t *testing.T, h session, m pkcs11.MechanismType, public, private T) (pub, priv handle) {
	t.Helper()
	pub, priv, err := e.GenerateKeyPair(h, &mech{Type: m}, public, private)
	require.NoError(t, err)
	return pub, priv
}

// ec generates a pair on a curve.
func (e *env) ec(t *testing.T, h session, params []byte, more ...T) (pub, priv handle) {
	t.Helper()
	m := pkcs11.CKM_EC_KEY_PAIR_GEN
	switch &params[0] {
	case &ed25519[0]:
		m = pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN
	case &x25519[0]:
		m = pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN
	}
	return e.pair(t, h, m, octets(pkcs11.CKA_EC_PARAMS, params), with(more...))
}

// value reads an attribute.
func (e *env) value(t *testing.T, h session, o handle, a pkcs11.AttributeType) any {
	t.Helper()
	values, err := e.GetAttributeValue(h, o, []pkcs11.AttributeType{a})
	require.NoError(t, err)
	require.NoError(t, values[0].Err, "%v", a)
	return values[0].Value
}

// missing is the answer for an attribute that cannot be read.
func (e *env) missing(t *testing.T, h session, o handle, a pkcs11.AttributeType) pkcs11.RV {
	t.Helper()
	values, err := e.GetAttributeValue(h, o, []pkcs11.AttributeType{a})
	require.NoError(t, err)
	return pkcs11.RVOf(values[0].Err)
}

// has wants an object to have these attributes.
func (e *env) has(t *testing.T, h session, o handle, want T) {
	t.Helper()
	for _, a := range want {
		got := e.value(t, h, o, a.Type)
		require.True(t, pkcs11.EqualValue(got, a.Value), "%v is %v, want %v", a.Type, got, a.Value)
	}
}

// find runs a search to its end.
func (e *env) find(t *testing.T, h session, template T) []handle {
	t.Helper()
	require.NoError(t, e.FindObjectsInit(h, template))
	var all []handle
	for {
		some, err := e.FindObjects(h, 100)
		require.NoError(t, err)
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	require.NoError(t, e.FindObjectsFinal(h))
	return all
}
