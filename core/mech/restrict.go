package mech

import (
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// constructors are those of a row, by the flag that each stands for.
var constructors = []struct {
	flag pkcs11.Flags
	has  func(m *Mechanism) bool
	drop func(m *Mechanism)
}{
	{pkcs11.CKF_DIGEST, func(m *Mechanism) bool { return m.Digest != nil }, func(m *Mechanism) { m.Digest = nil }},
	{pkcs11.CKF_ENCRYPT, func(m *Mechanism) bool { return m.Encrypt != nil }, func(m *Mechanism) { m.Encrypt = nil }},
	{pkcs11.CKF_DECRYPT, func(m *Mechanism) bool { return m.Decrypt != nil }, func(m *Mechanism) { m.Decrypt = nil }},
	{pkcs11.CKF_SIGN, func(m *Mechanism) bool { return m.Sign != nil }, func(m *Mechanism) { m.Sign = nil }},
	{pkcs11.CKF_VERIFY, func(m *Mechanism) bool { return m.Verify != nil }, func(m *Mechanism) { m.Verify = nil }},
	{pkcs11.CKF_SIGN_RECOVER, func(m *Mechanism) bool { return m.SignRecover != nil }, func(m *Mechanism) { m.SignRecover = nil }},
	{pkcs11.CKF_VERIFY_RECOVER, func(m *Mechanism) bool { return m.VerifyRecover != nil }, func(m *Mechanism) { m.VerifyRecover = nil }},
	{pkcs11.CKF_GENERATE, func(m *Mechanism) bool { return m.Generate != nil }, func(m *Mechanism) { m.Generate = nil }},
	{pkcs11.CKF_GENERATE_KEY_PAIR, func(m *Mechanism) bool { return m.GeneratePair != nil }, func(m *Mechanism) { m.GeneratePair = nil }},
	{pkcs11.CKF_WRAP, func(m *Mechanism) bool { return m.Wrap != nil }, func(m *Mechanism) { m.Wrap = nil }},
	{pkcs11.CKF_UNWRAP, func(m *Mechanism) bool { return m.Unwrap != nil }, func(m *Mechanism) { m.Unwrap = nil }},
	{pkcs11.CKF_DERIVE, (*Mechanism).Derives, func(m *Mechanism) { m.Derive, m.DeriveKeys = nil, nil }},
	{pkcs11.CKF_ENCAPSULATE, func(m *Mechanism) bool { return m.Encapsulate != nil }, func(m *Mechanism) { m.Encapsulate = nil }},
	{pkcs11.CKF_DECAPSULATE, func(m *Mechanism) bool { return m.Decapsulate != nil }, func(m *Mechanism) { m.Decapsulate = nil }},
}

// Restrict returns the registry with what may leaves: asked for each row with the flags of its constructors, it answers
// with those that stay, and a row without any is not there. Key types stay: keys of a type for which there is nothing left
// to do can be kept, shown and destroyed.
func (r *Registry) Restrict(may func(t pkcs11.MechanismType, legacy bool, flags pkcs11.Flags) pkcs11.Flags) *Registry {
	out := &Registry{mechanisms: map[pkcs11.MechanismType]*Mechanism{}, keyTypes: r.keyTypes}
	for _, t := range r.order {
		was := r.mechanisms[t]
		var flags pkcs11.Flags
		for _, c := range constructors {
			if c.has(was) {
				flags |= c.flag
			}
		}
		left := may(t, was.Legacy, flags) & flags
		switch left {
		case 0:
			continue
		case flags:
			out.mechanisms[t] = was
		default:
			row := *was
			for _, c := range constructors {
				if left&c.flag == 0 {
					c.drop(&row)
				}
			}
			out.mechanisms[t] = &row
		}
		out.order = append(out.order, t)
	}
	out.order = slices.Clip(out.order)
	return out
}
