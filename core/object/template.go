package object

import (
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// maxDepth is how deep templates may nest: an attribute of the object itself is at depth 1.
const maxDepth = 4

// wellFormed checks what can be said of a template without knowing what it is for: every attribute is one of the
// standard's, has a value of the right form, and is there once.
//
// The standard leaves it open whether the same value twice is an error; here it is.
func wellFormed(t pkcs11.Template) error { return wellFormedAt(t, 1) }

func wellFormedAt(t pkcs11.Template, depth int) error {
	if depth > maxDepth {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "templates nest deeper than %d", maxDepth)
	}
	for _, a := range t {
		if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
			return err
		}
		if kind, _ := a.Type.Kind(); kind == pkcs11.KindDate {
			if err := checkDate(a); err != nil {
				return err
			}
		}
		inner, nested := a.Value.(pkcs11.Template)
		if !nested {
			continue
		}
		for _, b := range inner {
			if table().material[b.Type] {
				return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v has no place in %v", b.Type, a.Type)
			}
		}
		if err := wellFormedAt(inner, depth+1); err != nil {
			return err
		}
	}
	if t, twice := repeated(t); twice {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is there twice", t)
	}
	return nil
}

// repeated finds an attribute that is there twice.
func repeated(t pkcs11.Template) (pkcs11.AttributeType, bool) {
	var low [len(lowRows{}) / 64]uint64 // who has been seen, a bit for each; of the others there are few
	for i, a := range t {
		word := a.Type / 64
		if word >= pkcs11.AttributeType(len(low)) {
			if t[:i].Has(a.Type) {
				return a.Type, true
			}
			continue
		}
		if low[word]>>(a.Type%64)&1 != 0 {
			return a.Type, true
		}
		low[word] |= 1 << (a.Type % 64)
	}
	return 0, false
}

// checkDate refuses days that no calendar has. No date at all is a value.
func checkDate(a pkcs11.Attribute) error {
	b, _ := a.Value.([]byte)
	if len(b) == 0 {
		return nil
	}
	if _, err := time.Parse("20060102", string(b)); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v is no day of the calendar", a.Type)
	}
	return nil
}

// merge adds what a base key's template demands to what the caller asked for, which it takes over; it is not ok if they say
// two things of an attribute.
func merge(asked, demanded pkcs11.Template) (out pkcs11.Template, against pkcs11.AttributeType, ok bool) {
	out = asked
	for _, a := range demanded {
		v, there := asked.Get(a.Type)
		switch {
		case !there:
			out = append(out, a)
		case !pkcs11.EqualValue(v, a.Value):
			return nil, a.Type, false
		}
	}
	return out, 0, true
}

// Checks of an object as a whole, on all its attributes outside the secret part.

// checkDates refuses a life that ends before it begins.
func checkDates(h *head) error {
	start, end := h.Bytes(pkcs11.CKA_START_DATE), h.Bytes(pkcs11.CKA_END_DATE)
	if len(end) > 0 && string(start) > string(end) { // an empty start is before every day
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_END_DATE %s is before CKA_START_DATE %s", end, start)
	}
	return nil
}

// checkStateful is checkPrivate for a private key whose every signature uses up a part of it. Its state has to be in the
// token: a session object's could be put back.
func checkStateful(h *head) error {
	if !h.isOn(pkcs11.CKA_TOKEN) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "a private key with state is a token object: CKA_TOKEN must be true")
	}
	return checkPrivate(h)
}

// checkPrivate ties CKA_ALWAYS_AUTHENTICATE to CKA_PRIVATE (PKCS#11 v3.2, private key objects).
func checkPrivate(h *head) error {
	if h.isOn(pkcs11.CKA_ALWAYS_AUTHENTICATE) && !h.isOn(pkcs11.CKA_PRIVATE) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_ALWAYS_AUTHENTICATE without CKA_PRIVATE")
	}
	return nil
}

// checkCertificate wants the certificate or a place to fetch it from, with hashes to know it by (X.509 and WTLS
// certificate objects, footnotes 2 to 4).
func checkCertificate(h *head) error {
	value, url := h.Bytes(pkcs11.CKA_VALUE), h.Bytes(pkcs11.CKA_URL)
	if len(value) == 0 && len(url) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "neither CKA_VALUE nor CKA_URL")
	}
	if len(value) == 0 && !h.holds(pkcs11.CKA_SUBJECT) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_SUBJECT is missing")
	}
	if len(url) == 0 {
		return nil
	}
	for _, hash := range []pkcs11.AttributeType{pkcs11.CKA_HASH_OF_SUBJECT_PUBLIC_KEY, pkcs11.CKA_HASH_OF_ISSUER_PUBLIC_KEY} {
		if len(h.Bytes(hash)) == 0 {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_URL without %v", hash)
		}
	}
	return nil
}

// checkTrust wants the certificate's hash wherever something is trusted (trust objects, footnote 2).
func checkTrust(h *head) error {
	for _, r := range trust {
		v, given := h.Uint(r.attr)
		if !given || r.attr == pkcs11.CKA_NAME_HASH_ALGORITHM || v == pkcs11.CKT_TRUST_UNKNOWN || v == pkcs11.CKT_NOT_TRUSTED {
			continue
		}
		if len(h.Bytes(pkcs11.CKA_HASH_OF_CERTIFICATE)) == 0 {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v without CKA_HASH_OF_CERTIFICATE", r.attr)
		}
	}
	return nil
}
