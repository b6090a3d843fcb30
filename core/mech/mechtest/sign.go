package mechtest

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// signParts signs and checks the promises of mech.Signer on the way.
func (c *Case) signParts(t *testing.T, param any, parts ...[]byte) ([]byte, error) {
	t.Helper()
	op, err := c.Row.Sign(c.Key, param)
	if err != nil {
		t.Fatalf("constructor: %v", err)
	}
	defer op.Close()
	defer op.Close()
	if c.Row.Capacity != nil {
		op.(mech.Indexed).UseIndex(c.index)
		c.index++
	}
	size := op.Size()
	for _, p := range parts[:len(parts)-1] {
		if err := op.Update(p); err != nil {
			return nil, err
		}
	}
	out, err := op.Finish([]byte("dst"), parts[len(parts)-1])
	if err != nil {
		return nil, err
	}
	if string(out[:3]) != "dst" || len(out)-3 != size {
		t.Errorf("parts %v: signature of %d bytes, Size said %d", shape(parts), len(out)-3, size)
	}
	return out[3:], nil
}

func (c *Case) verifyParts(t *testing.T, param any, sig []byte, parts ...[]byte) error {
	t.Helper()
	op, err := c.Row.Verify(c.Public, param)
	if err != nil {
		t.Fatalf("constructor: %v", err)
	}
	defer op.Close()
	defer op.Close()
	for _, p := range parts[:len(parts)-1] {
		if err := op.Update(p); err != nil {
			return err
		}
	}
	return op.Verify(parts[len(parts)-1], sig)
}

// sign signs and verifies all lengths in all splits, then tampers.
func (c *Case) sign(t *testing.T, param any) {
	for _, n := range c.Lens {
		in := data(n)
		sig, err := c.signParts(t, param, in)
		if !c.Takes(n) {
			wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
			continue
		}
		if err != nil {
			t.Errorf("sign %d bytes: %v", n, err)
			continue
		}
		again, err := c.signParts(t, param, in)
		if err != nil {
			t.Errorf("sign %d bytes again: %v", n, err)
		}
		random := !bytes.Equal(sig, again)
		if err := c.verifyParts(t, param, sig, in); err != nil {
			t.Errorf("verify %d bytes: %v", n, err)
			continue
		}
		c.splits(in, func(parts [][]byte) {
			got, err := c.signParts(t, param, parts...)
			if err == nil && random {
				err = c.verifyParts(t, param, got, in)
			}
			if err != nil || !random && !bytes.Equal(got, sig) {
				t.Errorf("sign parts %v: not the one-shot result, error %v", shape(parts), err)
			}
			if err := c.verifyParts(t, param, sig, parts...); err != nil {
				t.Errorf("verify parts %v: %v", shape(parts), err)
			}
		})
		if !bytes.Equal(in, data(n)) {
			t.Fatalf("%d bytes: the input was changed", n)
		}
	}
	for _, n := range c.few(c.Takes) {
		c.forge(t, param, n)
	}
	c.resumeSign(t, param)
	c.digested(t, param)
}

// forge changes data and signature, and presents signatures of every other length.
func (c *Case) forge(t *testing.T, param any, n int) {
	in := data(n)
	sig, err := c.signParts(t, param, in)
	if err != nil {
		t.Fatal(err)
	}
	c.flips(sig, func(int) {
		wantRV(t, c.verifyParts(t, param, sig, in), pkcs11.CKR_SIGNATURE_INVALID)
	})
	c.flips(in, func(int) {
		wantRV(t, c.verifyParts(t, param, sig, in), pkcs11.CKR_SIGNATURE_INVALID)
	})
	length := []pkcs11.RV{pkcs11.CKR_SIGNATURE_LEN_RANGE}
	if !c.FixedSize {
		length = append(length, pkcs11.CKR_SIGNATURE_INVALID)
	}
	long := append(bytes.Clone(sig), make([]byte, 20)...)
	for l := range len(sig) + 20 {
		if l != len(sig) {
			wantRV(t, c.verifyParts(t, param, long[:l], in), length...)
		}
	}
}
