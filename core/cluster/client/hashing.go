package client

import (
	"context"
	"crypto"
	"crypto/sha1" //nolint:gosec // the standard's mechanisms name it; policy decides what may be used
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding"
	"hash"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// hashes are those that this side can do by itself, by the name that a node gives them.
var hashes = map[string]func() hash.Hash{
	crypto.SHA1.String():       sha1.New,
	crypto.SHA224.String():     sha256.New224,
	crypto.SHA256.String():     sha256.New,
	crypto.SHA384.String():     sha512.New384,
	crypto.SHA512.String():     sha512.New,
	crypto.SHA512_224.String(): sha512.New512_224,
	crypto.SHA512_256.String(): sha512.New512_256,
	crypto.SHA3_224.String():   func() hash.Hash { return sha3.New224() },
	crypto.SHA3_256.String():   func() hash.Hash { return sha3.New256() },
	crypto.SHA3_384.String():   func() hash.Hash { return sha3.New384() },
	crypto.SHA3_512.String():   func() hash.Hash { return sha3.New512() },
}

// newHash returns a fresh state; nil for a hash that is not known here.
func newHash(name string) hash.Hash {
	if f := hashes[name]; f != nil {
		return f()
	}
	return nil
}

// hashing is a signature or verification whose data are digested here; only the digest is sent.
type hashing struct {
	running
	hash hash.Hash
}

func (o *hashing) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if err := o.inParts(); err != nil {
		return nil, err
	}
	o.hash.Write(part)
	return dst, nil
}

func (o *hashing) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if o.kind != hsm.OpSign {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation has no output")
	}
	o.hash.Write(part)
	dst, err := o.output(ctx, dst, &wire.Step{Act: wire.Act_ACT_FINISH_DIGEST, Data: o.hash.Sum(nil)})
	o.over = true
	return dst, err
}

func (o *hashing) Verify(ctx context.Context, part, signature []byte) error {
	if err := o.ready(); err != nil {
		return err
	}
	if o.kind != hsm.OpVerify {
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation verifies nothing")
	}
	o.hash.Write(part)
	return o.verdict(ctx, &wire.Step{Act: wire.Act_ACT_VERIFY_DIGEST, Data: o.hash.Sum(nil), Signature: signature})
}

func (o *hashing) Close() {
	o.running.Close()
	o.hash.Reset()
}

// digesting is a digest. It is made here, until a key's value is to go into it: from then on only the nodes may see its
// state, and it goes on there.
type digesting struct {
	running
	hash  hash.Hash
	there *stepwise // nil while the digest is here
}

func (o *digesting) FinishLen(int) (int, bool) { return o.hash.Size(), true }

func (o *digesting) Update(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if o.there != nil {
		return o.there.Update(ctx, dst, part)
	}
	o.hash.Write(part)
	return dst, nil
}

func (o *digesting) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	o.over = true
	if o.there != nil {
		return o.there.Finish(ctx, dst, part)
	}
	o.hash.Write(part)
	return o.hash.Sum(dst), nil
}

func (o *digesting) Verify(context.Context, []byte, []byte) error { return errVerifiesNothing }

// DigestKey feeds a secret key's value into the digest. PKCS#11 v3.2, C_DigestKey.
func (o *digesting) DigestKey(ctx context.Context, cred hsm.Credential, key hsm.Object) error {
	if err := o.ready(); err != nil {
		return err
	}
	err := o.digestKey(ctx, cred, key)
	o.over = err != nil
	return err
}

func (o *digesting) digestKey(ctx context.Context, cred hsm.Credential, key hsm.Object) error {
	if o.there != nil {
		return o.there.DigestKey(ctx, cred, key)
	}
	m, ok := o.hash.(encoding.BinaryMarshaler)
	if !ok {
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%s has no state that can be sent", o.what.Hash)
	}
	state, err := m.MarshalBinary()
	if err != nil {
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "the state of %s cannot be sent: %w", o.what.Hash, err)
	}
	defer clear(state)
	there := &stepwise{running: o.running}
	if err := there.digestKey(ctx, cred, key, state); err != nil {
		return err
	}
	o.there = there
	o.hash.Reset()
	return nil
}

func (o *digesting) Close() {
	o.running.Close()
	o.hash.Reset()
	if o.there != nil {
		o.there.Close()
	}
}
