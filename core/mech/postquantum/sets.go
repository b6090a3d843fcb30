package postquantum

import (
	"encoding/asn1"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Set is a parameter set of an algorithm.
type Set interface {
	// Identity is its value of CKA_PARAMETER_SET and its name in DER.
	Identity() (pkcs11.ParameterSet, asn1.ObjectIdentifier)
}

// Sets are the parameter sets of one algorithm.
type Sets[S Set] struct {
	Algorithm string
	All       []S
}

// Of reads CKA_PARAMETER_SET: CKR_TEMPLATE_INCOMPLETE if there is none, CKR_ATTRIBUTE_VALUE_INVALID if it is another
// algorithm's.
func (l Sets[S]) Of(id uint, known bool) (s S, err error) {
	if !known {
		return s, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PARAMETER_SET is needed")
	}
	for _, s := range l.All {
		if is, _ := s.Identity(); uint(is) == id {
			return s, nil
		}
	}
	return s, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PARAMETER_SET %d is none of %s", id, l.Algorithm)
}

// Named finds a set by its name in DER; CKR_WRAPPED_KEY_INVALID if it is another algorithm's.
func (l Sets[S]) Named(oid asn1.ObjectIdentifier) (s S, err error) {
	for _, s := range l.All {
		if _, is := s.Identity(); is.Equal(oid) {
			return s, nil
		}
	}
	return s, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a key of algorithm %v, %s was expected", oid, l.Algorithm)
}

// Expanded returns a key's expanded form, which expand makes of its parameter set at the first use.
func Expanded[K any, S Set](k mech.Key, l Sets[S], expand func(S) (K, error)) (key K, err error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) {
		s, err := l.Of(k.Uint(pkcs11.CKA_PARAMETER_SET))
		if err != nil {
			return nil, err
		}
		return expand(s)
	})
	if err != nil {
		return key, err
	}
	key, ok := x.(K)
	if !ok {
		return key, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a %T is needed", x, key)
	}
	return key, nil
}

// NoParameter is the check of mechanisms that take none.
func NoParameter(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}
