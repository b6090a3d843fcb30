package softhsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// maxFile is far above any object but a data object of unusual size.
const maxFile = 16 << 20

// readFile reads the attributes of one file while no SoftHSM writes it.
func readFile(path string) (pkcs11.Template, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The lock that SoftHSM takes when it reads; closing gives it up.
	lock := syscall.Flock_t{Type: syscall.F_RDLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLKW, &lock); err != nil {
		return nil, fmt.Errorf("%s: waiting for who writes it: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrDamaged, maxFile)
	}
	// One buffer of the right size: a secret key of an object that is not private is in it as it is.
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	values, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return values, nil
}

// parse reads a file's content: the number of its generation in eight bytes, then attributes up to the end.
func parse(b []byte) (pkcs11.Template, error) {
	r := &reader{rest: b}
	r.number() // counts the changes of the file
	values := r.attributes(false)
	if r.err != nil {
		return nil, r.err
	}
	return values, nil
}

// How a value is written, after its attribute's type and this number, each in eight bytes.
const (
	formBool       = 1 // one byte
	formUlong      = 2 // eight bytes
	formBytes      = 3 // a length in eight bytes, and as many
	formTemplate   = 4 // a length in eight bytes, and attributes of that length together
	formMechanisms = 5 // a count in eight bytes, and numbers
)

// reader takes a file apart. All numbers are big-endian. After the first error it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.rest = nil
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("%d bytes are expected where there are %d", n, len(r.rest))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number() uint64 {
	b := r.take(8)
	if r.err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// attributes reads all that is left. A template has no templates in it.
func (r *reader) attributes(inner bool) pkcs11.Template {
	tm := pkcs11.Template{}
	for len(r.rest) > 0 {
		t, form := pkcs11.AttributeType(r.number()), r.number()
		value := r.value(form, inner)
		if r.err != nil {
			return nil
		}
		if tm.Has(t) {
			r.fail("%v is there twice", t)
			return nil
		}
		tm = append(tm, pkcs11.Attribute{Type: t, Value: value})
	}
	return tm
}

func (r *reader) value(form uint64, inner bool) any {
	switch form {
	case formBool:
		b := r.take(1)
		return len(b) == 1 && b[0] != 0
	case formUlong:
		return uint(r.number())
	case formBytes:
		return r.take(r.number())
	case formTemplate:
		part := &reader{rest: r.take(r.number()), err: r.err}
		if inner {
			part.fail("a template is inside another")
		}
		tm := part.attributes(true)
		if part.err != nil {
			r.fail("%w", part.err)
		}
		return tm
	case formMechanisms:
		n := r.number()
		if n > uint64(len(r.rest))/8 {
			r.fail("%d mechanisms are expected where there are %d bytes", n, len(r.rest))
			return nil
		}
		list := make([]pkcs11.MechanismType, n)
		for i := range list {
			list[i] = pkcs11.MechanismType(r.number())
		}
		return list
	}
	r.fail("a value has the unknown form %#x", form)
	return nil
}
