package object

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// policy is the merged rows of one class and type, with what the interpreter would otherwise find out about them each time.
type policy struct {
	*kind
	name       string
	keyType    pkcs11.KeyType
	hasKeyType bool

	rows   []row // in ascending order of attribute
	low    *lowRows
	by     [numRules]rowSet // which rows have a rule, by its bit
	flags  rowSet           // whose attributes are boolean
	limits rowSet           // CKA_ALLOWED_MECHANISMS
	judged rowSet           // that have a say in which values a new object may have

	fixed, on   rowSet // that have the same value if nobody names one; which of those are true
	early, late rowSet // whose value is then chosen; the same, of those that only the token sets

	slots  [mostRows]uint8        // a row's place among the values of a head
	valued []pkcs11.AttributeType // whose value is in a place
}

// lowRows says which of the rows of a policy are those of the attributes below its length, where nearly all are that
// anybody asks for: the number of the row and 1; 0 for none.
type lowRows [0x240]uint8

func lowOf(rows []row) *lowRows {
	var low lowRows
	for i, r := range rows {
		if r.attr < pkcs11.AttributeType(len(low)) {
			low[r.attr] = uint8(i + 1)
		}
	}
	return &low
}

// merged are the rows of a list of columns: of two for an attribute, the later one.
func merged(columns [][]row) []row {
	last := map[pkcs11.AttributeType]row{}
	for _, column := range columns {
		for _, r := range column {
			last[r.attr] = r
		}
	}
	return slices.SortedFunc(maps.Values(last), func(a, b row) int { return cmp.Compare(a.attr, b.attr) })
}

// newPolicy makes rows ready for use.
func newPolicy(k *kind, rows []row) *policy {
	p := &policy{kind: k, name: k.class.String(), rows: rows, low: lowOf(rows)}
	for i, r := range rows {
		this := rowSet(1) << i
		for rule := range p.by {
			if r.has(1 << rule) {
				p.by[rule] |= this
			}
		}
		if r.attr == pkcs11.CKA_ALLOWED_MECHANISMS {
			p.limits = this
		}
		if r.has(computed|soOnly) || r.valid != nil {
			p.judged |= this
		}
		if kind, _ := r.attr.Kind(); kind == pkcs11.KindBool {
			p.flags |= this
		} else if !r.has(secret) && r.attr != pkcs11.CKA_UNIQUE_ID {
			p.slots[i] = uint8(len(p.valued))
			p.valued = append(p.valued, r.attr)
		}
		switch {
		case r.value == nil:
		case r.value.choose == nil:
			p.fixed |= this
			if r.value.always == true {
				p.on |= this
			}
		case r.has(computed):
			p.late |= this
		default:
			p.early |= this
		}
	}
	return p
}

// of returns the same policy for one of the types that share it.
func (p *policy) of(typ uint) *policy {
	own := *p
	switch subtype(p.class) {
	case pkcs11.CKA_KEY_TYPE:
		own.keyType, own.hasKeyType = pkcs11.KeyType(typ), true
		own.name += "/" + own.keyType.String()
	case pkcs11.CKA_HW_FEATURE_TYPE:
		own.name += fmt.Sprintf("/%#x", typ)
	case pkcs11.CKA_CERTIFICATE_TYPE:
		own.name += "/" + pkcs11.CertificateType(typ).String()
	}
	return &own
}

func (p *policy) String() string { return p.name }

// with returns the rows that have one of the rules.
func (p *policy) with(rules rule) (s rowSet) {
	for ; rules != 0; rules &= rules - 1 {
		s |= p.by[bits.TrailingZeros32(uint32(rules))]
	}
	return s
}

// row returns the row of an attribute, nil where objects of this kind cannot have it.
func (p *policy) row(t pkcs11.AttributeType) *row {
	if i, known := p.place(t); known {
		return &p.rows[i]
	}
	return nil
}

// place returns the number of an attribute's row; known is false where objects of this kind cannot have it.
func (p *policy) place(t pkcs11.AttributeType) (i uint, known bool) {
	if t >= pkcs11.AttributeType(len(p.low)) {
		return p.highPlace(t)
	}
	n := uint(p.low[t])
	return n - 1, n > 0
}

