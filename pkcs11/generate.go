package pkcs11

//go:generate go run ./spec/gen

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Types of the standard's constants. Each has the width of CK_ULONG on the 64-bit systems of Unix.
type (
	// RV is a return value, CK_RV. It is an error too.
	RV uint
	// AttributeType is CK_ATTRIBUTE_TYPE.
	AttributeType uint
	// ObjectClass is CK_OBJECT_CLASS, the value of CKA_CLASS.
	ObjectClass uint
	// KeyType is CK_KEY_TYPE, the value of CKA_KEY_TYPE.
	KeyType uint
	// CertificateType is CK_CERTIFICATE_TYPE, the value of CKA_CERTIFICATE_TYPE.
	CertificateType uint
	// MechanismType is CK_MECHANISM_TYPE.
	MechanismType uint
	// Flags is CK_FLAGS. What a bit means depends on where the flags stand.
	Flags uint
	// UserType is CK_USER_TYPE, the argument of C_Login.
	UserType uint
	// State is CK_STATE, the state of a session.
	State uint
	// MGFType is CK_RSA_PKCS_MGF_TYPE, a mask generation function.
	MGFType uint
	// KDFType is CK_EC_KDF_TYPE and CK_X9_42_DH_KDF_TYPE, a key derivation function after Diffie-Hellman.
	KDFType uint
	// OAEPSource is CK_RSA_PKCS_OAEP_SOURCE_TYPE.
	OAEPSource uint
	// HWFeatureType is CK_HW_FEATURE_TYPE, the value of CKA_HW_FEATURE_TYPE.
	HWFeatureType uint
	// HedgeType is CK_HEDGE_TYPE, how a signature of ML-DSA or SLH-DSA uses randomness.
	HedgeType uint
	// ProfileID is CK_PROFILE_ID, the value of CKA_PROFILE_ID.
	ProfileID uint
	// ParameterSet is the value of CKA_PARAMETER_SET; the key type says of which family.
	ParameterSet uint
)

// Kind says what the value of an attribute is made of.
type Kind uint8

// The kinds of attribute values, with the C type and the Go type of the value.
const (
	KindBool       Kind = iota + 1 // CK_BBOOL: bool
	KindUlong                      // CK_ULONG and the types over it: uint
	KindBytes                      // byte array: []byte
	KindString                     // UTF-8 text without a terminator: []byte
	KindBigInt                     // unsigned integer, most significant byte first: []byte
	KindDate                       // CK_DATE or nothing: []byte, eight digits YYYYMMDD
	KindMechanisms                 // array of CK_MECHANISM_TYPE: []MechanismType
	KindTemplate                   // array of CK_ATTRIBUTE: Template
	KindUlongs                     // array of CK_ULONG: []uint
)

// IV is a mechanism parameter that is a byte string as it is: an initialization vector, a public value.
type IV []byte

// MACGeneralParams is a mechanism parameter that is one number: the length of a MAC in bytes, or for
// CKM_EXTRACT_KEY_FROM_KEY the position of a bit. PKCS#11 v3.2, CK_MAC_GENERAL_PARAMS and CK_EXTRACT_PARAMS.
type MACGeneralParams uint

// names are the names of one type's constants, ordered by number; deprecated names stand after the
// current one. prefix begins them all.
type names struct {
	prefix string
	all    []name
}

type name struct {
	value uint
	name  string
}

// text returns the name of v, or prefix and number, such as CKM_0x80001234.
func (n names) text(v uint) string {
	i := sort.Search(len(n.all), func(i int) bool { return n.all[i].value >= v })
	if i < len(n.all) && n.all[i].value == v {
		return n.all[i].name
	}
	return fmt.Sprintf("%s0x%08X", n.prefix, v)
}

// MechanismTypes lists the mechanisms of the standard and of Coffer's own, in ascending order.
func MechanismTypes() []MechanismType {
	var list []MechanismType
	for _, n := range namesMechanismType.all {
		if t := MechanismType(n.value); len(list) == 0 || t != list[len(list)-1] {
			list = append(list, t)
		}
	}
	return list
}

// RVs lists the return values of the standard, in ascending order.
func RVs() []RV {
	list := make([]RV, len(namesRV.all))
	for i, n := range namesRV.all {
		list[i] = RV(n.value)
	}
	return slices.Compact(list)
}

// parse is the inverse of text. It also takes deprecated names and a number alone, decimal or with 0x.
func (n names) parse(text string) (uint, bool) {
	for _, c := range n.all {
		if c.name == text {
			return c.value, true
		}
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(text, n.prefix), 0, strconv.IntSize)
	return uint(v), err == nil
}
