package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// A parameter struct is a message of protobuf whose field n is the struct's member n, from 1, as package pkcs11 declares
// it. docs/wire-format.md, "Mechanism parameters". zparams.go has one pair of functions for each struct, over these.

// invalid says what is wrong with a parameter.
func invalid(format string, args ...any) error {
	return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, format, args...)
}

// putNumber appends a number, 0 as nothing.
func putNumber[N ~uint | ~byte](b []byte, n protowire.Number, v N) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
}

// putBool appends a bool, false as nothing.
func putBool(b []byte, n protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), 1)
}

// putBytes appends a byte string, nil as nothing; one of no bytes is there and has none.
func putBytes(b []byte, n protowire.Number, v []byte) []byte {
	if v == nil {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// fields reads the members of a parameter in whatever order they come. The first error stays and ends the reading.
type fields struct {
	b      []byte
	number protowire.Number // of the member that is next to be read
	typ    protowire.Type
	seen   uint64 // bit n is set when member n has come
	taken  bool   // the member's value has been read
	err    error
}

// next goes to the next member. One that was not read is skipped: a later version has put it there.
func (f *fields) next() bool {
	if f.number != 0 && !f.taken && f.err == nil {
		f.advance(protowire.ConsumeFieldValue(f.number, f.typ, f.b))
	}
	if f.err != nil || len(f.b) == 0 {
		return false
	}
	number, typ, n := protowire.ConsumeTag(f.b)
	if !f.advance(n) {
		return false
	}
	f.number, f.typ, f.taken = number, typ, false
	return true
}

// advance drops the n bytes that have been read, or fails if n is negative: protowire's way to say that they are
// malformed.
func (f *fields) advance(n int) bool {
	if n < 0 {
		f.fail(invalid("member %d is malformed", f.number))
		return false
	}
	f.b = f.b[n:]
	return true
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// take says that the member at hand is read now: it must be there once, in the form want.
func (f *fields) take(want protowire.Type) bool {
	switch bit := uint64(1) << f.number; {
	case f.typ != want:
		f.fail(invalid("member %d is of wire type %d, %d expected", f.number, f.typ, want))
	case f.seen&bit != 0:
		f.fail(invalid("member %d is there twice", f.number))
	default:
		f.seen |= bit
	}
	f.taken = true
	return f.err == nil
}

func (f *fields) varint() uint64 {
	if !f.take(protowire.VarintType) {
		return 0
	}
	v, n := protowire.ConsumeVarint(f.b)
	if !f.advance(n) {
		return 0
	}
	return v
}

// number reads a number into a member of whatever type.
func number[N ~uint | ~byte](f *fields, to *N) {
	v := f.varint()
	if uint64(N(v)) != v {
		f.fail(invalid("member %d: %#x is too large", f.number, v))
		return
	}
	*to = N(v)
}

func (f *fields) bool(to *bool) {
	v := f.varint()
	if v > 1 {
		f.fail(invalid("member %d: %d is no truth value", f.number, v))
	}
	*to = v == 1
}

// raw returns a member's bytes where they are, never nil.
func (f *fields) raw() []byte {
	if !f.take(protowire.BytesType) {
		return []byte{}
	}
	v, n := protowire.ConsumeBytes(f.b)
	if !f.advance(n) {
		return []byte{}
	}
	return v[:len(v):len(v)]
}

// bytes reads a byte string. The copy is the operation's own.
func (f *fields) bytes(to *[]byte) {
	if v := f.raw(); f.err == nil {
		*to = append([]byte{}, v...)
	}
}

// maxElements is the most messages that a list inside a parameter may have, as at the C boundary.
const maxElements = 256

// element returns the next message of a list, of which so many have been read. A list's member comes once for each.
func (f *fields) element(read int) []byte {
	if read >= maxElements {
		f.fail(invalid("member %d: a list of more than %d", f.number, maxElements))
	}
	if f.number < 64 {
		f.seen &^= 1 << f.number
	}
	return f.raw()
}

// template reads a template inside a parameter. What is wrong with a template itself is the template's error.
func (f *fields) template(to *pkcs11.Template) {
	b := f.raw()
	if f.err != nil {
		return
	}
	var m Template
	if err := Unmarshal(b, &m); err != nil {
		f.fail(invalid("member %d: %v", f.number, err))
		return
	}
	t, err := m.ToTemplate()
	f.fail(err)
	*to = t
}

// putTemplate appends a template, nil as nothing.
func putTemplate(b []byte, n protowire.Number, t pkcs11.Template) []byte {
	if t == nil {
		return b
	}
	v, err := proto.Marshal(FromTemplate(t))
	if err != nil {
		panic(err) // strings in it have been made UTF-8, which is all that can be wrong
	}
	if v == nil {
		v = []byte{}
	}
	return putBytes(b, n, v)
}

// fixed reads an array in place.
func (f *fields) fixed(to []byte) {
	if v := f.raw(); f.err == nil && copy(to, v) != len(v) || f.err == nil && len(v) != len(to) {
		f.fail(invalid("member %d has %d bytes, %d expected", f.number, len(v), len(to)))
	}
}

// need says that a member must have come.
func (f *fields) need(n protowire.Number) {
	if f.seen&(1<<n) == 0 {
		f.fail(invalid("member %d is missing", n))
	}
}

// The parameters that are no structs: a byte string is its bytes as they are, a number is member 1.

func readIV(b []byte) (any, error) { return append(pkcs11.IV{}, b...), nil }

func readUlong(b []byte) (any, error) { return readNumber[pkcs11.MACGeneralParams](b) }

func readHandle(b []byte) (any, error) { return readNumber[pkcs11.Handle](b) }

func readNumber[N ~uint](b []byte) (any, error) {
	var v N
	f := fields{b: b}
	for f.next() {
		if f.number == 1 {
			number(&f, &v)
		}
	}
	return v, f.err
}
