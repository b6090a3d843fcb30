// Package generic has the secret keys that are bytes and nothing else: generic secrets and the keys of the HMACs. What
// it knows of such keys (they have a length, and it is checked and announced) serves other secret keys too.
package generic

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the standard's check value
	"strconv"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MaxBytes is the longest key that is generated. Longer ones can be brought in from outside.
const MaxBytes = 4096

// Lengths says how long the values of a type of secret keys may be.
type Lengths struct {
	Valid     func(bytes uint) bool // when a key is made or comes in
	Generated uint                  // the longest that is made here
	Text      string                // the same for people: "16, 24 or 32"
	Fixed     uint                  // the only length there is; 0 if there are several
}

// FixedLength is the rule of keys of one length, in bytes. Templates need not name it.
func FixedLength(bytes uint) Lengths {
	return Lengths{func(n uint) bool { return n == bytes }, bytes, strconv.FormatUint(uint64(bytes), 10), bytes}
}

// Any is the rule of generic secrets and HMAC keys: anything but nothing.
var Any = Lengths{Valid: func(n uint) bool { return n > 0 }, Generated: MaxBytes, Text: "1 or more"}

// Check is a mech.KeyType's Check: it wants CKA_VALUE and adds CKA_VALUE_LEN.
func (l Lengths) Check(class pkcs11.ObjectClass, t pkcs11.Template) (pkcs11.Template, error) {
	if class != pkcs11.CKO_SECRET_KEY {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "the key type is one of secret keys, not of %v", class)
	}
	value, ok := t.Get(pkcs11.CKA_VALUE)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE is missing")
	}
	b, _ := value.([]byte)
	size := uint(len(b))
	if !l.Valid(size) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes; such a key has %s", size, l.Text)
	}
	if n, ok := t.Uint(pkcs11.CKA_VALUE_LEN); ok && n != size {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN is %d, but CKA_VALUE has %d bytes", n, size)
	}
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, size)}, nil
}

// Generate is a mech.Mechanism's Generate: CKA_VALUE_LEN random bytes, or as many as there must be.
func (l Lengths) Generate(param any, t pkcs11.Template) (pkcs11.Template, error) {
	if param != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; the mechanism takes none", param)
	}
	n, ok := t.Uint(pkcs11.CKA_VALUE_LEN)
	if !ok && l.Fixed > 0 {
		n, ok = l.Fixed, true
	}
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is missing")
	}
	if n > l.Generated || !l.Valid(n) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE_LEN is %d; such a key has %s bytes, at most %d of them made here",
			n, l.Text, l.Generated)
	}
	value := make([]byte, n)
	rand.Read(value)                    // never fails
	made := make(pkcs11.Template, 0, 3) // with room for the check value
	return append(made, pkcs11.Attr(pkcs11.CKA_VALUE, value), pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, n)), nil
}

// CheckValue returns the CKA_CHECK_VALUE of a generic secret or HMAC key: the first three bytes of the value's SHA-1
// (PKCS#11 v3.2, generic secret key objects).
func CheckValue(key []byte) []byte {
	sum := sha1.Sum(key) //nolint:gosec // not for secrecy
	clear(sum[3:])       // it is not to be there as long as the check value
	return sum[:3:3]
}

// Family is the table of generic secrets.
var Family = mech.Family{
	Name: "generic",
	Mechanisms: []mech.Mechanism{{
		Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET},
		Min: 8, Max: 8 * MaxBytes, // the standard counts bits here
		Generate: Any.Generate,
	}},
	KeyTypes: keyTypes(),
}

// keyTypes makes a row for generic secrets and for the keys of each HMAC.
func keyTypes() []mech.KeyType {
	rows := []mech.KeyType{
		{Type: pkcs11.CKK_GENERIC_SECRET, Check: Any.Check, CheckValue: CheckValue},
		{Type: pkcs11.CKK_SHA512_T_HMAC, Check: Any.Check, CheckValue: CheckValue},
	}
	for _, h := range hashes.All {
		if h.KeyType != 0 {
			rows = append(rows, mech.KeyType{Type: h.KeyType, Check: Any.Check, CheckValue: CheckValue})
		}
	}
	return rows
}
