package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	mechanismPrefix = "CKM_"
	keyTypePrefix   = "CKK_"
	everyPolicy     = kinds(1)
	// maxBits is more than any key has.
	maxBits = 1 << 16
)

// policyKeys are the keys of a policy: of [slot.policy], and of [policy] in a node's file.
var policyKeys = []key[policy.Policy]{
	{"allow", everyPolicy, 0, `a list of mechanisms, such as allow = ["CKM_ECDSA*", "CKM_SHA256"]`,
		mechanisms(func(p *policy.Policy) *[]pkcs11.MechanismType { return &p.Allow })},
	{"deny", everyPolicy, 0, `a list of mechanisms, such as deny = ["CKM_SHA_1*"]`,
		mechanisms(func(p *policy.Policy) *[]pkcs11.MechanismType { return &p.Deny })},
	{"min_bits", everyPolicy, 0, "a table of key types, such as min_bits = { rsa = 3072, ec = 256 }", setMinBits},
	{"legacy", everyPolicy, 0, "true or false, such as legacy = true", flag(func(p *policy.Policy) *bool { return &p.Legacy })},
	{"dates", everyPolicy, 0, "true or false, such as dates = true", flag(func(p *policy.Policy) *bool { return &p.Dates })},
	{"wrap_and_decrypt", everyPolicy, 0, "true or false, such as wrap_and_decrypt = true",
		flag(func(p *policy.Policy) *bool { return &p.WrapAndDecrypt })},
	{"public_certificates", everyPolicy, 0, "true or false, such as public_certificates = true",
		flag(func(p *policy.Policy) *bool { return &p.PublicCertificates })},
	{"fips", everyPolicy, 0, "true or false, such as fips = true", flag(func(p *policy.Policy) *bool { return &p.FIPS })},
}

// policy reads a policy's table; line finds one of its keys, or the table as a whole where the name is empty.
func (p *parser) policy(v any, title string, line func(name string) int) (out policy.Policy, err error) {
	table, ok := v.(map[string]any)
	if !ok {
		return out, p.fail(line(""), "policy is "+describe(v), "write ["+title+"] and below it, for instance, dates = true")
	}
	for _, name := range sortedKeys(table) {
		i := slices.IndexFunc(policyKeys, func(k key[policy.Policy]) bool { return k.name == name })
		if i < 0 {
			return out, p.fail(line(name), fmt.Sprintf("a policy has no key %q", name), "known are "+namesOf(policyKeys, everyPolicy))
		}
		if problem := policyKeys[i].set(p, name, &out, table[name]); problem != "" {
			return out, p.fail(line(name), problem, "wanted is "+policyKeys[i].wants)
		}
	}
	return out, nil
}

// mechanisms takes a list of names, each with or without CKM_; one that ends in a star stands for all that begin so.
func mechanisms[T any](field func(*T) *[]pkcs11.MechanismType) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " list is " + describe(v)
		}
		if len(list) == 0 {
			return "the " + name + " list is empty"
		}
		out := []pkcs11.MechanismType{}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return fmt.Sprintf("one of the %s list is %s", name, describe(x))
			}
			named := mechanismsNamed(s)
			if len(named) == 0 {
				return fmt.Sprintf("%q in the %s list is no mechanism of PKCS #11", s, name)
			}
			out = append(out, named...)
		}
		slices.Sort(out)
		*field(t) = slices.Compact(out)
		return ""
	}
}

func mechanismsNamed(s string) []pkcs11.MechanismType {
	if !strings.HasPrefix(s, mechanismPrefix) {
		s = mechanismPrefix + s
	}
	prefix, many := strings.CutSuffix(s, "*")
	if !many {
		if t, ok := pkcs11.ParseMechanism(s); ok {
			return []pkcs11.MechanismType{t}
		}
		return nil
	}
	var out []pkcs11.MechanismType
	for _, t := range pkcs11.MechanismTypes() {
		if strings.HasPrefix(t.String(), prefix) {
			out = append(out, t)
		}
	}
	return out
}

// keyTypeNamed finds a key type by its name without CKK_ in small letters, or with it.
func keyTypeNamed(word string) (pkcs11.KeyType, bool) {
	return pkcs11.ParseKeyType(keyTypePrefix + strings.TrimPrefix(strings.ToUpper(word), keyTypePrefix))
}

// setMinBits takes a table of key types.
func setMinBits(_ *parser, name string, t *policy.Policy, v any) string {
	table, ok := v.(map[string]any)
	if !ok {
		return "the " + name + " is " + describe(v)
	}
	t.MinBits = map[pkcs11.KeyType]uint{}
	for _, word := range sortedKeys(table) {
		kt, ok := keyTypeNamed(word)
		if !ok {
			return fmt.Sprintf("%q in %s is no key type of PKCS #11", word, name)
		}
		n, ok := table[word].(int64)
		if !ok || n < 1 || n > maxBits {
			return fmt.Sprintf("%s of %s is %s, not a number of bits between 1 and %d", word, name, describe(table[word]), maxBits)
		}
		t.MinBits[kt] = uint(n)
	}
	return ""
}
