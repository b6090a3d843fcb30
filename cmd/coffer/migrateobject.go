package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// foreign is an object at the source, with all of its attributes that are no key material.
type foreign struct {
	object
	at    any    // what the source knows it by
	name  string // for one that cannot be read: its file or handle
	fault error  // why it cannot be read
}

// carried is what migrate reads of the objects of a class: what a new object takes over as it is, the public part of its
// value, and the secret one.
type carried struct {
	name       string
	class      pkcs11.ObjectClass
	properties []pkcs11.AttributeType
	value      []pkcs11.AttributeType
	secret     []pkcs11.AttributeType
}

var (
	carriedStorage = []pkcs11.AttributeType{pkcs11.CKA_LABEL, pkcs11.CKA_PRIVATE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_COPYABLE,
		pkcs11.CKA_DESTROYABLE}
	carriedKey = append(slices.Clip(carriedStorage), pkcs11.CKA_KEY_TYPE, pkcs11.CKA_ID, pkcs11.CKA_START_DATE, pkcs11.CKA_END_DATE,
		pkcs11.CKA_DERIVE, pkcs11.CKA_ALLOWED_MECHANISMS)
	carriedGuarded = append(slices.Clip(carriedKey), pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_WRAP_WITH_TRUSTED,
		pkcs11.CKA_SIGN, pkcs11.CKA_DECRYPT, pkcs11.CKA_UNWRAP, pkcs11.CKA_UNWRAP_TEMPLATE, pkcs11.CKA_DERIVE_TEMPLATE)
)

// carriedClasses is in the order in which objects are moved: a private key first, then what belongs to it.
var carriedClasses = []carried{
	{"private", pkcs11.CKO_PRIVATE_KEY, append(slices.Clip(carriedGuarded), pkcs11.CKA_SUBJECT, pkcs11.CKA_SIGN_RECOVER,
		pkcs11.CKA_DECAPSULATE, pkcs11.CKA_ALWAYS_AUTHENTICATE),
		[]pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_PRIME, pkcs11.CKA_SUBPRIME,
			pkcs11.CKA_BASE, pkcs11.CKA_PARAMETER_SET},
		[]pkcs11.AttributeType{pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1,
			pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT, pkcs11.CKA_SEED, pkcs11.CKA_VALUE}},
	{"public", pkcs11.CKO_PUBLIC_KEY, append(slices.Clip(carriedKey), pkcs11.CKA_SUBJECT, pkcs11.CKA_ENCRYPT, pkcs11.CKA_VERIFY,
		pkcs11.CKA_VERIFY_RECOVER, pkcs11.CKA_WRAP, pkcs11.CKA_ENCAPSULATE, pkcs11.CKA_WRAP_TEMPLATE),
		[]pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT, pkcs11.CKA_PRIME,
			pkcs11.CKA_SUBPRIME, pkcs11.CKA_BASE, pkcs11.CKA_PARAMETER_SET, pkcs11.CKA_VALUE}, nil},
	{"certificate", pkcs11.CKO_CERTIFICATE, append(slices.Clip(carriedStorage), pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKA_ID, pkcs11.CKA_SUBJECT,
		pkcs11.CKA_ISSUER, pkcs11.CKA_SERIAL_NUMBER, pkcs11.CKA_CERTIFICATE_CATEGORY, pkcs11.CKA_START_DATE, pkcs11.CKA_END_DATE, pkcs11.CKA_URL,
		pkcs11.CKA_HASH_OF_SUBJECT_PUBLIC_KEY, pkcs11.CKA_HASH_OF_ISSUER_PUBLIC_KEY, pkcs11.CKA_OWNER, pkcs11.CKA_AC_ISSUER,
		pkcs11.CKA_ATTR_TYPES),
		[]pkcs11.AttributeType{pkcs11.CKA_VALUE}, nil},
	{"secret", pkcs11.CKO_SECRET_KEY, append(slices.Clip(carriedGuarded), pkcs11.CKA_ENCRYPT, pkcs11.CKA_VERIFY, pkcs11.CKA_WRAP,
		pkcs11.CKA_WRAP_TEMPLATE),
		nil, []pkcs11.AttributeType{pkcs11.CKA_VALUE}},
	{"parameters", pkcs11.CKO_DOMAIN_PARAMETERS, append(slices.Clip(carriedStorage), pkcs11.CKA_KEY_TYPE),
		[]pkcs11.AttributeType{pkcs11.CKA_PRIME, pkcs11.CKA_SUBPRIME, pkcs11.CKA_BASE}, nil},
	{"data", pkcs11.CKO_DATA, append(slices.Clip(carriedStorage), pkcs11.CKA_APPLICATION, pkcs11.CKA_OBJECT_ID),
		[]pkcs11.AttributeType{pkcs11.CKA_VALUE}, nil},
}

// shown are read too, for the report and for comparing. They are not taken over.
var shown = []pkcs11.AttributeType{pkcs11.CKA_VALUE_LEN, pkcs11.CKA_CHECK_VALUE, pkcs11.CKA_TRUSTED}

// itsOwn are the classes of objects that a token makes for itself.
var itsOwn = []pkcs11.ObjectClass{pkcs11.CKO_HW_FEATURE, pkcs11.CKO_MECHANISM, pkcs11.CKO_PROFILE, pkcs11.CKO_VALIDATION}

func carriedOf(class pkcs11.ObjectClass) *carried {
	i := slices.IndexFunc(carriedClasses, func(c carried) bool { return c.class == class })
	if i < 0 {
		return nil
	}
	return &carriedClasses[i]
}

// public are the attributes of a class that a source is asked for when it is listed.
func (c *carried) public() []pkcs11.AttributeType {
	return slices.Concat(c.properties, c.value, shown)
}

