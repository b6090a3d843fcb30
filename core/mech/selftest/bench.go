package selftest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// bench is what a test works with. A test that reaches for a row or a field that is not there panics, which is a failure.
type bench struct {
	registry *mech.Registry
	answers  map[string]answer
	name     string
}

// field returns a number of the test's line of answers; named returns one of another line.
func (b *bench) field(i int) []byte { return b.named(b.name, i) }

func (b *bench) named(name string, i int) []byte { return bytes.Clone(b.answers[name].fields[i]) }

func (b *bench) row(t pkcs11.MechanismType) *mech.Mechanism { return b.registry.Mechanism(t) }

// key is a key of a test. What it holds is public.
type key struct {
	class    pkcs11.ObjectClass
	typ      pkcs11.KeyType
	values   pkcs11.Template
	expanded [mech.NumSlots]any
}

func (k *key) Class() pkcs11.ObjectClass                { return k.class }
func (k *key) Type() pkcs11.KeyType                     { return k.typ }
func (k *key) Bytes(t pkcs11.AttributeType) []byte      { return k.values.Bytes(t) }
func (k *key) Uint(t pkcs11.AttributeType) (uint, bool) { return k.values.Uint(t) }
func (k *key) Expanded(s mech.Slot, build func() (any, error)) (any, error) {
	if k.expanded[s] != nil {
		return k.expanded[s], nil
	}
	v, err := build()
	if err == nil {
		k.expanded[s] = v
	}
	return v, err
}

func secretKey(t pkcs11.KeyType, value []byte) mech.Key {
	return &key{class: pkcs11.CKO_SECRET_KEY, typ: t, values: mech.Secret(value)}
}

func privateKey(t pkcs11.KeyType, values ...pkcs11.Attribute) mech.Key {
	return &key{class: pkcs11.CKO_PRIVATE_KEY, typ: t, values: values}
}

func publicKey(t pkcs11.KeyType, values ...pkcs11.Attribute) mech.Key {
	return &key{class: pkcs11.CKO_PUBLIC_KEY, typ: t, values: values}
}

// pair generates a pair of keys.
func (b *bench) pair(m pkcs11.MechanismType, t pkcs11.KeyType, public, private pkcs11.Template) (priv, pub mech.Key, err error) {
	p, s, err := b.row(m).GeneratePair(nil, public, private)
	if err != nil {
		return nil, nil, err
	}
	return privateKey(t, append(s, public...)...), publicKey(t, append(p, public...)...), nil
}

var errRefused, errAccepted = errors.New("a good signature is refused"), errors.New("a wrong signature is accepted")

// same compares what was computed with the answer, neither of which is secret.
func same(what string, got, want []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(want) == 0 || !bytes.Equal(got, want) {
		return fmt.Errorf("%s gives another result than is known", what)
	}
	return nil
}

// all returns the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// crypt holds Encrypt and Decrypt to an answer.
func (b *bench) crypt(m pkcs11.MechanismType, k mech.Key, param any, plain, sealed []byte) error {
	got, err := finish(b.row(m).Encrypt, k, param, plain)
	if err := same("encrypting", got, sealed, err); err != nil {
		return err
	}
	return b.decrypt(m, k, param, plain, sealed)
}

func (b *bench) decrypt(m pkcs11.MechanismType, k mech.Key, param any, plain, sealed []byte) error {
	got, err := finish(b.row(m).Decrypt, k, param, sealed)
	return same("decrypting", got, plain, err)
}

func finish(create func(mech.Key, any) (mech.Cipher, error), k mech.Key, param any, in []byte) ([]byte, error) {
	op, err := create(k, param)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	return op.Finish(nil, in)
}

// sign makes a signature or a MAC.
func (b *bench) sign(m pkcs11.MechanismType, k mech.Key, param any, message []byte) ([]byte, error) {
	op, err := b.row(m).Sign(k, param)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	if i, ok := op.(mech.Indexed); ok {
		i.UseIndex(0)
	}
	return op.Finish(nil, message)
}

// verify wants a signature to be good, and not to be when a bit of it has changed.
func (b *bench) verify(m pkcs11.MechanismType, k mech.Key, param any, message, signature []byte) error {
	wrong := bytes.Clone(signature)
	wrong[len(wrong)/2] ^= 1
	for i, s := range [][]byte{signature, wrong} {
		op, err := b.row(m).Verify(k, param)
		if err != nil {
			return err
		}
		err = op.Verify(message, s)
		op.Close()
		if i == 0 && err != nil {
			return errRefused
		}
		if i == 1 && err == nil {
			return errAccepted
		}
	}
	return nil
}

// mac holds Sign and Verify of a MAC to an answer.
func (b *bench) mac(m pkcs11.MechanismType, k mech.Key, param any, message, tag []byte) error {
	got, err := b.sign(m, k, param, message)
	if err := same("signing", got, tag, err); err != nil {
		return err
	}
	return b.verify(m, k, param, message, tag)
}

// consistent signs with one half of a pair and verifies with the other.
func (b *bench) consistent(m pkcs11.MechanismType, private, public mech.Key, param any) error {
	message := sha256.Sum256([]byte("pairwise consistency"))
	sig, err := b.sign(m, private, param, message[:])
	if err != nil {
		return err
	}
	return b.verify(m, public, param, message[:], sig)
}

// Handles of the keys that a parameter names.
const first, second pkcs11.Handle = 7, 8

// derive holds a derivation to an answer; others are the keys that its parameter names.
func (b *bench) derive(m pkcs11.MechanismType, k mech.Key, param any, size int, want []byte, others ...[]byte) error {
	d := &mech.Derivation{Base: k, KeyType: b.registry.KeyType(k.Type()), Param: param, Sizes: []int{size}, Named: map[pkcs11.Handle]mech.Key{}}
	for i, o := range others {
		d.Named[first+pkcs11.Handle(i)] = secretKey(pkcs11.CKK_GENERIC_SECRET, o)
	}
	got, err := b.row(m).Run(d)
	if err != nil {
		return err
	}
	return same("deriving", got.Keys[0].Bytes(pkcs11.CKA_VALUE), want, nil)
}
