package kdf

import (
	"encoding/binary"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// prfKeys are the types of keys that a pseudorandom function takes.
var prfKeys = func() []pkcs11.KeyType {
	list := []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_AES, pkcs11.CKK_HKDF}
	for _, h := range hashes.All {
		if h.KeyType != 0 && hashes.ByHMAC(h.HMAC) == h {
			list = append(list, h.KeyType)
		}
	}
	return list
}()

// kbkdfRows are the three modes of SP 800-108, the first under CloudHSM's number too. Key sizes are bits here (PKCS#11 v3.2, SP800-108 Key Derivation).
var kbkdfRows = []mech.Mechanism{
	{Type: pkcs11.CKM_SP800_108_COUNTER_KDF, KeyTypes: prfKeys, Min: 8, Max: 8 * maxKey, OneWay: true, DeriveKeys: counterMode},
	{Type: pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF, KeyTypes: prfKeys, Min: 8, Max: 8 * maxKey, OneWay: true, DeriveKeys: counterMode},
	{Type: pkcs11.CKM_SP800_108_FEEDBACK_KDF, KeyTypes: prfKeys, Min: 8, Max: 8 * maxKey, OneWay: true, DeriveKeys: feedbackMode},
	{Type: pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF, KeyTypes: prfKeys, Min: 8, Max: 8 * maxKey, OneWay: true, DeriveKeys: doublePipelineMode},
}

func counterMode(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.SP800108KDFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	return derive108(d, p.PRF, p.Data, true, func(*kbkdf) (step, error) {
		return func([]byte) ([]byte, error) { return nil, nil }, nil
	})
}

func feedbackMode(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.SP800108FeedbackParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	return derive108(d, p.PRF, p.Data, false, func(*kbkdf) (step, error) {
		return func(before []byte) ([]byte, error) { // K(i-1); K(0) is the IV
			if before == nil {
				return append([]byte{}, p.IV...), nil
			}
			return append([]byte{}, before...), nil
		}, nil
	})
}

func doublePipelineMode(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.SP800108KDFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	return derive108(d, p.PRF, p.Data, false, func(k *kbkdf) (step, error) { return k.pipeline(), nil })
}

// pipeline makes A(i) from the one before.
func (k *kbkdf) pipeline() step {
	a := k.fixed() // A(0)
	return func([]byte) (next []byte, err error) {
		next, err = k.prf.sum(a...)
		secret.Wipe(k.last)
		a, k.last = [][]byte{next}, next
		return append([]byte{}, next...), err
	}
}

// step gives the iteration variable of an iteration; before is the output of the one before, nil at first.
type step func(before []byte) ([]byte, error)

// kbkdf is one run.
type kbkdf struct {
	prf    *prf
	data   []pkcs11.PRFData
	keys   map[int][]byte // values of the keys among the data
	length uint64         // bits that are derived, as the data counts them
	last   []byte         // A(i) of the double pipeline
}

// derive108 derives keys. Each begins with an output of its own of the pseudorandom function (PKCS#11 v3.2, Deriving
// Additional Keys).
func derive108(d *mech.Derivation, m pkcs11.MechanismType, data []pkcs11.PRFData, counter bool, start func(*kbkdf) (step, error)) (*mech.Derived, error) {
	k := &kbkdf{data: data, keys: map[int][]byte{}}
	bits, err := k.check(d, counter)
	if err != nil {
		return nil, err
	}
	if k.prf, err = prfOf(m, d.Base); err != nil {
		return nil, err
	}
	segments, err := k.measure(d.Sizes, bits)
	if err != nil {
		return nil, err
	}
	next, err := start(k)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, segments*k.prf.size)
	defer func() {
		secret.Wipe(out)
		secret.Wipe(k.last)
	}()
	var before []byte
	for i := 1; i <= segments; i++ {
		variable, err := next(before)
		if err != nil {
			return nil, err
		}
		output, err := k.prf.sum(k.input(variable, uint64(i))...)
		secret.Wipe(variable)
		if err != nil {
			return nil, err
		}
		at := len(out)
		out = append(out, output...)
		secret.Wipe(output)
		before = out[at:]
	}
	made := &mech.Derived{}
	for at, i := 0, 0; i < len(d.Sizes); i++ {
		made.Keys = append(made.Keys, mech.Secret(append([]byte{}, out[at:at+d.Sizes[i]]...)))
		at += blocks(d.Sizes[i], k.prf.size) * k.prf.size
	}
	return made, nil
}

func blocks(bytes, size int) int { return (bytes + size - 1) / size }

