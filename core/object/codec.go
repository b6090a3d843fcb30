package object

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// codecVersion is the first byte of an encoded template.
const codecVersion = 1

// The kinds of encoded values.
const (
	codeBool       = 1
	codeUint       = 2
	codeBytes      = 3
	codeMechanisms = 4
	codeTemplate   = 5
	codeUints      = 6
)

// ErrCodec is the cause of every error of Marshal and Unmarshal.
var ErrCodec = errors.New("object: malformed template")

// Marshal encodes a template: docs/storage-format.md, "Templates". The same attributes in any order give the same bytes.
// The result holds what the template holds, secrets too. An attribute that is there twice, is unknown or has a value of
// another form is ErrCodec.
func Marshal(t pkcs11.Template) ([]byte, error) {
	// At its full size from the beginning: a buffer that grows leaves copies of keys behind that nobody wipes.
	b := cryptobyte.NewBuilder(make([]byte, 0, 1+encodedLen(t)))
	b.AddUint8(codecVersion)
	if err := encode(b, t, 1); err != nil {
		return nil, err
	}
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCodec, err)
	}
	return out, nil
}

func encode(b *cryptobyte.Builder, t pkcs11.Template, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrCodec, maxDepth)
	}
	t = slices.Clone(t)
	slices.SortFunc(t, func(x, y pkcs11.Attribute) int { return cmp.Compare(x.Type, y.Type) })
	b.AddUint32(uint32(len(t)))
	for i, a := range t {
		if i > 0 && a.Type == t[i-1].Type {
			return fmt.Errorf("%w: %v is there twice", ErrCodec, a.Type)
		}
		if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
			return fmt.Errorf("%w: %w", ErrCodec, err)
		}
		b.AddUint64(uint64(a.Type))
		if err := encodeValue(b, a.Value, depth); err != nil {
			return err
		}
	}
	return nil
}

func encodeValue(b *cryptobyte.Builder, v any, depth int) (err error) {
	switch v := v.(type) {
	case bool:
		b.AddUint8(codeBool)
		if v {
			b.AddUint8(1)
		} else {
			b.AddUint8(0)
		}
	case uint:
		b.AddUint8(codeUint)
		b.AddUint64(uint64(v))
	case []byte:
		b.AddUint8(codeBytes)
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
	case []pkcs11.MechanismType:
		b.AddUint8(codeMechanisms)
		encodeList(b, v)
	case []uint:
		b.AddUint8(codeUints)
		encodeList(b, v)
	case pkcs11.Template:
		b.AddUint8(codeTemplate)
		err = encode(b, v, depth+1)
	default:
		err = fmt.Errorf("%w: a value of Go type %T", ErrCodec, v)
	}
	return err
}

// encodedLen is how many bytes encode adds.
func encodedLen(t pkcs11.Template) int {
	n := 4
	for _, a := range t {
		n += 8 + 1
		switch v := a.Value.(type) {
		case bool:
			n++
		case uint:
			n += 8
		case []byte:
			n += 4 + len(v)
		case []pkcs11.MechanismType:
			n += 4 + 8*len(v)
		case []uint:
			n += 4 + 8*len(v)
		case pkcs11.Template:
			n += encodedLen(v)
		}
	}
	return n
}

func encodeList[N ~uint](b *cryptobyte.Builder, list []N) {
	b.AddUint32(uint32(len(list)))
	for _, n := range list {
		b.AddUint64(uint64(n))
	}
}

// Unmarshal decodes what Marshal made, and nothing else: other versions, unknown attributes and kinds, values of a form
// that their attribute does not have, attributes out of order or repeated and trailing bytes are ErrCodec. The template
// does not refer to data.
func Unmarshal(data []byte) (pkcs11.Template, error) {
	s := cryptobyte.String(data)
	var version uint8
	if !s.ReadUint8(&version) || version != codecVersion {
		return nil, fmt.Errorf("%w: version %d, %d expected", ErrCodec, version, codecVersion)
	}
	t, err := decode(&s, 1)
	if err != nil {
		return nil, err
	}
	if !s.Empty() {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrCodec, len(s))
	}
	return t, nil
}

// leastAttribute is the length of the shortest encoded attribute; it bounds what a count can make us allocate.
const leastAttribute = 8 + 1 + 1

func decode(s *cryptobyte.String, depth int) (pkcs11.Template, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrCodec, maxDepth)
	}
	var count uint32
	if !s.ReadUint32(&count) || uint64(count)*leastAttribute > uint64(len(*s)) {
		return nil, fmt.Errorf("%w: %d attributes in %d bytes", ErrCodec, count, len(*s))
	}
	t := make(pkcs11.Template, 0, count)
	for range count {
		var number uint
		if !readUint(s, &number) {
			return nil, fmt.Errorf("%w: no attribute type", ErrCodec)
		}
		a := pkcs11.Attribute{Type: pkcs11.AttributeType(number)}
		if n := len(t); n > 0 && a.Type <= t[n-1].Type {
			return nil, fmt.Errorf("%w: %v after %v", ErrCodec, a.Type, t[n-1].Type)
		}
		var err error
		if a.Value, err = decodeValue(s, depth); err != nil {
			return nil, fmt.Errorf("%v: %w", a.Type, err)
		}
		if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCodec, err)
		}
		t = append(t, a)
	}
	return t, nil
}

func decodeValue(s *cryptobyte.String, depth int) (any, error) {
	var code uint8
	if !s.ReadUint8(&code) {
		return nil, fmt.Errorf("%w: no value", ErrCodec)
	}
	ok, v := false, any(nil)
	switch code {
	case codeBool:
		var b uint8
		ok = s.ReadUint8(&b) && b <= 1
		v = b == 1
	case codeUint:
		var n uint
		ok = readUint(s, &n)
		v = n
	case codeBytes:
		var length uint32
		var b []byte
		ok = s.ReadUint32(&length) && uint64(length) <= uint64(len(*s)) && s.ReadBytes(&b, int(length))
		v = append([]byte{}, b...)
	case codeMechanisms:
		v, ok = decodeList[pkcs11.MechanismType](s)
	case codeUints:
		v, ok = decodeList[uint](s)
	case codeTemplate:
		return decode(s, depth+1)
	}
	if !ok {
		return nil, fmt.Errorf("%w: value of kind %d", ErrCodec, code)
	}
	return v, nil
}

func decodeList[N ~uint](s *cryptobyte.String) ([]N, bool) {
	var count uint32
	if !s.ReadUint32(&count) || uint64(count)*8 > uint64(len(*s)) {
		return nil, false
	}
	list := make([]N, count)
	for i := range list {
		var n uint
		if !readUint(s, &n) {
			return nil, false
		}
		list[i] = N(n)
	}
	return list, true
}

// readUint refuses numbers that a CK_ULONG of this machine cannot hold.
func readUint(s *cryptobyte.String, out *uint) bool {
	var n uint64
	if !s.ReadUint64(&n) || uint64(uint(n)) != n {
		return false
	}
	*out = uint(n)
	return true
}
