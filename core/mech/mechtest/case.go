package mechtest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Case is a row together with what it takes to run it. Fields that are left out have the defaults given.
type Case struct {
	Row    *mech.Mechanism
	Key    mech.Key // secret or private; nil for digests and generators
	Public mech.Key // what Encrypt, Verify, VerifyRecover and Wrap use; Key by default

	// Params are parameters that the row takes: nil where it takes none, nil and another where it is optional.
	// By default the one parameter is nil. The battery runs with each of them.
	Params []any
	// KEMParams are those that Encapsulate and Decapsulate take; Params by default.
	KEMParams []any

	// Lens are the lengths of data to try, Lens() by default, and Takes says which of them Encrypt and Sign accept
	// (all by default); the others must be refused with CKR_DATA_LEN_RANGE.
	Lens  []int
	Takes func(n int) bool
	// WrapTakes says the same of Wrap, which refuses with CKR_KEY_SIZE_RANGE.
	WrapTakes func(n int) bool

	Named   map[pkcs11.Handle]mech.Key // the keys that Params name
	KeyType *mech.KeyType              // the row of Key's type, for DeriveKeys that ask it

	Authentic  bool              // Decrypt and Unwrap refuse everything that Encrypt and Wrap did not make
	FixedSize  bool              // Verify answers CKR_SIGNATURE_LEN_RANGE to every other length
	Costly     bool              // an operation takes a millisecond, not a microsecond: try less
	Templates  []pkcs11.Template // wishes that Generate fulfils
	Same       bool              // Generate makes the same key again: from a password
	PublicPart []pkcs11.Template // the public templates that belong to Templates, for GeneratePair

	index uint64 // of the next signature, where the row has a Capacity
}

// Lens returns the lengths that are tried by default: all the short ones, and some around powers of two.
func Lens() []int {
	var l []int
	for n := range 67 {
		l = append(l, n)
	}
	return append(l, 127, 128, 129, 255, 256, 257, 1000, 1024)
}

// Run holds the row to every promise of package mech that can be tested without knowing the algorithm.
func Run(t *testing.T, c Case) {
	t.Helper()
	withstood.Store(c.Row.Type, true)
	if c.Public == nil {
		c.Public = c.Key
	}
	if len(c.Params) == 0 {
		c.Params = []any{nil}
	}
	if len(c.KEMParams) == 0 {
		c.KEMParams = c.Params
	}
	if c.Lens == nil {
		c.Lens = Lens()
	}
	if c.Takes == nil {
		c.Takes = func(int) bool { return true }
	}
	if c.WrapTakes == nil {
		c.WrapTakes = func(int) bool { return true }
	}
	t.Run(c.Row.Type.String(), func(t *testing.T) {
		c.run(t)
		if again, ok := c.renewed(t); ok {
			t.Run("renewed", again.run)
		}
	})
}

func (c *Case) run(t *testing.T) {
	t.Run("params", c.hostileParams)
	if c.Key != nil && c.Key.Class() == pkcs11.CKO_SECRET_KEY {
		t.Run("keys", c.hostileKeys)
	}
	if len(c.Named) > 0 {
		t.Run("named", c.hostileNamed)
	}
	for i, p := range c.Params {
		t.Run(fmt.Sprint("param", i), func(t *testing.T) { c.runAll(t, p) })
	}
	for i, p := range c.KEMParams {
		if c.Row.Encapsulate != nil {
			t.Run(fmt.Sprint("kem", i), func(t *testing.T) { c.encapsulate(t, p) })
		}
	}
}

