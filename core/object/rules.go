package object

import (
	"fmt"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// rule is a set of named rules for one attribute. Those with a number are the standard's footnotes (PKCS#11 v3.2, common
// footnotes for object attribute tables).
type rule uint32

const (
	createMust    rule = 1 << iota // 1: must be in the template of C_CreateObject
	createNever                    // 2: must not be in the template of C_CreateObject
	generateMust                   // 3: must be in the template of C_GenerateKey, C_GenerateKeyPair
	generateNever                  // 4: must not be in it; nor in that of a derivation, which makes material just the same
	unwrapMust                     // 5: must be in the template of C_UnwrapKey
	unwrapNever                    // 6: must not be in the template of C_UnwrapKey
	secret                         // 7: key material, in the secret part
	settable                       // 8: C_SetAttributeValue and C_CopyObject may change it
	soOnly                         // 10: only the SO sets it to true; nobody else changes it later
	stickyTrue                     // 11: once true it stays
	stickyFalse                    // 12: once false it stays

	onCopy    // C_CopyObject may change it, C_SetAttributeValue may not
	computed  // the token's alone: no template may name it
	derived   // follows from the material; a template may name it if it says the same
	clearable // an empty value in a template is a wish: no such attribute
	either    // of the rows with this rule one at least is there, in the template of C_CreateObject and in the end
	atLast    // is there in the end, whoever brings it; what createMust names is too
	hint      // clients send it and nothing comes of it: neither compared nor kept
	guard     // protection rests on it: no object of this kind is without it
	usage     // says what the key may do

	numRules = iota
)

// Sets of rules that go together.
const (
	material   = generateNever | unwrapNever                          // 4,6
	given      = createMust | material                                // 1,4,6: what a mechanism makes and an import brings
	concealed  = material | secret                                    // 4,6,7
	keySecret  = given | secret                                       // 1,4,6,7
	parameters = createMust | generateMust                            // 1,3: what the caller chooses when a pair is made
	published  = createMust | generateNever                           // 1,4
	length     = createNever | generateMust                           // 2,3
	permission = settable | usage                                     // 8
	byToken    = createNever | generateNever | unwrapNever | computed // 2,4,6
)

// row is one attribute of one kind of object.
type row struct {
	attr  pkcs11.AttributeType
	rules rule
	value *def              // what it becomes if the template does not say; nil: nothing
	valid func(v any) error // which values it may have, beyond their form; nil: all
}

func (r *row) has(set rule) bool { return r.rules&set != 0 }

// def is the value of an attribute that the template left open, or that the token alone sets: always the same, or what is
// chosen. Who chooses sees what is already decided, and returns nil for "no such attribute".
type def struct {
	always any
	choose func(d *Draft, t pkcs11.AttributeType) any
}

func constant(v any) *def { return &def{always: v} }

func chosen(by func(d *Draft, t pkcs11.AttributeType) any) *def { return &def{choose: by} }

var (
	yes   = constant(true)
	no    = constant(false)
	empty = constant([]byte{})
	zero  = constant(uint(0))
)

// Op is what makes or changes an object.
type Op uint8

// The operations. Encapsulation and decapsulation are C_EncapsulateKey and C_DecapsulateKey of v3.2.
const (
	OpCreate Op = iota
	OpGenerate
	OpUnwrap
	OpDerive
	OpEncapsulate
	OpDecapsulate
	OpCopy
	OpSet
)

// past says where CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE of a new key come from.
type past uint8

const (
	pastUnknown past = iota // the value was known outside: both false
	pastNone                // made here and now: they repeat the key's own flags
	pastOfBase              // true only if they are true of the base key as well
)

// operation is what the interpreter knows of an Op.
type operation struct {
	name        string
	must, never rule // the rules that bind in it
	change      rule // an existing object's attribute changes only if it has one of these; 0 for new objects
	past        past
	local       bool                   // CKA_LOCAL
	extractable bool                   // CKA_EXTRACTABLE if the template does not say
	secretKey   bool                   // without a class or type in the template it makes a generic secret
	classes     []pkcs11.ObjectClass   // what it makes, where the mechanism does not say; nil: any
	template    []pkcs11.AttributeType // of the base key: what it adds to the template
	conflict    pkcs11.RV              // answer for a template that says otherwise
	length      pkcs11.RV              // answer for a CKA_VALUE_LEN that is not the value's
}

// What comes out of other keys is a key: as a data object it could be read.
var (
	secretKeys      = []pkcs11.ObjectClass{pkcs11.CKO_SECRET_KEY}
	wrappedKeys     = []pkcs11.ObjectClass{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_OTP_KEY}
	unwrapTemplates = []pkcs11.AttributeType{pkcs11.CKA_UNWRAP_TEMPLATE}
	deriveTemplates = []pkcs11.AttributeType{pkcs11.CKA_DERIVE_TEMPLATE}
	encapsTemplates = []pkcs11.AttributeType{pkcs11.CKA_ENCAPSULATE_TEMPLATE}
	decapsTemplates = []pkcs11.AttributeType{pkcs11.CKA_DECAPSULATE_TEMPLATE}
)

var operations = [...]operation{
	OpCreate: {name: "create", must: createMust, never: createNever, length: pkcs11.CKR_TEMPLATE_INCONSISTENT},
	OpGenerate: {name: "generate", must: generateMust, never: generateNever, past: pastNone, local: true,
		length: pkcs11.CKR_TEMPLATE_INCONSISTENT},
	OpUnwrap: {name: "unwrap", must: unwrapMust, never: unwrapNever, extractable: true, classes: wrappedKeys,
		template: unwrapTemplates, conflict: pkcs11.CKR_TEMPLATE_INCONSISTENT, length: pkcs11.CKR_WRAPPED_KEY_LEN_RANGE},
	OpDerive: {name: "derive", never: generateNever, past: pastOfBase, secretKey: true, classes: secretKeys,
		template: deriveTemplates, conflict: pkcs11.CKR_TEMPLATE_INCONSISTENT, length: pkcs11.CKR_TEMPLATE_INCONSISTENT},
	OpEncapsulate: {name: "encapsulate", never: generateNever, extractable: true, secretKey: true, classes: secretKeys,
		template: encapsTemplates, conflict: pkcs11.CKR_KEY_HANDLE_INVALID, length: pkcs11.CKR_TEMPLATE_INCONSISTENT},
	OpDecapsulate: {name: "decapsulate", never: generateNever, extractable: true, secretKey: true, classes: secretKeys,
		template: decapsTemplates, conflict: pkcs11.CKR_TEMPLATE_INCONSISTENT, length: pkcs11.CKR_TEMPLATE_INCONSISTENT},
	OpCopy: {name: "copy", change: settable | onCopy},
	OpSet:  {name: "set", change: settable},
}

func (op Op) String() string {
	if int(op) >= len(operations) {
		return fmt.Sprintf("Op(%d)", uint8(op))
	}
	return operations[op].name
}

// admit applies a row's rules to one value of a template. old is the value that the object has, nil for a new object or
// an attribute that it lacks.
func (r *row) admit(op Op, so bool, old, v any) error {
	o := &operations[op]
	unchanged := old != nil && pkcs11.EqualValue(old, v)
	switch {
	case r.has(computed | o.never):
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_READ_ONLY, "%v is not for the template of %v", r.attr, op)
	case o.change != 0 && !r.has(o.change):
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_READ_ONLY, "%v cannot be changed by %v", r.attr, op)
	case unchanged:
		return nil
	case r.has(soOnly) && !so && (v == true || old == true):
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_READ_ONLY, "%v is the SO's to set", r.attr)
	case r.has(stickyTrue) && old == true, r.has(stickyFalse) && old == false:
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_READ_ONLY, "%v stays %v", r.attr, old)
	case o.change != 0 && r.has(derived) && !(r.has(clearable) && isEmpty(v)):
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v follows from the key", r.attr)
	}
	if r.valid != nil {
		if err := r.valid(v); err != nil {
			return fmt.Errorf("%v: %w", r.attr, err)
		}
	}
	return nil
}

func isEmpty(v any) bool {
	b, ok := v.([]byte)
	return ok && len(b) == 0
}

// The checks of values.

func only(want any) func(any) error {
	return func(v any) error {
		if v != want {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "must be %v for this key type", want)
		}
		return nil
	}
}

func upTo(last uint) func(any) error {
	return func(v any) error {
		if n, ok := v.(uint); !ok || n > last {
			return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v, at most %d expected", v, last)
		}
		return nil
	}
}

// someMechanisms refuses an empty list. Readers take an empty list for "nothing is allowed", writers mean "no limit":
// neither shall be guessed.
func someMechanisms(v any) error {
	if list, ok := v.([]pkcs11.MechanismType); !ok || len(list) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "an empty list allows nothing; leave it out to allow all")
	}
	return nil
}
