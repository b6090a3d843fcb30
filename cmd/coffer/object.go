package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// classes are the kinds of objects that the key commands know, in the order of lists.
var classes = []struct {
	name  string
	class pkcs11.ObjectClass
}{
	{"private", pkcs11.CKO_PRIVATE_KEY},
	{"public", pkcs11.CKO_PUBLIC_KEY},
	{"secret", pkcs11.CKO_SECRET_KEY},
	{"certificate", pkcs11.CKO_CERTIFICATE},
}

func className(c pkcs11.ObjectClass) string {
	for _, r := range classes {
		if r.class == c {
			return r.name
		}
	}
	return c.String()
}

func classNames() string {
	var names []string
	for _, r := range classes {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

// parseClass reads a --class flag; empty means all of them.
func parseClass(name string) ([]pkcs11.ObjectClass, error) {
	var all []pkcs11.ObjectClass
	for _, r := range classes {
		if r.name == name {
			return []pkcs11.ObjectClass{r.class}, nil
		}
		all = append(all, r.class)
	}
	if name != "" {
		return nil, usage("--class %q is not known", "known are: "+classNames(), name)
	}
	return all, nil
}

// usageWord is something that a key may be used for, by the words of --usage.
type usageWord struct {
	name string
	attr pkcs11.AttributeType
	pair string // what the other half of a pair then does
	half pkcs11.ObjectClass
}

var usages = []usageWord{
	{"encrypt", pkcs11.CKA_ENCRYPT, "decrypt", pkcs11.CKO_PUBLIC_KEY},
	{"decrypt", pkcs11.CKA_DECRYPT, "encrypt", pkcs11.CKO_PRIVATE_KEY},
	{"sign", pkcs11.CKA_SIGN, "verify", pkcs11.CKO_PRIVATE_KEY},
	{"verify", pkcs11.CKA_VERIFY, "sign", pkcs11.CKO_PUBLIC_KEY},
	{"wrap", pkcs11.CKA_WRAP, "unwrap", pkcs11.CKO_PUBLIC_KEY},
	{"unwrap", pkcs11.CKA_UNWRAP, "wrap", pkcs11.CKO_PRIVATE_KEY},
	{"encapsulate", pkcs11.CKA_ENCAPSULATE, "decapsulate", pkcs11.CKO_PUBLIC_KEY},
	{"decapsulate", pkcs11.CKA_DECAPSULATE, "encapsulate", pkcs11.CKO_PRIVATE_KEY},
	{"derive", pkcs11.CKA_DERIVE, "", pkcs11.CKO_PRIVATE_KEY},
}

// fits reports whether this usage makes sense for a class; for a secret key all do but encapsulation.
func (u usageWord) fits(class pkcs11.ObjectClass) bool {
	pairsOnly := u.attr == pkcs11.CKA_ENCAPSULATE || u.attr == pkcs11.CKA_DECAPSULATE
	return class == u.half || class == pkcs11.CKO_SECRET_KEY && !pairsOnly
}

// has reports whether objects of a class have the attribute: every key has CKA_DERIVE.
func (u usageWord) has(class pkcs11.ObjectClass) bool {
	return u.fits(class) || class == pkcs11.CKO_PUBLIC_KEY && u.attr == pkcs11.CKA_DERIVE
}

// summaryTypes are the attributes that lists and selections need.
var summaryTypes = []pkcs11.AttributeType{
	pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_PRIVATE,
	pkcs11.CKA_MODULUS, pkcs11.CKA_PRIME, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_PARAMETER_SET, pkcs11.CKA_VALUE_LEN,
	pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE,
	pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE,
	pkcs11.CKA_ENCAPSULATE, pkcs11.CKA_DECAPSULATE,
}

// object is an object of the token with those of its attributes that were read.
type object struct {
	ref   hsm.Object
	attrs pkcs11.Template
}

func (o object) class() pkcs11.ObjectClass {
	v, _ := o.attrs.Uint(pkcs11.CKA_CLASS)
	return pkcs11.ObjectClass(v)
}

func (o object) keyType() pkcs11.KeyType {
	v, _ := o.attrs.Uint(pkcs11.CKA_KEY_TYPE)
	return pkcs11.KeyType(v)
}

func (o object) label() string { return string(o.attrs.Bytes(pkcs11.CKA_LABEL)) }
func (o object) id() string    { return hex.EncodeToString(o.attrs.Bytes(pkcs11.CKA_ID)) }

func (o object) flag(t pkcs11.AttributeType) bool {
	v, _ := o.attrs.Bool(t)
	return v
}

// String names the object in sentences.
func (o object) String() string {
	return fmt.Sprintf("%s %q", strings.TrimSuffix(className(o.class())+" key", "certificate key"), printable(o.label()))
}

// usage lists what the key may do.
func (o object) usage() []string {
	words := []string{}
	for _, u := range usages {
		if o.flag(u.attr) {
			words = append(words, u.name)
		}
	}
	return words
}

// read gives the object with these attributes; those that it does not have or does not give are left out.
func (t *token) read(ctx context.Context, ref hsm.Object, types []pkcs11.AttributeType) (object, error) {
	values, err := t.Attributes(ctx, t.cred, ref, types)
	if err != nil {
		return object{}, err
	}
	o := object{ref: ref}
	for i, v := range values {
		if v.Err == nil && v.Value != nil {
			o.attrs = append(o.attrs, pkcs11.Attribute{Type: types[i], Value: v.Value})
		}
	}
	return o, nil
}

// search returns the objects of these classes that match a template.
func (t *token) search(ctx context.Context, template pkcs11.Template, wanted []pkcs11.ObjectClass) ([]object, error) {
	var found []object
	for _, class := range wanted {
		tm := append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, class)}, template...)
		refs, err := t.Find(ctx, t.cred, tm)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			o, err := t.read(ctx, ref, summaryTypes)
			if pkcs11.RVOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID {
				continue // somebody removed it meanwhile
			}
			if err != nil {
				return nil, err
			}
			found = append(found, o)
		}
	}
	return found, nil
}

