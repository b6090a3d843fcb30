package main

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What parameters have beyond plain fields: lists, templates, and places that the call fills. Places are filled when
// the call has succeeded, and only then.

// maxElements is the most structs that a list inside a parameter may have.
const maxElements = 256

// count checks the length of a list of structs.
func (f *fields) count(p, n uint) int {
	switch {
	case n > maxElements:
		f.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a list of %d, at most %d are taken", n, maxElements))
	case p == 0 && n > 0:
		f.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "NULL with a length of %d", n))
	default:
		return int(n)
	}
	return 0
}

// length reads a length that some programs give by a pointer: no length is as high as the lowest pointer.
func (f *fields) length(n uint) uint {
	if n < lowest {
		return n
	}
	n, err := readUlong(uintptr(n))
	f.fail(err)
	return n
}

// template follows a pointer to n attributes. What is wrong with a template is the call's answer, not the parameter's.
func (f *fields) template(p, n uint) pkcs11.Template {
	return f.call.template(uintptr(p), uintptr(n))
}

// here is the address of the next CK_ULONG or pointer, which is then passed over.
func (f *fields) here() uintptr {
	f.ulong()
	return f.at + uintptr(f.off) - ulongSize
}

// made notes where the handle of a key goes. That there is memory is found out before anything is made.
func (f *fields) made(p uintptr, h *pkcs11.NewHandle) {
	_, err := readUlong(p)
	f.fail(err)
	f.call.later = append(f.call.later, func() error { return writeUlong(p, uint(*h)) })
}

// output notes where bytes go that are no key; NULL says that they are not wanted.
func (f *fields) output(p uint, o *pkcs11.Output) {
	if o.Wanted = p != 0; o.Wanted {
		f.call.later = append(f.call.later, func() error { return write(uintptr(p), o.Bytes) })
	}
}

// fillPlaces fills the places of the parameter, if nothing has failed.
func (c *call) fillPlaces() {
	if c.err == nil && !c.output.Query {
		c.giveBack()
	}
	for _, write := range c.later {
		if c.err == nil {
			c.fail(write())
		}
	}
}

// prfLayout is how the values of CK_PRF_DATA_PARAMs are laid out: their sizes, and how they are read.
type prfLayout struct {
	counterSize, lengthSize int
	counter                 func(f *fields, c *pkcs11.SP800108Counter)
	length                  func(f *fields, l *pkcs11.SP800108Length)
	types                   map[uint]uint // other numbers of types, by the standard's
}

// The standard's layout, and CloudHSM's: without byte orders, and with the types of its older and of its newer header.
var (
	standardPRF = prfLayout{
		2 * ulongSize, 3 * ulongSize,
		func(f *fields, c *pkcs11.SP800108Counter) { readSP800108Counter(f, c, false) },
		func(f *fields, l *pkcs11.SP800108Length) { readSP800108Length(f, l, false) },
		nil,
	}
	cloudPRF = prfLayout{
		ulongSize, 2 * ulongSize,
		func(f *fields, c *pkcs11.SP800108Counter) { c.Bits = f.ulong() },
		func(f *fields, l *pkcs11.SP800108Length) { l.Method, l.Bits = f.ulong(), f.ulong() },
		map[uint]uint{
			4: pkcs11.CK_SP800_108_ITERATION_VARIABLE, 5: pkcs11.CK_SP800_108_BYTE_ARRAY, 6: pkcs11.CK_SP800_108_BYTE_ARRAY,
			7: pkcs11.CK_SP800_108_DKM_LENGTH, 8: pkcs11.CK_SP800_108_BYTE_ARRAY,
			0x80000001: pkcs11.CK_SP800_108_ITERATION_VARIABLE, 0x80000003: pkcs11.CK_SP800_108_DKM_LENGTH, 0x80000004: pkcs11.CK_SP800_108_BYTE_ARRAY,
		},
	}
)

// viewPRFData reads what the value of a CK_PRF_DATA_PARAM is by its type. PKCS#11 v3.2, CK_PRF_DATA_PARAM.
func viewPRFData(f *fields, p *pkcs11.PRFData) {
	layout := &standardPRF
	if f.short {
		layout = &cloudPRF
		if t, known := layout.types[p.Type]; known {
			p.Type = t
		}
	}
	in := &fields{call: f.call, b: p.Value}
	wrong := func(want int) bool {
		if len(p.Value) == want {
			return false
		}
		f.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "data of type %d has %d bytes, %d expected", p.Type, len(p.Value), want))
		return true
	}
	switch p.Type {
	case pkcs11.CK_SP800_108_ITERATION_VARIABLE, pkcs11.CK_SP800_108_COUNTER:
		if len(p.Value) == 0 || wrong(layout.counterSize) {
			break // the iteration variable of the feedback modes has no format
		}
		p.Counter = new(pkcs11.SP800108Counter)
		layout.counter(in, p.Counter)
	case pkcs11.CK_SP800_108_DKM_LENGTH:
		if wrong(layout.lengthSize) {
			break
		}
		p.Length = new(pkcs11.SP800108Length)
		layout.length(in, p.Length)
	case pkcs11.CK_SP800_108_KEY_HANDLE:
		if wrong(ulongSize) {
			break
		}
		p.Key = pkcs11.Handle(ulongAt(p.Value))
	default:
		return
	}
	p.Value = nil
}
