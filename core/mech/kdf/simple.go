package kdf

import (
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// simple are the mechanisms that join keys and cut them. What they make tells of the keys that it is made of, so it is
// never less protected than these.
var simple = lengthWithType([]mech.Mechanism{
	{Type: pkcs11.CKM_CONCATENATE_BASE_AND_KEY, KeyTypes: secrets, Min: 1, Max: maxKey, DeriveKeys: joinKeys},
	{Type: pkcs11.CKM_CONCATENATE_BASE_AND_DATA, KeyTypes: secrets, Min: 1, Max: maxKey,
		Derive: withData(func(base, data []byte) []byte { return join(base, data) })},
	{Type: pkcs11.CKM_CONCATENATE_DATA_AND_BASE, KeyTypes: secrets, Min: 1, Max: maxKey,
		Derive: withData(func(base, data []byte) []byte { return join(data, base) })},
	{Type: pkcs11.CKM_XOR_BASE_AND_DATA, KeyTypes: secrets, Min: 1, Max: maxKey, Derive: withData(xor)},
	{Type: pkcs11.CKM_EXTRACT_KEY_FROM_KEY, KeyTypes: secrets, Min: 1, Max: maxKey, Derive: extract},
})

func lengthWithType(rows []mech.Mechanism) []mech.Mechanism {
	for i := range rows {
		rows[i].LengthWithType = true
	}
	return rows
}

func join(a, b []byte) []byte { return append(append(make([]byte, 0, len(a)+len(b)), a...), b...) }

// xor stops where the shorter of the two ends.
func xor(base, data []byte) []byte {
	out := make([]byte, min(len(base), len(data)))
	subtle.XORBytes(out, base, data)
	return out
}

// cut returns the first size bytes, or all for 0, in memory of their own; whole is wiped.
func cut(whole []byte, size int) ([]byte, error) {
	defer secret.Wipe(whole)
	if size == 0 {
		size = len(whole)
	}
	if size < 0 || size > len(whole) {
		return nil, tooLong(size, len(whole))
	}
	return append([]byte{}, whole[:size]...), nil
}

// withData is a Derive that makes something of the key and of data in its parameter.
func withData(f func(base, data []byte) []byte) func(mech.Key, any, int) ([]byte, error) {
	return func(k mech.Key, param any, size int) ([]byte, error) {
		p, ok := param.(*pkcs11.KeyDerivationString)
		if !ok || p == nil {
			return nil, wrongParam(param)
		}
		if len(p.Data) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the data is empty")
		}
		base, err := value(k)
		if err != nil {
			return nil, err
		}
		return cut(f(base, p.Data), size)
	}
}

func joinKeys(d *mech.Derivation) (*mech.Derived, error) {
	h, ok := d.Param.(pkcs11.Handle)
	if !ok {
		return nil, wrongParam(d.Param)
	}
	second, err := d.Key(h)
	if err != nil {
		return nil, err
	}
	var parts [2][]byte
	for i, k := range []mech.Key{d.Base, second} {
		if parts[i], err = value(k); err != nil {
			return nil, err
		}
	}
	out, err := cut(join(parts[0], parts[1]), d.Sizes[0])
	if err != nil {
		return nil, err
	}
	return mech.One(out), nil
}

// extract takes a key out of the bits of another, from the given one on; bit 0 is the highest of the first byte, and
// after the last comes the first. Which bits are taken is no secret.
func extract(k mech.Key, param any, size int) ([]byte, error) {
	bit, ok := param.(pkcs11.MACGeneralParams)
	if !ok {
		return nil, wrongParam(param)
	}
	base, err := value(k)
	switch {
	case err != nil:
		return nil, err
	case bit >= pkcs11.MACGeneralParams(len(base))*8:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "bit %d of a key of %d bytes", bit, len(base))
	case size == 0:
		return nil, errNoLength
	case size < 0 || size > len(base):
		return nil, tooLong(size, len(base))
	}
	at, shift := int(bit/8), bit%8
	out := make([]byte, size)
	for i := range out {
		two := uint16(base[(at+i)%len(base)])<<8 | uint16(base[(at+i+1)%len(base)])
		out[i] = byte(two >> (8 - shift))
	}
	return out, nil
}