// selectors are the ways to name a key. A bare name is tried as each of them.
var selectors = []struct {
	prefix   string
	template func(value string) (pkcs11.Template, bool)
}{
	{"label:", func(v string) (pkcs11.Template, bool) {
		return pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, v)}, v != ""
	}},
	{"id:", func(v string) (pkcs11.Template, bool) {
		id, err := hex.DecodeString(strings.ReplaceAll(v, ":", ""))
		return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, id)}, err == nil && len(id) > 0
	}},
	{"uid:", func(v string) (pkcs11.Template, bool) {
		return pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, v)}, v != ""
	}},
}

const selectorHelp = "a label, an id in hex or a unique id; label:, id: and uid: in front say which"

// named returns the objects of these classes that a name stands for.
func (t *token) named(ctx context.Context, name string, wanted []pkcs11.ObjectClass) ([]object, error) {
	for _, s := range selectors {
		if value, ok := strings.CutPrefix(name, s.prefix); ok {
			template, ok := s.template(value)
			if !ok {
				return nil, usage("%q is not a valid key name", "a key is named by "+selectorHelp, name)
			}
			return t.search(ctx, template, wanted)
		}
	}
	var found []object
	seen := map[string]bool{}
	for _, s := range selectors {
		template, ok := s.template(name)
		if !ok {
			continue
		}
		some, err := t.search(ctx, template, wanted)
		if err != nil {
			return nil, err
		}
		for _, o := range some {
			if !seen[o.ref.ID()] {
				seen[o.ref.ID()] = true
				found = append(found, o)
			}
		}
	}
	return found, nil
}

// one returns the single object of these classes with that name.
func (t *token) one(ctx context.Context, name string, wanted ...pkcs11.ObjectClass) (object, error) {
	found, err := t.named(ctx, name, wanted)
	switch {
	case err != nil:
		return object{}, err
	case len(found) == 0:
		return object{}, t.noSuchKey(name, wanted)
	case len(found) > 1:
		return object{}, usage("%q stands for %d objects", "name one of them: "+uids(found), name, len(found))
	}
	return found[0], nil
}

func (t *token) noSuchKey(name string, wanted []pkcs11.ObjectClass) error {
	var names []string
	for _, c := range wanted {
		names = append(names, className(c))
	}
	what := kindsOf(names)
	hint := "coffer key list shows what is there"
	if t.cred == nil {
		hint += "; without a PIN only what is public is seen"
	}
	return notFound("slot %d has no %s %q", hint, t.slot.ID, what, name)
}

func uids(list []object) string {
	var out []string
	for _, o := range list {
		out = append(out, fmt.Sprintf("uid:%s (%s)", o.ref.ID(), className(o.class())))
	}
	return strings.Join(out, ", ")
}

// kindsOf says in words what classes of objects were looked for, such as "private, public or secret key or certificate".
func kindsOf(classes []string) string {
	keys, others := []string{}, []string{}
	for _, c := range classes {
		if c == "private" || c == "public" || c == "secret" {
			keys = append(keys, c)
		} else {
			others = append(others, c)
		}
	}
	if n := len(keys); n > 0 {
		kinds := keys[n-1] + " key"
		if n > 1 {
			kinds = strings.Join(keys[:n-1], ", ") + " or " + kinds
		}
		others = append([]string{kinds}, others...)
	}
	return strings.Join(others, " or ")
}
