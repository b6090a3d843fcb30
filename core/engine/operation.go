package engine

import (
	"context"
	"hash"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// unsupported is the part of hsm.Operation that an operation does not have: the near side never asks a signature to
// digest a key.
type unsupported struct{}

func (unsupported) UpdateLen(int) int { return 0 }
func (unsupported) Verify(context.Context, []byte, []byte) error {
	return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation verifies nothing")
}
func (unsupported) Finish(context.Context, []byte, []byte) ([]byte, error) {
	return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation has no output")
}
func (unsupported) FinishLen(int) (int, bool) { return 0, true }
func (unsupported) DigestKey(context.Context, hsm.Credential, hsm.Object) error {
	return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation digests nothing")
}
func (unsupported) MustAuthenticate() bool { return false }
func (unsupported) Authenticate(context.Context, []byte) error {
	return pkcs11.CKR_OPERATION_NOT_INITIALIZED
}

// errOnePart answers an update of a mechanism that works in one part only.
func errOnePart(m *mech.Mechanism) error {
	return pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "%v works in one part only", m.Type)
}

func errCannot(m *mech.Mechanism, what string) error {
	return pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "%v does not %s", m.Type, what)
}

type cipherMaker = func(k mech.Key, param any) (mech.Cipher, error)

type cipherOp struct {
	unsupported
	row    *mech.Mechanism
	cipher mech.Cipher
}

// startCipher begins what turns one stream of bytes into another.
func startCipher(maker func(*mech.Mechanism) cipherMaker) starter {
	return func(to *keyOp, m *mech.Mechanism, k mech.Key, param any) error {
		c, err := maker(m)(k, param)
		if err != nil {
			return err
		}
		to.cipher = cipherOp{row: m, cipher: c}
		to.Operation, to.made = &to.cipher, c
		return nil
	}
}

func (o *cipherOp) UpdateLen(n int) int         { return o.cipher.UpdateLen(n) }
func (o *cipherOp) FinishLen(n int) (int, bool) { return o.cipher.FinishLen(n) }
func (o *cipherOp) Close()                      { o.cipher.Close() }
func (o *cipherOp) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if o.row.OnePart {
		return nil, errOnePart(o.row)
	}
	return o.cipher.Update(dst, part)
}
func (o *cipherOp) Finish(_ context.Context, dst, part []byte) ([]byte, error) {
	return o.cipher.Finish(dst, part)
}

type signOp struct {
	unsupported
	row    *mech.Mechanism
	signer mech.Signer
}

func startSigner(to *keyOp, m *mech.Mechanism, k mech.Key, param any) error {
	s, err := m.Sign(k, param)
	if err != nil {
		return err
	}
	to.signer = signOp{row: m, signer: s}
	to.Operation, to.made = &to.signer, s
	return nil
}

func (o *signOp) FinishLen(int) (int, bool) { return o.signer.Size(), true }
func (o *signOp) Close()                    { o.signer.Close() }
func (o *signOp) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if o.row.OnePart {
		return nil, errOnePart(o.row)
	}
	return dst, o.signer.Update(part)
}
func (o *signOp) Finish(_ context.Context, dst, part []byte) ([]byte, error) {
	return o.signer.Finish(dst, part)
}

type verifyOp struct {
	unsupported
	row      *mech.Mechanism
	verifier mech.Verifier
}

func startVerifier(to *keyOp, m *mech.Mechanism, k mech.Key, param any) error {
	v, err := m.Verify(k, param)
	if err != nil {
		return err
	}
	to.verifier = verifyOp{row: m, verifier: v}
	to.Operation, to.made = &to.verifier, v
	return nil
}

func (o *verifyOp) Close() { o.verifier.Close() }
func (o *verifyOp) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if o.row.OnePart {
		return nil, errOnePart(o.row)
	}
	return dst, o.verifier.Update(part)
}
func (o *verifyOp) Verify(_ context.Context, part, signature []byte) error {
	return o.verifier.Verify(part, signature)
}

type digestOp struct {
	unsupported
	engine *Engine
	row    *mech.Mechanism
	origin *beginning // on a node
	hash   hash.Hash
	keyed  bool // a key has gone in
}

func (e *Engine) startDigest(used hsm.Operation, m *mech.Mechanism, from *beginning, param any) (hsm.Operation, error) {
	h, err := m.Digest(param)
	if err != nil {
		return nil, err
	}
	o, ok := used.(*digestOp)
	if !ok || o.hash != nil {
		o = new(digestOp)
	}
	*o = digestOp{engine: e, row: m, origin: from, hash: h}
	return o, nil
}

func (o *digestOp) FinishLen(int) (int, bool) { return o.hash.Size(), true }

// Close gives the hash back, whose state is then that of a fresh one.
func (o *digestOp) Close() {
	if o.hash == nil {
		return
	}
	o.hash.Reset()
	if o.row.Return != nil && !o.keyed { // its last block is still there
		o.row.Return(o.hash)
	}
	*o = digestOp{}
}

func (o *digestOp) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	o.hash.Write(part)
	return dst, nil
}
func (o *digestOp) Finish(_ context.Context, dst, part []byte) ([]byte, error) {
	o.hash.Write(part)
	return o.hash.Sum(dst), nil
}

// DigestKey feeds a secret key's value into the digest. PKCS#11 v3.2, C_DigestKey.
func (o *digestOp) DigestKey(_ context.Context, cred hsm.Credential, key hsm.Object) (err error) {
	defer answer(&err)
	_, v, err := o.engine.use(cred, key, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	defer v.release()
	if v.head.Class() != pkcs11.CKO_SECRET_KEY {
		return pkcs11.Errorf(pkcs11.CKR_KEY_INDIGESTIBLE, "only secret keys can be digested")
	}
	secretPart, err := o.engine.secretOf(v)
	if err != nil {
		return err
	}
	o.keyed = true
	o.hash.Write(secretPart.Bytes(pkcs11.CKA_VALUE))
	return nil
}
