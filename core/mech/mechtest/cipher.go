package mechtest

import (
	"bytes"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// constructor is what Encrypt, Decrypt, SignRecover and VerifyRecover have in common.
type constructor = func(k mech.Key, param any) (mech.Cipher, error)

// feed runs one operation over the parts and checks the promises of mech.Cipher on the way: exact UpdateLen, FinishLen,
// both as Shape has them, dst appended to, input left alone, Close twice.
func feed(t *testing.T, create constructor, k mech.Key, param any, parts ...[]byte) ([]byte, error) {
	t.Helper()
	return feedBy(t, create, k, param, func(op mech.Cipher) mech.Cipher { return op }, parts...)
}

// feedBy is feed; hop gets the operation before each part and returns the one that goes on.
func feedBy(t *testing.T, create constructor, k mech.Key, param any, hop func(mech.Cipher) mech.Cipher, parts ...[]byte) ([]byte, error) {
	t.Helper()
	op, err := create(k, param)
	if err != nil {
		t.Fatalf("constructor: %v", err)
	}
	defer func() {
		op.Close()
		op.Close()
	}()
	shaped := op.Shape()
	last := len(parts) - 1
	out, pending := []byte("dst"), 0
	for i, p := range parts {
		before, copied := len(out), bytes.Clone(p)
		size, exact := 0, true
		op = hop(op)
		sameLengths(t, op, shaped, pending, len(p))
		if i < last {
			size = op.UpdateLen(len(p))
			out, err = op.Update(out, p)
		} else {
			size, exact = op.FinishLen(len(p))
			out, err = op.Finish(out, p)
		}
		if err != nil {
			return nil, err
		}
		pending += len(p) - (len(out) - before)
		if got := len(out) - before; got > size || exact && got != size {
			t.Errorf("parts %v: part %d gave %d bytes, promised %d (exact: %v)", shape(parts), i, got, size, exact)
		}
		if !bytes.Equal(p, copied) {
			t.Errorf("parts %v: part %d was changed", shape(parts), i)
		}
	}
	if string(out[:3]) != "dst" {
		t.Errorf("parts %v: dst was not appended to", shape(parts))
	}
	return out[3:], nil
}

// cipher encrypts and decrypts all lengths in all splits, then tampers.
func (c *Case) cipher(t *testing.T, param any) {
	for _, n := range c.Lens {
		in := data(n)
		sealed, err := feed(t, c.Row.Encrypt, c.Public, param, in)
		if !c.Takes(n) {
			wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
			continue
		}
		if err != nil {
			t.Errorf("encrypt %d bytes: %v", n, err)
			continue
		}
		again, err := feed(t, c.Row.Encrypt, c.Public, param, in)
		if err != nil {
			t.Errorf("encrypt %d bytes again: %v", n, err)
		}
		random := !bytes.Equal(sealed, again)
		plain, err := feed(t, c.Row.Decrypt, c.Key, param, sealed)
		if err != nil || !bytes.Equal(plain, in) {
			t.Errorf("decrypt %d bytes: wrong plaintext, error %v", n, err)
			continue
		}
		c.splits(in, func(parts [][]byte) {
			out, err := feed(t, c.Row.Encrypt, c.Public, param, parts...)
			if err == nil && random {
				out, err = feed(t, c.Row.Decrypt, c.Key, param, out)
				if err == nil && !bytes.Equal(out, in) {
					t.Errorf("encrypt parts %v: decrypts to something else", shape(parts))
				}
			} else if err != nil || !bytes.Equal(out, sealed) {
				t.Errorf("encrypt parts %v: not the one-shot result, error %v", shape(parts), err)
			}
		})
		c.splits(sealed, func(parts [][]byte) {
			out, err := feed(t, c.Row.Decrypt, c.Key, param, parts...)
			if err != nil || !bytes.Equal(out, in) {
				t.Errorf("decrypt parts %v: not the one-shot result, error %v", shape(parts), err)
			}
		})
		c.silent(t, param, sealed)
		c.over(t, param, in, sealed)
	}
	c.lengths(t, c.Row.Encrypt, c.Public, param)
	c.lengths(t, c.Row.Decrypt, c.Key, param)
	c.resumeCipher(t, param)
	for _, n := range c.few(c.Takes) {
		c.tamper(t, param, n)
	}
	c.together(t, param)
}

// silent checks that an authenticated decryption shows nothing before the end.
func (c *Case) silent(t *testing.T, param any, sealed []byte) {
	if !c.Authentic || c.Row.OnePart {
		return
	}
	op, err := c.Row.Decrypt(c.Key, param)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if out, err := op.Update(nil, sealed); err != nil || len(out) != 0 {
		t.Errorf("decrypt gave %d bytes before it has checked them, error %v", len(out), err)
	}
}

// over checks that what goes in place comes out as it does beside.
func (c *Case) over(t *testing.T, param any, in, sealed []byte) {
	for _, way := range []struct {
		what     string
		create   constructor
		key      mech.Key
		in       []byte
		unsealed bool
	}{{"encrypt", c.Row.Encrypt, c.Public, in, false}, {"decrypt", c.Row.Decrypt, c.Key, sealed, true}} {
		op, err := way.create(way.key, param)
		if err != nil {
			t.Fatal(err)
		}
		p, can := op.(mech.InPlacer)
		size, _ := op.FinishLen(len(way.in))
		if !can || !p.InPlace() || size == 0 {
			op.Close()
			continue
		}
		room := make([]byte, max(size, len(way.in)))
		copy(room, way.in)
		out, err := op.Finish(room[:0:size], room[:len(way.in)])
		op.Close()
		if err == nil && !way.unsealed {
			out, err = once(c.Row.Decrypt, c.Key, param, out)
		}
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%s %d bytes in place: not what it is beside, error %v", way.what, len(in), err)
		}
	}
}

