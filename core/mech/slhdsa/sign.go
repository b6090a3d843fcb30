package slhdsa

import (
	"crypto/rand"

	"github.com/cloudflare/circl/sign/slhdsa"
	"github.com/cloudflare/circl/xof"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// sign signs and looks at the result: one that a fault has touched could give the key away, and does not leave.
func (k *privateKey) sign(c postquantum.Context, m *slhdsa.Message) (sig []byte, err error) {
	if c.Deterministic {
		sig, err = slhdsa.SignDeterministic(k.key, m, c.Bytes)
	} else {
		sig, err = slhdsa.SignRandomized(k.key, rand.Reader, m, c.Bytes)
	}
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SLH-DSA: %w", err)
	}
	if !slhdsa.Verify(k.publicKey.key, m, sig, c.Bytes) {
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "a new signature does not verify: a fault in the computation")
	}
	return sig, nil
}

func (p *publicKey) verify(c postquantum.Context, m *slhdsa.Message, sig []byte) error {
	if len(sig) != p.signatureLen() {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), p.signatureLen())
	}
	if !slhdsa.Verify(p.key, m, sig, c.Bytes) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func signMessage(k mech.Key, param any) (mech.Signer, error) {
	c, err := postquantum.ContextOf(param, false)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	return modes.WholeSigner(key.signatureLen(), func(data []byte) ([]byte, error) {
		return key.sign(c, slhdsa.NewMessage(data))
	}), nil
}

func verifyMessage(k mech.Key, param any) (mech.Verifier, error) {
	c, err := postquantum.ContextOf(param, true)
	if err != nil {
		return nil, err
	}
	key, err := publicOf(k)
	if err != nil {
		return nil, err
	}
	return modes.WholeVerifier(func(data, sig []byte) error { return key.verify(c, slhdsa.NewMessage(data), sig) }), nil
}

func newPreHash(h *postquantum.PreHash) (*slhdsa.PreHash, error) {
	var p *slhdsa.PreHash
	var err error
	switch {
	case h.ID != 0:
		p, err = slhdsa.NewPreHashWithHash(h.ID)
	case h.Size() == 32:
		p, err = slhdsa.NewPreHashWithXof(xof.SHAKE128)
	default:
		p, err = slhdsa.NewPreHashWithXof(xof.SHAKE256)
	}
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%s: %w", h.Name, err)
	}
	return p, nil
}

// hashing is what signing and verifying share that hash first.
type hashing struct {
	hash *slhdsa.PreHash // nil: the operation has ended
}

var errEnded = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")

func (h *hashing) Update(part []byte) error {
	if h.hash == nil {
		return errEnded
	}
	if _, err := h.hash.Write(part); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SLH-DSA: %w", err)
	}
	return nil
}

// message takes the last part and ends the operation.
func (h *hashing) message(part []byte) (*slhdsa.Message, error) {
	defer h.Close()
	if err := h.Update(part); err != nil {
		return nil, err
	}
	m, err := h.hash.BuildMessage()
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SLH-DSA: %w", err)
	}
	return m, nil
}

func (h *hashing) Close() {
	if h.hash != nil {
		h.hash.Reset()
	}
	h.hash = nil
}

type hashSigner struct {
	hashing
	key     *privateKey
	context postquantum.Context
}

func hashSign(h *postquantum.PreHash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		c, err := postquantum.ContextOf(param, false)
		if err != nil {
			return nil, err
		}
		key, err := privateOf(k)
		if err != nil {
			return nil, err
		}
		p, err := newPreHash(h)
		if err != nil {
			return nil, err
		}
		return &hashSigner{hashing{p}, key, c}, nil
	}
}

func (s *hashSigner) Size() int { return s.key.signatureLen() }

func (s *hashSigner) Finish(dst, part []byte) ([]byte, error) {
	m, err := s.message(part)
	if err != nil {
		return nil, err
	}
	sig, err := s.key.sign(s.context, m)
	if err != nil {
		return nil, err
	}
	return append(dst, sig...), nil
}

type hashVerifier struct {
	hashing
	key     *publicKey
	context postquantum.Context
}

func hashVerify(h *postquantum.PreHash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		c, err := postquantum.ContextOf(param, true)
		if err != nil {
			return nil, err
		}
		key, err := publicOf(k)
		if err != nil {
			return nil, err
		}
		p, err := newPreHash(h)
		if err != nil {
			return nil, err
		}
		return &hashVerifier{hashing{p}, key, c}, nil
	}
}

func (v *hashVerifier) Verify(part, signature []byte) error {
	m, err := v.message(part)
	if err != nil {
		return err
	}
	return v.key.verify(v.context, m, signature)
}
