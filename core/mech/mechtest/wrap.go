package mechtest

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// wrap wraps keys of all lengths. What comes back may have zeros added, which the engine cuts off by CKA_VALUE_LEN.
func (c *Case) wrap(t *testing.T, param any) {
	unwrapRVs := []pkcs11.RV{pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE}
	same := func(got, in []byte) bool {
		return len(got) >= len(in) && len(got) < len(in)+16 && bytes.Equal(got[:len(in)], in) &&
			bytes.Count(got[len(in):], []byte{0}) == len(got)-len(in)
	}
	for _, n := range c.Lens {
		if n == 0 {
			continue // no key is empty
		}
		in := data(n)
		wrapped, err := c.Row.Wrap(c.Public, param, in)
		if !c.WrapTakes(n) {
			wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
			continue
		}
		if err != nil {
			t.Errorf("wrap %d bytes: %v", n, err)
			continue
		}
		got, err := c.Row.Unwrap(c.Key, param, wrapped)
		if err != nil || !same(got, in) {
			t.Errorf("unwrap %d bytes: not what was wrapped, error %v", n, err)
		}
		if !bytes.Equal(in, data(n)) {
			t.Fatalf("%d bytes: the input was changed", n)
		}
		if got, err := c.Row.Unwrap(c.Key, param, in); err != nil {
			wantRV(t, err, unwrapRVs...)
		} else if c.Authentic {
			t.Errorf("%d bytes that nobody wrapped: unwrapped to %d", n, len(got))
		}
	}
	for _, n := range c.few(c.WrapTakes) {
		if n == 0 {
			continue
		}
		in := data(n)
		wrapped, err := c.Row.Wrap(c.Public, param, in)
		if err != nil {
			t.Fatal(err)
		}
		c.flips(wrapped, func(bit int) {
			got, err := c.Row.Unwrap(c.Key, param, wrapped)
			if err != nil {
				wantRV(t, err, unwrapRVs...)
			} else if c.Authentic || bytes.Equal(got, in) {
				t.Errorf("%d bytes, bit %d inverted: unwrapped", n, bit)
			}
		})
		for l := range wrapped {
			if _, err := c.Row.Unwrap(c.Key, param, wrapped[:l]); err != nil {
				wantRV(t, err, unwrapRVs...)
			} else if c.Authentic {
				t.Errorf("%d bytes, cut to %d: unwrapped", n, l)
			}
		}
	}
}

// generate makes keys by the templates of the case, and secret keys by wild lengths.
func (c *Case) generate(t *testing.T, param any) {
	if c.Row.Parameters {
		c.parameters(t, param)
		return
	}
	for i, tm := range c.Templates {
		var a, b pkcs11.Template
		var err error
		if c.Row.Generate != nil {
			a, err = c.Row.Generate(param, tm)
			b, _ = c.Row.Generate(param, tm)
		} else {
			_, a, err = c.Row.GeneratePair(param, c.PublicPart[i], tm)
			_, b, _ = c.Row.GeneratePair(param, c.PublicPart[i], tm)
		}
		if err != nil {
			t.Errorf("template %v: %v", tm, err)
			continue
		}
		if c.Row.Generate == nil {
			if pkcs11.EqualValue(a, b) {
				t.Errorf("template %v: the same key twice", tm)
			}
			continue
		}
		value := a.Bytes(pkcs11.CKA_VALUE)
		if n, ok := tm.Uint(pkcs11.CKA_VALUE_LEN); ok && uint(len(value)) != n {
			t.Errorf("template %v: %d bytes, want %d", tm, len(value), n)
		}
		if len(value) >= 8 && bytes.Equal(value, b.Bytes(pkcs11.CKA_VALUE)) != c.Same {
			t.Errorf("template %v: the same key twice", tm)
		}
	}
	if c.Row.Generate == nil {
		return
	}
	for _, n := range []uint{0, 1, 7, 15, 17, 23, 25, 31, 33, 65, 1 << 16, 1 << 31, math.MaxUint >> 8, math.MaxInt, math.MaxInt + 1, math.MaxUint} {
		tm := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, n)}
		guarded(t, func() string { return fmt.Sprint("CKA_VALUE_LEN ", n) }, func() {
			got, err := c.Row.Generate(param, tm)
			if err != nil {
				wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_TEMPLATE_INCONSISTENT)
			} else if uint(len(got.Bytes(pkcs11.CKA_VALUE))) != n {
				t.Errorf("CKA_VALUE_LEN %d: a key of %d bytes", n, len(got.Bytes(pkcs11.CKA_VALUE)))
			}
		})
	}
	if _, err := c.Row.Generate(param, nil); err != nil {
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	}
}

// parameters makes domain parameters by the templates of the case, and by wild lengths.
func (c *Case) parameters(t *testing.T, param any) {
	for _, tm := range c.Templates {
		made, err := c.Row.Generate(param, tm)
		if err != nil {
			t.Errorf("template %v: %v", tm, err)
			continue
		}
		want, _ := tm.Uint(pkcs11.CKA_PRIME_BITS)
		if got := new(big.Int).SetBytes(made.Bytes(pkcs11.CKA_PRIME)).BitLen(); uint(got) != want {
			t.Errorf("template %v: a prime of %d bits", tm, got)
		}
		if made.Has(pkcs11.CKA_VALUE) || !made.Has(pkcs11.CKA_BASE) {
			t.Errorf("template %v: %v", tm, made)
		}
	}
	for _, n := range []uint{0, 1, 7, 512, 1023, 2047, 1 << 16, 1 << 31, math.MaxInt, math.MaxInt + 1, math.MaxUint} {
		guarded(t, func() string { return fmt.Sprint("CKA_PRIME_BITS ", n) }, func() {
			_, err := c.Row.Generate(param, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, n)})
			wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_KEY_SIZE_RANGE)
		})
	}
	_, err := c.Row.Generate(param, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
}
