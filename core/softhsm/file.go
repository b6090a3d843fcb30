package softhsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Bounds. Who can write into the directory could have the reader wait, or fill the memory, without them.
const (
	maxFile       = 16 << 20  // bytes of a file: far above any object but a data object of unusual size
	maxKept       = 256 << 20 // bytes of all objects of a token together
	maxAttributes = 1000      // of an object, those inside of templates with it; the standard has fewer than 200
)

// How long a file may be locked by who writes it, which takes milliseconds, and how often it is tried again.
const (
	lockWait  = 3 * time.Second
	lockEvery = 10 * time.Millisecond
)

// wipe is put in its place by a test that watches it.
var wipe = secret.Wipe

// file is what was read of one. Byte strings among the values are parts of raw: a secret key of an object that is not private
// is there as it is.
type file struct {
	raw    []byte
	values pkcs11.Template
}

func (f *file) wipe() {
	wipe(f.raw)
	f.raw, f.values = nil, nil
}

// readFile reads the attributes of one file of at most some bytes, while no SoftHSM writes it. The file is locked by then at
// the latest, or it is ErrLocked. ErrDamaged, ErrTooMuch.
func readFile(path string, most int64, locked time.Time) (*file, error) {
	// What is no file is not waited for: opening a pipe would.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w: it is no regular file", path, ErrDamaged)
	}
	if err := lock(f, locked); err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil { // as it is since nobody writes it
		return nil, err
	}
	switch {
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrDamaged, maxFile)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: %w: %d bytes are left for it of %d", path, ErrTooMuch, most, maxKept)
	}
	read := &file{raw: make([]byte, info.Size())} // at once in the right size: growing would leave copies
	if _, err = io.ReadFull(f, read.raw); err == nil {
		read.values, err = parse(read.raw)
	}
	if err != nil {
		read.wipe()
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return read, nil
}

// lock takes the lock that SoftHSM takes when it reads; closing the file gives it up.
func lock(f *os.File, until time.Time) error {
	how := syscall.Flock_t{Type: syscall.F_RDLCK}
	for {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &how)
		switch {
		case err == nil:
			return nil
		case err != syscall.EAGAIN && err != syscall.EACCES && err != syscall.EINTR:
			return fmt.Errorf("%s: locking it for reading: %w", f.Name(), err)
		case time.Now().After(until):
			return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
		}
		time.Sleep(lockEvery)
	}
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
	rest  []byte
	count int // of the attributes so far
	err   error
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
		if r.count++; r.count > maxAttributes {
			r.fail("it has more than %d attributes", maxAttributes)
			return nil
		}
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
		part := &reader{rest: r.take(r.number()), count: r.count, err: r.err}
		if inner {
			part.fail("a template is inside another")
		}
		tm := part.attributes(true)
		r.count = part.count
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