func (c *Case) runAll(t *testing.T, param any) {
	m := c.Row
	for _, part := range []struct {
		name string
		has  bool
		run  func(*testing.T, any)
	}{
		{"digest", m.Digest != nil, c.digest},
		{"cipher", m.Encrypt != nil && m.Decrypt != nil, c.cipher},
		{"decrypt", m.Decrypt != nil, c.decryptGarbage},
		{"sign", m.Sign != nil && m.Verify != nil, c.sign},
		{"recover", m.SignRecover != nil && m.VerifyRecover != nil, c.recover},
		{"wrap", m.Wrap != nil && m.Unwrap != nil, c.wrap},
		{"derive", m.Derives(), c.derive},
		{"generate", m.Generate != nil || m.GeneratePair != nil, c.generate},
	} {
		if part.has {
			t.Run(part.name, func(t *testing.T) { part.run(t, param) })
		}
	}
}

// data returns n bytes that do not repeat soon and never end like padding.
func data(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)*2654435761 + 12345
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x>>24) | 0x80
	}
	return b
}

// splits calls f with every way in which the battery cuts b: in two at every place, at random, in equal parts, byte by
// byte, with empty parts in between. The last part is what goes to Finish.
func (c *Case) splits(b []byte, f func(parts [][]byte)) {
	if c.Row.OnePart {
		return
	}
	step := 1
	if c.Costly || len(b) > 100 {
		step = max(1, len(b)/7)
	}
	for i := 0; i <= len(b); i += step {
		f([][]byte{b[:i], b[i:]})
		f([][]byte{b[:i], nil, b[i:], {}})
	}
	if c.Costly {
		return
	}
	cuts(b, f)
	for _, size := range []int{1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65} {
		if size <= len(b) {
			f(append(slices.Collect(slices.Chunk(b, size)), nil))
			f(slices.Collect(slices.Chunk(b, size)))
		}
	}
}

// shape describes a split in a message.
func shape(parts [][]byte) []int {
	l := make([]int, len(parts))
	for i, p := range parts {
		l[i] = len(p)
	}
	return l
}

// wantRV reports an error that is none of those allowed, and nil.
func wantRV(t *testing.T, err error, allowed ...pkcs11.RV) {
	t.Helper()
	if err == nil {
		t.Errorf("succeeded, want one of %v", allowed)
	} else if !slices.Contains(allowed, pkcs11.RVOf(err)) {
		t.Errorf("error %v, want one of %v", err, allowed)
	}
}

// guarded runs f and turns a panic into a failure that says what was tried.
func guarded(t *testing.T, what func() string, f func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", what(), r)
		}
	}()
	f()
}

// flips calls f with every bit of b inverted in turn (some of them where that would be slow); b is restored.
func (c *Case) flips(b []byte, f func(bit int)) {
	step := 1
	if c.Costly {
		step = max(1, len(b)*8/40)
	}
	for bit := 0; bit < len(b)*8; bit += step {
		b[bit/8] ^= 1 << (bit % 8)
		f(bit)
		b[bit/8] ^= 1 << (bit % 8)
	}
}

// few thins out the lengths that the row takes to those that are worth a long test.
func (c *Case) few(takes func(int) bool) []int {
	var l []int
	for _, n := range c.Lens {
		if takes(n) && n <= 80 {
			l = append(l, n)
		}
	}
	if len(l) > 6 {
		l = []int{l[0], l[1], l[2], l[len(l)/2], l[len(l)-2], l[len(l)-1]}
	}
	return l
}

// digest compares splits with the one-shot result.
func (c *Case) digest(t *testing.T, param any) {
	for _, n := range c.Lens {
		in := data(n)
		h, err := c.Row.Digest(param)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(in)
		want := h.Sum([]byte("x"))
		if len(want) != 1+h.Size() || want[0] != 'x' {
			t.Fatalf("%d bytes: digest has %d bytes, Size says %d", n, len(want)-1, h.Size())
		}
		c.splits(in, func(parts [][]byte) {
			h.Reset()
			for _, p := range parts {
				h.Write(p)
			}
			if !bytes.Equal(h.Sum(nil), want[1:]) {
				t.Errorf("parts %v: another digest", shape(parts))
			}
		})
		if !bytes.Equal(in, data(n)) {
			t.Fatalf("%d bytes: the input was changed", n)
		}
	}
	c.resumeDigest(t, param)
}