// typeName describes the object in a list.
func (f *foreign) typeName() string {
	switch f.class() {
	case pkcs11.CKO_CERTIFICATE:
		return "x509"
	case pkcs11.CKO_DATA:
		return ""
	}
	return f.object.typeName()
}

// String names the object in sentences.
func (f *foreign) String() string {
	if f.fault != nil {
		return f.name
	}
	return f.object.String()
}

// templateOf is what the new object of the token is, apart from its value. Every usage is said, so that no default of the
// token adds one.
func (f *foreign) templateOf(token bool) pkcs11.Template {
	c := carriedOf(f.class())
	tm := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, c.class), pkcs11.Attr(pkcs11.CKA_TOKEN, token)}
	for _, t := range c.properties {
		if v, ok := f.attrs.Get(t); ok && !void(t, v) {
			tm = append(tm, pkcs11.Attribute{Type: t, Value: pkcs11.CloneValue(v)})
		}
	}
	switch c.class {
	case pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY:
		tm = orElse(tm, pkcs11.CKA_SENSITIVE, true)
		tm = orElse(tm, pkcs11.CKA_EXTRACTABLE, false)
		fallthrough
	case pkcs11.CKO_PUBLIC_KEY:
		for _, u := range usages {
			if u.has(c.class) {
				tm = orElse(tm, u.attr, false)
			}
		}
	}
	return tm
}

func orElse(tm pkcs11.Template, t pkcs11.AttributeType, v bool) pkcs11.Template {
	if tm.Has(t) {
		return tm
	}
	return append(tm, pkcs11.Attr(t, v))
}

// void reports whether a value says nothing: modules differ in whether they have such attributes at all.
func void(t pkcs11.AttributeType, v any) bool {
	switch v := v.(type) {
	case []byte:
		return len(v) == 0
	case []pkcs11.MechanismType:
		return len(v) == 0
	case pkcs11.Template:
		return len(v) == 0
	case uint:
		return v == 0 && t == pkcs11.CKA_CERTIFICATE_CATEGORY
	}
	return false
}

// valueOf is the public part of the value.
func (f *foreign) valueOf() pkcs11.Template {
	var tm pkcs11.Template
	for _, t := range carriedOf(f.class()).value {
		if v, ok := f.attrs.Get(t); ok && !void(t, v) {
			tm = append(tm, pkcs11.Attribute{Type: t, Value: pkcs11.CloneValue(v)})
		}
	}
	return tm
}

// sameValue reports whether two objects of one class have the same public value: numbers may begin with zeros, and points
// of curves may be inside an OCTET STRING.
func sameValue(a, b pkcs11.Template, types []pkcs11.AttributeType) bool {
	for _, t := range types {
		x, y := a.Bytes(t), b.Bytes(t)
		switch t {
		case pkcs11.CKA_EC_PARAMS:
			if c, ok := curveOf(x); ok {
				x = c.params()
			}
			if c, ok := curveOf(y); ok {
				y = c.params()
			}
		case pkcs11.CKA_EC_POINT:
			if c, ok := curveOf(a.Bytes(pkcs11.CKA_EC_PARAMS)); ok {
				x, y = rawPoint(c, x), rawPoint(c, y)
			}
		case pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIME, pkcs11.CKA_SUBPRIME, pkcs11.CKA_BASE:
			x, y = bytes.TrimLeft(x, "\x00"), bytes.TrimLeft(y, "\x00")
		}
		if !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}

// unsupported says why an object of this kind is never moved.
func (f *foreign) unsupported() error {
	switch {
	case f.fault != nil:
		return f.fault
	case carriedOf(f.class()) == nil:
		return failed("objects of class %v are not moved", "keys, certificates and data are", f.class())
	}
	switch f.keyType() {
	case pkcs11.CKK_HSS, pkcs11.CKK_XMSS, pkcs11.CKK_XMSSMT:
		if f.class() == pkcs11.CKO_PRIVATE_KEY {
			return failed("a key of one-time signatures must not be in two places", "make a new one: its next signature could be one that was made already")
		}
	}
	return nil
}

// oldTypes are the mechanisms without which a token has no use for an old type of key.
var oldTypes = map[pkcs11.KeyType]pkcs11.MechanismType{
	pkcs11.CKK_DES: pkcs11.CKM_DES_CBC, pkcs11.CKK_DES2: pkcs11.CKM_DES3_CBC, pkcs11.CKK_DES3: pkcs11.CKM_DES3_CBC,
	pkcs11.CKK_DSA: pkcs11.CKM_DSA, pkcs11.CKK_RC4: pkcs11.CKM_RC4, pkcs11.CKK_BLOWFISH: pkcs11.CKM_BLOWFISH_CBC,
	pkcs11.CKK_TWOFISH: pkcs11.CKM_TWOFISH_CBC, pkcs11.CKK_CAST128: pkcs11.CKM_CAST128_CBC, pkcs11.CKK_MD5_HMAC: pkcs11.CKM_MD5_HMAC,
	pkcs11.CKK_RIPEMD160_HMAC: pkcs11.CKM_RIPEMD160_HMAC,
}

// useless says why the target would have no use for a key.
func (t *token) useless(f *foreign) error {
	m, old := oldTypes[f.keyType()]
	if !f.attrs.Has(pkcs11.CKA_KEY_TYPE) || !old {
		return nil
	}
	if _, ok := t.Mechanism(m); ok {
		return nil
	}
	return failed("the token has no mechanisms for keys of type %s", "they are dead; where old data needs them, the token's policy can say legacy = true",
		fmt.Sprint(f.keyType()))
}