// tamper inverts every bit and cuts off every tail.
func (c *Case) tamper(t *testing.T, param any, n int) {
	in := data(n)
	sealed, err := feed(t, c.Row.Encrypt, c.Public, param, in)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, at int, changed []byte) {
		out, err := feed(t, c.Row.Decrypt, c.Key, param, changed)
		switch {
		case err == nil && c.Authentic:
			t.Errorf("%d bytes, %s %d: decrypted", n, what, at)
		case err == nil && bytes.Equal(out, in):
			t.Errorf("%d bytes, %s %d: decrypted to the same", n, what, at)
		case err != nil:
			wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
		}
	}
	c.flips(sealed, func(bit int) { try("bit inverted", bit, sealed) })
	for cut := range sealed {
		try("cut to", cut, sealed[:cut])
	}
	try("bytes added", 1, append(bytes.Clone(sealed), 0))
	try("bytes added", 16, append(bytes.Clone(sealed), make([]byte, 16)...))
}

// decryptGarbage feeds what nobody encrypted, of every length.
func (c *Case) decryptGarbage(t *testing.T, param any) {
	for _, n := range c.Lens {
		if _, err := feed(t, c.Row.Decrypt, c.Key, param, data(n)); err != nil {
			wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
		} else if c.Authentic {
			t.Errorf("%d bytes that nobody encrypted: decrypted", n)
		}
	}
}

// together uses one key from several goroutines at once; the race detector looks on.
func (c *Case) together(t *testing.T, param any) {
	lens := c.few(c.Takes)
	if len(lens) == 0 {
		t.Fatal("the case takes none of the lengths tried")
	}
	in := data(lens[len(lens)-1])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 4 {
				sealed, err := once(c.Row.Encrypt, c.Public, param, in)
				if err != nil {
					t.Error(err)
					return
				}
				if plain, err := once(c.Row.Decrypt, c.Key, param, sealed); err != nil || !bytes.Equal(plain, in) {
					t.Errorf("several goroutines: wrong plaintext, error %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// once is feed without its checks, for goroutines.
func once(create constructor, k mech.Key, param any, in []byte) ([]byte, error) {
	op, err := create(k, param)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	return op.Finish(nil, in)
}

// recover gets data back from signatures, and not from changed ones.
func (c *Case) recover(t *testing.T, param any) {
	for _, n := range c.Lens {
		in := data(n)
		sig, err := feed(t, c.Row.SignRecover, c.Key, param, in)
		if !c.Takes(n) {
			wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
			continue
		}
		if err != nil {
			t.Errorf("sign %d bytes: %v", n, err)
			continue
		}
		out, err := feed(t, c.Row.VerifyRecover, c.Public, param, sig)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("recover %d bytes: other data, error %v", n, err)
		}
		c.flips(sig, func(bit int) {
			out, err := feed(t, c.Row.VerifyRecover, c.Public, param, sig)
			if err == nil && bytes.Equal(out, in) {
				t.Errorf("%d bytes, bit %d inverted: recovered", n, bit)
			} else if err != nil {
				wantRV(t, err, pkcs11.CKR_SIGNATURE_INVALID, pkcs11.CKR_SIGNATURE_LEN_RANGE)
			}
		})
	}
}
