package embedded_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	gohmac "crypto/hmac"
	gosha256 "crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestACrowdGetsItsOwnAnswers: threads that use the same two keys in sessions of their own have the results that Go's
// library has, whatever they have begun and not ended before, while others do the same in one session that they share and
// the keys get new versions.
func TestACrowdGetsItsOwnAnswers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := newParty(t)
	value := bytes.Repeat([]byte("key "), 8)
	create := func(kind pkcs11.KeyType, allow ...pkcs11.AttributeType) cryptoki.ObjectHandle {
		template := pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, kind),
			pkcs11.Attr(pkcs11.CKA_TOKEN, true), pkcs11.Attr(pkcs11.CKA_VALUE, value),
		}
		for _, a := range allow {
			template = append(template, pkcs11.Attr(a, true))
		}
		h, err := p.CreateObject(p.session, template)
		must(t, err)
		return h
	}
	one := crowd{party: p, aes: create(pkcs11.CKK_AES, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT),
		mac: create(pkcs11.CKK_GENERIC_SECRET, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY), value: value}
	var own, others sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		others.Go(func() {
			one := one
			one.random, one.s = rand.New(rand.NewPCG(seed, uint64(i))), p.session
			for {
				select {
				case <-done:
					return
				default:
					_ = one.step() // what comes of it is another thread's as well
				}
			}
		})
	}
	for i := range 4 {
		own.Go(func() {
			one := one
			one.random = rand.New(rand.NewPCG(seed, uint64(100+i)))
			for range 400 {
				if err := one.alone(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	own.Go(func() {
		for i := range 40 {
			for _, k := range []cryptoki.ObjectHandle{one.aes, one.mac} {
				if err := p.SetAttributeValue(p.session, k, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	own.Wait()
	close(done)
	others.Wait()
}

// crowd is one of many threads.
type crowd struct {
	*party
	aes, mac cryptoki.ObjectHandle
	value    []byte
	random   *rand.Rand
	s        cryptoki.SessionHandle // 0: none is open
}

// alone is a step in the thread's own session, which is another one now and then.
func (c *crowd) alone() (err error) {
	if c.s == 0 {
		if c.s, err = c.OpenSession(0, pkcs11.CKF_SERIAL_SESSION); err != nil {
			return err
		}
	}
	if err = c.step(); err != nil {
		return err
	}
	if c.random.IntN(10) == 0 {
		c.leave()
		err = c.CloseSession(c.s)
		c.s = 0
	}
	return err
}

// step is an operation from its beginning to its end, after another one that does not get so far.
func (c *crowd) step() error {
	data := c.some(2000)
	c.leave()
	_ = c.SessionCancel(c.s, pkcs11.CKF_ENCRYPT|pkcs11.CKF_DECRYPT|pkcs11.CKF_SIGN|pkcs11.CKF_DIGEST)
	steps := []func([]byte) error{c.seals, c.opens, c.chains, c.signs, c.goesOn, c.hashes}
	return steps[c.random.IntN(len(steps))](data)
}

func (c *crowd) some(most int) []byte {
	b := make([]byte, c.random.IntN(most))
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}

// leave begins operations, and fails or goes away.
func (c *crowd) leave() {
	data := c.some(500)
	switch c.random.IntN(8) {
	case 0:
		_ = c.EncryptInit(c.s, c.gcm(), c.aes)
		_ = c.EncryptUpdate(c.s, data, &pkcs11.Out{Capacity: 600})
	case 1:
		_ = c.DecryptInit(c.s, c.gcm(), c.aes)
		_ = c.Decrypt(c.s, data, &pkcs11.Out{Capacity: 600}) // no such tag
	case 2:
		_ = c.EncryptInit(c.s, c.gcm(), c.mac) // no such key
	case 5:
		_ = c.EncryptInit(c.s, c.cbc(), c.aes)
		_ = c.EncryptUpdate(c.s, data, &pkcs11.Out{Capacity: 600})
	case 6:
		_ = c.DecryptInit(c.s, c.cbc(), c.aes)
		_ = c.Decrypt(c.s, data, &pkcs11.Out{Capacity: 600}) // no such padding
	case 3:
		_ = c.SignInit(c.s, hmac, c.mac)
		_ = c.SignUpdate(c.s, data)
		_ = c.SignFinal(c.s, &pkcs11.Out{Capacity: 3})
	case 4:
		_ = c.DigestInit(c.s, sha256)
		_ = c.DigestUpdate(c.s, data)
		_ = c.DigestKey(c.s, c.mac)
	}
}

func (c *crowd) iv(size int) []byte {
	iv := make([]byte, size)
	binary.BigEndian.PutUint64(iv, c.random.Uint64())
	return iv
}

func (c *crowd) gcm() *pkcs11.Mechanism {
	aad := c.some(400)
	if c.random.IntN(2) == 0 {
		aad = nil
	}
	return &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: c.iv(12), IVBits: 96, AAD: aad, TagBits: 128}}
}

func (c *crowd) cbc() *pkcs11.Mechanism {
	return &pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC_PAD, Params: pkcs11.IV(c.iv(aes.BlockSize))}
}

// chains encrypts by block chaining, in two parts.
func (c *crowd) chains(data []byte) error {
	m := c.cbc()
	fill := aes.BlockSize - len(data)%aes.BlockSize
	want := append(bytes.Clone(data), bytes.Repeat([]byte{byte(fill)}, fill)...)
	block, err := aes.NewCipher(c.value)
	must(c.t, err)
	cipher.NewCBCEncrypter(block, m.Params.(pkcs11.IV)).CryptBlocks(want, want)
	if err := c.EncryptInit(c.s, m, c.aes); err != nil {
		return err
	}
	half := c.random.IntN(len(data) + 1)
	var got []byte
	for _, part := range [][]byte{data[:half], data[half:]} {
		out := &pkcs11.Out{Capacity: len(want)}
		if err := c.EncryptUpdate(c.s, part, out); err != nil {
			return err
		}
		got = append(got, out.Bytes...)
	}
	if !bytes.HasPrefix(want, got) {
		return fmt.Errorf("%d bytes in parts: another ciphertext", len(data))
	}
	return c.fetch(want[len(got):], func(o *pkcs11.Out) error { return c.EncryptFinal(c.s, o) })
}

func (c *crowd) aead() cipher.AEAD {
	block, err := aes.NewCipher(c.value)
	must(c.t, err)
	a, err := cipher.NewGCM(block)
	must(c.t, err)
	return a
}

func (c *crowd) seals(data []byte) error {
	m := c.gcm()
	given := *m.Params.(*pkcs11.GCMParams)
	want := c.aead().Seal(nil, given.IV, data, given.AAD)
	if err := c.EncryptInit(c.s, m, c.aes); err != nil {
		return err
	}
	clear(given.AAD) // the library has its own by now
	return c.fetch(want, func(o *pkcs11.Out) error { return c.Encrypt(c.s, data, o) })
}

func (c *crowd) opens(data []byte) error {
	m := c.gcm()
	given := m.Params.(*pkcs11.GCMParams)
	sealed := c.aead().Seal(nil, given.IV, data, given.AAD)
	if err := c.DecryptInit(c.s, m, c.aes); err != nil {
		return err
	}
	return c.fetch(data, func(o *pkcs11.Out) error { return c.Decrypt(c.s, sealed, o) })
}

func (c *crowd) tag(data []byte) []byte {
	h := gohmac.New(gosha256.New, c.value)
	h.Write(data)
	return h.Sum(nil)
}

func (c *crowd) signs(data []byte) error {
	if err := c.SignInit(c.s, hmac, c.mac); err != nil {
		return err
	}
	return c.fetch(c.tag(data), func(o *pkcs11.Out) error { return c.Sign(c.s, data, o) })
}

// goesOn signs with an operation that is saved in the middle and goes on after another one.
func (c *crowd) goesOn(data []byte) error {
	half := len(data) / 2
	if err := c.SignInit(c.s, hmac, c.mac); err != nil {
		return err
	}
	if err := c.SignUpdate(c.s, data[:half]); err != nil {
		return err
	}
	state := &pkcs11.Out{Capacity: 4096}
	if err := c.GetOperationState(c.s, state); err != nil {
		return err
	}
	_ = c.SessionCancel(c.s, pkcs11.CKF_SIGN)
	if err := c.signs(data); err != nil {
		return err
	}
	if err := c.SetOperationState(c.s, state.Bytes, 0, c.mac); err != nil {
		return err
	}
	if err := c.SignUpdate(c.s, data[half:]); err != nil {
		return err
	}
	return c.fetch(c.tag(data), func(o *pkcs11.Out) error { return c.SignFinal(c.s, o) })
}

func (c *crowd) hashes(data []byte) error {
	if err := c.DigestInit(c.s, sha256); err != nil {
		return err
	}
	want := gosha256.Sum256(data)
	return c.fetch(want[:], func(o *pkcs11.Out) error { return c.Digest(c.s, data, o) })
}

// fetch calls for a result, after its length, and after it in too little room.
func (c *crowd) fetch(want []byte, call func(*pkcs11.Out) error) error {
	asks := c.random.IntN(3)
	if asks > 0 {
		if err := call(&pkcs11.Out{Query: true}); err != nil {
			return err
		}
	}
	if asks > 1 && len(want) > 0 {
		if err := call(&pkcs11.Out{Capacity: len(want) - 1}); pkcs11.RVOf(err) != pkcs11.CKR_BUFFER_TOO_SMALL {
			return fmt.Errorf("too little room: %w", err)
		}
	}
	o := &pkcs11.Out{Capacity: len(want) + 32}
	if err := call(o); err != nil {
		return err
	}
	if !bytes.Equal(o.Bytes, want) {
		return fmt.Errorf("%x, want %x", o.Bytes, want)
	}
	return nil
}