// check looks at the data and returns the width of the counter in bits, 32 where there is none.
func (k *kbkdf) check(d *mech.Derivation, counter bool) (width uint, err error) {
	wrong := func(i int, why string) error {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "data %d of type %d: %s", i, k.data[i].Type, why)
	}
	width = 32
	var seen [8]int
	for i := range k.data {
		p := &k.data[i]
		variable := p.Type == pkcs11.CK_SP800_108_ITERATION_VARIABLE
		switch p.Type {
		case pkcs11.CK_SP800_108_ITERATION_VARIABLE, pkcs11.CK_SP800_108_COUNTER:
			switch counts := variable == counter; {
			case !variable && counter:
				return 0, wrong(i, "the iteration variable is the counter")
			case counts != (p.Counter != nil):
				return 0, wrong(i, "a format belongs to a counter, and to nothing else")
			case counts && !validWidth(p.Counter.Bits, 32):
				return 0, wrong(i, "a counter has 8, 16, 24 or 32 bits")
			case counts:
				width = p.Counter.Bits
			}
		case pkcs11.CK_SP800_108_DKM_LENGTH:
			if p.Length == nil || !validWidth(p.Length.Bits, 64) || p.Length.Method < pkcs11.CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS ||
				p.Length.Method > pkcs11.CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS {
				return 0, wrong(i, "a length has 8 to 64 whole bytes of bits, and is that of keys or segments")
			}
		case pkcs11.CK_SP800_108_BYTE_ARRAY:
			if len(p.Value) == 0 {
				return 0, wrong(i, "it is empty")
			}
		case pkcs11.CK_SP800_108_KEY_HANDLE:
			named, err := d.Key(p.Key)
			if err != nil {
				return 0, err
			}
			if k.keys[i], err = value(named); err != nil {
				return 0, err
			}
		default:
			return 0, wrong(i, "there is no such type")
		}
		seen[p.Type]++
	}
	if seen[pkcs11.CK_SP800_108_ITERATION_VARIABLE] != 1 || seen[pkcs11.CK_SP800_108_COUNTER] > 1 || seen[pkcs11.CK_SP800_108_DKM_LENGTH] > 1 {
		return 0, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d iteration variables, %d counters, %d lengths",
			seen[pkcs11.CK_SP800_108_ITERATION_VARIABLE], seen[pkcs11.CK_SP800_108_COUNTER], seen[pkcs11.CK_SP800_108_DKM_LENGTH])
	}
	return width, nil
}

func validWidth(bits, most uint) bool { return bits >= 8 && bits <= most && bits%8 == 0 }

// measure counts the outputs that the keys take. More than the counter can count are refused, and a length that the data
// has no room for.
func (k *kbkdf) measure(sizes []int, counterBits uint) (segments int, err error) {
	sum := 0
	for _, size := range sizes {
		if size == 0 {
			return 0, errNoLength
		}
		if size < 0 || size > maxBytes {
			return 0, tooLong(size, maxBytes)
		}
		sum += size
		segments += blocks(size, k.prf.size)
	}
	if most := uint64(1)<<counterBits - 1; uint64(segments) > most {
		return 0, tooLong(sum, int(most)*k.prf.size)
	}
	for i := range k.data {
		l := k.data[i].Length
		if k.data[i].Type != pkcs11.CK_SP800_108_DKM_LENGTH {
			continue
		}
		k.length = uint64(sum) * 8
		if l.Method == pkcs11.CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS {
			k.length = uint64(segments*k.prf.size) * 8
		}
		if l.Bits < 64 && k.length>>l.Bits != 0 {
			return 0, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bits are derived, which %d bits cannot count", k.length, l.Bits)
		}
	}
	return segments, nil
}

// input is the data of one iteration.
func (k *kbkdf) input(variable []byte, i uint64) (parts [][]byte) {
	for at := range k.data {
		p := &k.data[at]
		switch {
		case p.Counter != nil && p.Type != pkcs11.CK_SP800_108_DKM_LENGTH:
			parts = append(parts, number(i, p.Counter.Bits, p.Counter.LittleEndian))
		case p.Type == pkcs11.CK_SP800_108_ITERATION_VARIABLE:
			parts = append(parts, variable)
		default:
			parts = append(parts, k.part(at))
		}
	}
	return parts
}

// fixed is the data without iteration variable and counter.
func (k *kbkdf) fixed() (parts [][]byte) {
	for at := range k.data {
		switch k.data[at].Type {
		case pkcs11.CK_SP800_108_ITERATION_VARIABLE, pkcs11.CK_SP800_108_COUNTER:
		default:
			parts = append(parts, k.part(at))
		}
	}
	return parts
}

// part is what does not change between iterations.
func (k *kbkdf) part(at int) []byte {
	switch p := &k.data[at]; p.Type {
	case pkcs11.CK_SP800_108_DKM_LENGTH:
		return number(k.length, p.Length.Bits, p.Length.LittleEndian)
	case pkcs11.CK_SP800_108_KEY_HANDLE:
		return k.keys[at]
	default:
		return p.Value
	}
}

// number encodes the low bits of n.
func number(n uint64, bits uint, little bool) []byte {
	if little {
		return binary.LittleEndian.AppendUint64(nil, n)[:bits/8]
	}
	return binary.BigEndian.AppendUint64(nil, n)[8-bits/8:]
}
