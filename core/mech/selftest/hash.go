package selftest

import (
	"crypto/hmac"
	"hash"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// hashTests are one for each hash: the digest of "abc", the HMAC or the keyed hash, and the hash of a key.
func hashTests() []test {
	list := []test{
		{"SHA512_T", []pkcs11.MechanismType{pkcs11.CKM_SHA512_T, pkcs11.CKM_SHA512_T_HMAC, pkcs11.CKM_SHA512_T_KEY_DERIVATION}, func(b *bench) error {
			return b.hash(&hashes.Hash{Mechanism: pkcs11.CKM_SHA512_T, HMAC: pkcs11.CKM_SHA512_T_HMAC,
				KeyDerivation: pkcs11.CKM_SHA512_T_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA512_T_HMAC}, "SHA512_T", pkcs11.MACGeneralParams(256))
		}},
		{"SHAKE_128", []pkcs11.MechanismType{pkcs11.CKM_SHAKE_128_KEY_DERIVATION}, shake(pkcs11.CKM_SHAKE_128_KEY_DERIVATION)},
		{"SHAKE_256", []pkcs11.MechanismType{pkcs11.CKM_SHAKE_256_KEY_DERIVATION}, shake(pkcs11.CKM_SHAKE_256_KEY_DERIVATION)},
	}
	for _, h := range hashes.All {
		name := nameOf(h)
		covers := mechanisms{h.Mechanism, h.HMAC, h.HMACGeneral, h.KeyDerivation, h.RSAPKCS, h.RSAPSS, h.ECDSA}
		covers = slices.DeleteFunc(covers, func(t pkcs11.MechanismType) bool { return t == 0 }) // no number
		list = append(list, test{name, covers, func(b *bench) error { return b.hash(h, name, nil) }})
	}
	return list
}

// nameOf is the hash in the standard's spelling, which the names of its answers begin with.
func nameOf(h *hashes.Hash) string { return strings.TrimPrefix(h.Mechanism.String(), "CKM_") }

func shake(m pkcs11.MechanismType) func(b *bench) error {
	return func(b *bench) error {
		want := b.field(1)
		return b.derive(m, secretKey(pkcs11.CKK_GENERIC_SECRET, b.field(0)), nil, len(want), want)
	}
}

// hash tests the rows of a hash that are there. The HMAC is held to Go's over the digest's row where no answer is known.
func (b *bench) hash(h *hashes.Hash, name string, param any) error {
	fresh := func() hash.Hash {
		s, err := b.row(h.Mechanism).Digest(param)
		if err != nil {
			panic(err)
		}
		return s
	}
	s := fresh()
	s.Write([]byte("abc"))
	if err := same("hashing", s.Sum(nil), b.field(0), nil); err != nil {
		return err
	}
	if h.KeyDerivation != 0 && b.row(h.KeyDerivation) != nil {
		k := secretKey(pkcs11.CKK_GENERIC_SECRET, []byte("abc"))
		if err := b.derive(h.KeyDerivation, k, param, 0, b.field(0)); err != nil {
			return err
		}
	}
	value, message, tag := []byte("Jefe, and a longer key"), []byte("what do ya want for nothing?"), []byte(nil)
	if _, known := b.answers[name+"_HMAC"]; known {
		value, message, tag = b.named(name+"_HMAC", 0), b.named(name+"_HMAC", 1), b.named(name+"_HMAC", 2)
	}
	if h.Keyed == nil {
		m := hmac.New(fresh, value)
		m.Write(message)
		if over := m.Sum(nil); tag == nil {
			tag = over
		} else if err := same("HMAC over the digest", over, tag, nil); err != nil {
			return err
		}
	}
	if err := b.mac(h.HMAC, secretKey(h.KeyType, value), param, message, tag); err != nil || h.HMACGeneral == 0 {
		return err
	}
	return b.mac(h.HMACGeneral, secretKey(h.KeyType, value), pkcs11.MACGeneralParams(12), message, tag[:12])
}