func (p *policy) highPlace(t pkcs11.AttributeType) (i uint, known bool) {
	n, known := slices.BinarySearchFunc(p.rows, t, func(r row, t pkcs11.AttributeType) int { return cmp.Compare(r.attr, t) })
	return uint(n), known
}

// policies is the schema made ready for use, once.
type policies struct {
	classes  [numClasses]ofClass
	builtin  [numClasses]bool
	keyTypes map[uint]bool
	material map[pkcs11.AttributeType]bool // key material of any kind
}

// numClasses is above the numbers of the standard's classes.
const numClasses = 16

// ofClass is the policies of one class, by what tells its kinds apart; nil where there are no objects of the class.
type ofClass map[uint]*policy

// of returns the policies of a class.
func (all *policies) of(c pkcs11.ObjectClass) ofClass {
	if c >= numClasses {
		return nil
	}
	return all.classes[c]
}

// subtypes are the attributes that tell the kinds of a class apart.
var subtypes = [numClasses]pkcs11.AttributeType{
	pkcs11.CKO_CERTIFICATE:       pkcs11.CKA_CERTIFICATE_TYPE,
	pkcs11.CKO_HW_FEATURE:        pkcs11.CKA_HW_FEATURE_TYPE,
	pkcs11.CKO_DOMAIN_PARAMETERS: pkcs11.CKA_KEY_TYPE,
	pkcs11.CKO_PUBLIC_KEY:        pkcs11.CKA_KEY_TYPE,
	pkcs11.CKO_PRIVATE_KEY:       pkcs11.CKA_KEY_TYPE,
	pkcs11.CKO_SECRET_KEY:        pkcs11.CKA_KEY_TYPE,
	pkcs11.CKO_OTP_KEY:           pkcs11.CKA_KEY_TYPE,
}

// subtype is the attribute that tells the kinds of a class apart; CKA_CLASS where there is one kind only.
func subtype(c pkcs11.ObjectClass) pkcs11.AttributeType {
	if c >= numClasses {
		return pkcs11.CKA_CLASS
	}
	return subtypes[c]
}

var table = sync.OnceValue(func() *policies {
	all := &policies{keyTypes: map[uint]bool{}, material: map[pkcs11.AttributeType]bool{}}
	for _, k := range schema() {
		p := newPolicy(&k, merged(k.columns))
		for _, r := range p.rows {
			all.material[r.attr] = all.material[r.attr] || r.has(secret)
		}
		if all.classes[k.class] == nil {
			all.classes[k.class] = ofClass{}
		}
		all.builtin[k.class] = k.builtin
		if k.types == nil {
			all.classes[k.class][0] = p
		}
		for _, t := range k.types {
			if subtype(k.class) == pkcs11.CKA_KEY_TYPE {
				all.keyTypes[t] = true
			}
			all.classes[k.class][t] = p.of(t)
		}
	}
	return all
})

// policyOf finds the policy for a template that names its class and type.
func policyOf(t pkcs11.Template) (*policy, error) {
	c, ok := t.Uint(pkcs11.CKA_CLASS)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_CLASS is missing")
	}
	class := pkcs11.ObjectClass(c)
	kinds := table().of(class)
	if kinds == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "there are no objects of class %v here", class)
	}
	var typ uint
	if attr := subtype(class); attr != pkcs11.CKA_CLASS {
		if typ, ok = t.Uint(attr); !ok {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is missing", attr)
		}
	}
	if p := kinds[typ]; p != nil {
		return p, nil
	}
	if subtype(class) == pkcs11.CKA_KEY_TYPE && table().keyTypes[typ] {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is no key type for %v", pkcs11.KeyType(typ), class)
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v has no type %s", class, fmt.Sprintf("%#x", typ))
}

// SecretAttribute reports whether an attribute of such an object is key material and belongs in the secret part.
func SecretAttribute(class pkcs11.ObjectClass, kt pkcs11.KeyType, t pkcs11.AttributeType) bool {
	p := table().of(class)[uint(kt)]
	if p == nil {
		return false
	}
	r := p.row(t)
	return r != nil && r.has(secret)
}
