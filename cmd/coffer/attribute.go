package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// shownTypes are the attributes that key show asks for, in its order. None of them is ever secret; the values of keys
// are not in the list, so that no careless template brings them to a terminal.
var shownTypes = []pkcs11.AttributeType{
	pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_UNIQUE_ID,
	pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_COPYABLE, pkcs11.CKA_DESTROYABLE,
	pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_NEVER_EXTRACTABLE,
	pkcs11.CKA_LOCAL, pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.CKA_ALWAYS_AUTHENTICATE, pkcs11.CKA_TRUSTED, pkcs11.CKA_WRAP_WITH_TRUSTED,
	pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_VERIFY, pkcs11.CKA_VERIFY_RECOVER,
	pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE, pkcs11.CKA_ALLOWED_MECHANISMS,
	pkcs11.CKA_START_DATE, pkcs11.CKA_END_DATE, pkcs11.CKA_SUBJECT, pkcs11.CKA_ISSUER, pkcs11.CKA_SERIAL_NUMBER,
	pkcs11.CKA_MODULUS_BITS, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT,
	pkcs11.CKA_VALUE_LEN, pkcs11.CKA_CHECK_VALUE, pkcs11.CKA_PUBLIC_KEY_INFO,
}

// named numbers print as the standard's names.
var numberNames = map[pkcs11.AttributeType]func(uint) string{
	pkcs11.CKA_CLASS:             func(v uint) string { return pkcs11.ObjectClass(v).String() },
	pkcs11.CKA_KEY_TYPE:          func(v uint) string { return pkcs11.KeyType(v).String() },
	pkcs11.CKA_CERTIFICATE_TYPE:  func(v uint) string { return pkcs11.CertificateType(v).String() },
	pkcs11.CKA_KEY_GEN_MECHANISM: func(v uint) string { return mechanismName(v) },
}

func mechanismName(v uint) string {
	if v == pkcs11.CK_UNAVAILABLE_INFORMATION {
		return "none"
	}
	return pkcs11.MechanismType(v).String()
}

// jsonValue is an attribute's value in JSON: booleans, numbers and names as they are, bytes in hex.
func jsonValue(a pkcs11.Attribute) any {
	switch v := a.Value.(type) {
	case uint:
		if name := numberNames[a.Type]; name != nil {
			return name(v)
		}
		return v
	case []byte:
		if kind, _ := a.Type.Kind(); (kind == pkcs11.KindString || kind == pkcs11.KindDate) && utf8.Valid(v) {
			return string(v)
		}
		return hex.EncodeToString(v)
	case []pkcs11.MechanismType:
		names := []string{}
		for _, m := range v {
			names = append(names, m.String())
		}
		return names
	case pkcs11.Template:
		return fmt.Sprint(v)
	}
	return a.Value
}

// textValue is the same for people.
func textValue(v any) string {
	switch v := v.(type) {
	case bool:
		return yesNo(v)
	case []string:
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(v)
}
