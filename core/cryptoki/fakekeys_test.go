package cryptoki

import (
	"bytes"
	"context"
	"crypto/sha256"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func (f *fake) GenerateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, template pkcs11.Template) (hsm.Object, error) {
	if f.sawMechanism != nil {
		f.sawMechanism(m)
	}
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	return f.add(cred, template)
}

func (f *fake) GenerateKeyPair(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public, private pkcs11.Template) (pub, priv hsm.Object, err error) {
	if err := f.wait(ctx); err != nil {
		return nil, nil, err
	}
	if priv, err = f.add(cred, private); err != nil {
		return nil, nil, err
	}
	pub, err = f.add(cred, public)
	return pub, priv, err
}

func (f *fake) WrapKey(_ context.Context, cred hsm.Credential, m pkcs11.Mechanism, wrapping, key hsm.Object) ([]byte, error) {
	return []byte("wrapped " + key.ID()), nil
}

func (f *fake) UnwrapKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, unwrapping hsm.Object, wrapped []byte, template pkcs11.Template) (hsm.Object, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	return f.add(cred, template)
}

func (f *fake) DeriveKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, base hsm.Object, _ []hsm.Named, template pkcs11.Template) (hsm.Derived, error) {
	if err := f.wait(ctx); err != nil {
		return hsm.Derived{}, err
	}
	o, err := f.add(cred, template)
	return hsm.Derived{Key: o}, err
}

// fakeCiphertext is what the fake encapsulates, whatever the key.
const fakeCiphertext = "a ciphertext"

func (f *fake) EncapsulateKey(_ context.Context, cred hsm.Credential, m pkcs11.Mechanism, public hsm.Object, template pkcs11.Template, room int) (hsm.Encapsulated, error) {
	out := hsm.Encapsulated{Size: len(fakeCiphertext)}
	if room < out.Size {
		return out, nil
	}
	var err error
	out.Ciphertext = []byte(fakeCiphertext)
	out.Key, err = f.add(cred, template)
	return out, err
}

func (f *fake) DecapsulateKey(_ context.Context, cred hsm.Credential, m pkcs11.Mechanism, private hsm.Object, ciphertext []byte, template pkcs11.Template) (hsm.Object, error) {
	return f.add(cred, template)
}

func (f *fake) Random(ctx context.Context, p []byte) error {
	if f.beforeReply != nil {
		f.beforeReply()
	}
	for i := range p {
		p[i] = 0xaa
	}
	return ctx.Err()
}

func (f *fake) Seed(context.Context, []byte) error { return pkcs11.CKR_RANDOM_SEED_NOT_SUPPORTED }

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *fake) Begin(_ context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) (hsm.Operation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nextBegin != nil {
		return nil, f.nextBegin
	}
	if key != nil {
		if _, err := f.get(cred, key); err != nil {
			return nil, err
		}
	}
	op := &fakeOp{fake: f, kind: kind, m: m.Type, mustAuth: f.alwaysAuth}
	f.running[op] = true
	return op, nil
}

// fakeOp is any operation. CKM_AES_ECB turns each byte over at once; CKM_AES_CBC_PAD does so at the end, between padding
// that is ten bytes of "P" and a length of which only a bound is known. Signatures and digests are SHA-256.
// The input "fail" fails.
type fakeOp struct {
	fake     *fake
	kind     hsm.OpKind
	m        pkcs11.MechanismType
	data     []byte
	mustAuth bool
	closed   bool
}

const fakePadding = "PPPPPPPPPP"

var errFake = pkcs11.Errorf(pkcs11.CKR_DATA_INVALID, "asked to fail")

func turn(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= 0x55
	}
	return out
}

func (o *fakeOp) check(part []byte) {
	if o.closed {
		panic("an operation was used after Close")
	}
	if o.mustAuth {
		panic("an operation was used without authentication")
	}
}

func (o *fakeOp) streams() bool {
	return o.m == pkcs11.CKM_AES_ECB && (o.kind == hsm.OpEncrypt || o.kind == hsm.OpDecrypt)
}

func (o *fakeOp) UpdateLen(n int) int {
	if o.streams() {
		return n
	}
	return 0
}

func (o *fakeOp) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	o.check(part)
	if string(part) == "fail" {
		return nil, errFake
	}
	if o.streams() {
		return append(dst, turn(part)...), nil
	}
	o.data = append(o.data, part...)
	return dst, nil
}

func (o *fakeOp) FinishLen(n int) (int, bool) {
	switch o.kind {
	case hsm.OpSign, hsm.OpDigest:
		return sha256.Size, true
	case hsm.OpEncrypt, hsm.OpDecrypt, hsm.OpSignRecover:
		if o.streams() {
			return n, true
		}
		if o.kind != hsm.OpDecrypt {
			return len(o.data) + n + len(fakePadding), true
		}
	}
	if o.m == pkcs11.CKM_AES_GCM {
		return max(len(o.data)+n-len(fakePadding), 0), true
	}
	return len(o.data) + n, false
}

func (o *fakeOp) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	o.check(part)
	if err := o.fake.wait(ctx); err != nil {
		return nil, err
	}
	if string(part) == "fail" {
		return nil, errFake
	}
	if o.streams() {
		return append(dst, turn(part)...), nil
	}
	all := append(o.data, part...)
	switch o.kind {
	case hsm.OpSign, hsm.OpDigest:
		sum := sha256.Sum256(all)
		return append(dst, sum[:]...), nil
	case hsm.OpEncrypt, hsm.OpSignRecover:
		return append(append(dst, turn(all)...), fakePadding...), nil
	}
	plain, ok := bytes.CutSuffix(all, []byte(fakePadding))
	if !ok {
		if o.kind == hsm.OpVerifyRecover {
			return nil, pkcs11.CKR_SIGNATURE_INVALID
		}
		return nil, pkcs11.CKR_ENCRYPTED_DATA_INVALID
	}
	return append(dst, turn(plain)...), nil
}

func (o *fakeOp) Verify(ctx context.Context, part, signature []byte) error {
	o.check(part)
	if err := o.fake.wait(ctx); err != nil {
		return err
	}
	if len(signature) != sha256.Size {
		return pkcs11.CKR_SIGNATURE_LEN_RANGE
	}
	sum := sha256.Sum256(append(o.data, part...))
	if !bytes.Equal(sum[:], signature) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func (o *fakeOp) DigestKey(_ context.Context, _ hsm.Credential, key hsm.Object) error {
	o.data = append(o.data, key.(*fakeObject).template.Bytes(pkcs11.CKA_VALUE)...)
	return nil
}

func (o *fakeOp) MustAuthenticate() bool { return o.mustAuth }

func (o *fakeOp) Authenticate(_ context.Context, pin []byte) error {
	o.fake.mu.Lock()
	defer o.fake.mu.Unlock()
	if string(pin) == "locked" {
		return pkcs11.CKR_PIN_LOCKED
	}
	if o.fake.pins[pkcs11.CKU_USER] != string(pin) {
		return pkcs11.CKR_PIN_INCORRECT
	}
	o.mustAuth = false
	return nil
}

func (o *fakeOp) Close() {
	o.closed = true
	o.fake.mu.Lock()
	defer o.fake.mu.Unlock()
	delete(o.fake.running, o)
}
