package mechtest

import (
	"bytes"
	"math"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// refusedCiphertext are the answers for a ciphertext that nobody made.
var refusedCiphertext = []pkcs11.RV{pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_ENCRYPTED_DATA_INVALID,
	pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE}

// encapsulate makes secrets of all lengths, wild ones among them, and gets them back.
func (c *Case) encapsulate(t *testing.T, param any) {
	good := 0
	for _, size := range []int{0, 1, 16, 20, 24, 32, 33, 48, 64, 128, 1 << 16, math.MaxInt32, math.MaxInt, -1, math.MinInt} {
		value, ciphertext, err := c.Row.Encapsulate(c.Public, param, size)
		if err != nil {
			wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_TEMPLATE_INCOMPLETE)
			if value != nil || ciphertext != nil {
				t.Errorf("%d bytes: an error and a result", size)
			}
			continue
		}
		good++
		c.decapsulates(t, param, value, ciphertext, size)
		again, other, err := c.Row.Encapsulate(c.Public, param, size)
		if err != nil || len(value) >= 8 && bytes.Equal(value, again) || bytes.Equal(ciphertext, other) {
			t.Errorf("%d bytes: the same secret or ciphertext twice, error %v", size, err)
		}
		c.tamperedCiphertext(t, param, value, ciphertext, size)
	}
	if good == 0 {
		t.Error("no length could be encapsulated")
	}
}

// decapsulates wants the secret back, and what was promised of its length and of the ciphertext's.
func (c *Case) decapsulates(t *testing.T, param any, value, ciphertext []byte, size int) {
	if len(value) == 0 || size != 0 && len(value) != size {
		t.Errorf("%d bytes wanted: a secret of %d", size, len(value))
	}
	if n, err := c.Row.CiphertextLen(c.Public, param); err != nil || n != len(ciphertext) {
		t.Errorf("CiphertextLen says %d, error %v, and it has %d", n, err, len(ciphertext))
	}
	before := bytes.Clone(ciphertext)
	for range 2 { // the same each time
		got, err := c.Row.Decapsulate(c.Key, param, ciphertext, size)
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes: another secret, error %v", size, err)
		}
	}
	if !bytes.Equal(ciphertext, before) {
		t.Error("the ciphertext was changed")
	}
}

// tamperedCiphertext never gives the secret: it is refused, or it gives another one.
func (c *Case) tamperedCiphertext(t *testing.T, param any, value, ciphertext []byte, size int) {
	try := func(what string, at int, bad []byte) {
		got, err := c.Row.Decapsulate(c.Key, param, bad, size)
		if err != nil {
			wantRV(t, err, refusedCiphertext...)
		} else if len(value) >= 8 && bytes.Equal(got, value) {
			t.Errorf("%s %d: the same secret", what, at)
		}
	}
	for at := 0; at < len(ciphertext); at += 1 + len(ciphertext)/16 {
		bad := bytes.Clone(ciphertext)
		bad[at] ^= 1
		try("byte", at, bad)
	}
	for _, n := range []int{0, 1, len(ciphertext) / 2, len(ciphertext) - 1} {
		if _, err := c.Row.Decapsulate(c.Key, param, ciphertext[:n], size); err == nil {
			t.Errorf("a ciphertext cut to %d bytes was taken", n)
		} else {
			wantRV(t, err, refusedCiphertext...)
		}
	}
	if _, err := c.Row.Decapsulate(c.Key, param, append(bytes.Clone(ciphertext), 0), size); err == nil {
		t.Error("a ciphertext with a byte more was taken")
	}
}
