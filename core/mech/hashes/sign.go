package hashes

import (
	"crypto"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Signer is a mech.Signer that hashes its parts and signs the digest. Without a hash it signs the data as it comes, in
// one part.
type Signer struct {
	id    crypto.Hash
	state hash.Hash
	begun bool // the hash has taken data
	size  int
	sign  func(data []byte) ([]byte, error)
}

// NewSigner returns a Signer; h may be nil. sign makes a signature of size bytes from the digest, or from the data
// itself where there is no hash.
func NewSigner(h *Hash, size int, sign func(data []byte) ([]byte, error)) *Signer {
	s := &Signer{size: size, sign: sign}
	if h != nil {
		s.id, s.state = h.ID, h.New()
	}
	return s
}

// Hash names the hash: with it, the Signer is a mech.Digested. 0 where there is none, and FinishDigest then signs the
// data itself.
func (s *Signer) Hash() crypto.Hash { return s.id }

// Size is the signature's length in bytes.
func (s *Signer) Size() int { return s.size }

// Update takes a part; CKR_FUNCTION_NOT_SUPPORTED where there is no hash.
func (s *Signer) Update(part []byte) error {
	if s.state == nil {
		return errOnePart
	}
	s.begun = true
	s.state.Write(part)
	return nil
}

// Finish takes the last part and appends the signature.
func (s *Signer) Finish(dst, part []byte) ([]byte, error) {
	if s.state == nil {
		return s.FinishDigest(dst, part)
	}
	s.state.Write(part)
	return s.FinishDigest(dst, s.state.Sum(nil))
}

// FinishDigest signs a digest that was made elsewhere; the parts that Update took do not count. CKR_DATA_LEN_RANGE for one
// that is not of the hash's length. It ends the operation.
func (s *Signer) FinishDigest(dst, digest []byte) ([]byte, error) {
	if s.sign == nil {
		return nil, errEnded
	}
	if err := checkDigest(s.id, digest); err != nil {
		s.Close()
		return nil, err
	}
	sig, err := s.sign(digest)
	s.Close()
	if err != nil {
		return nil, err
	}
	return append(dst, sig...), nil
}

// Close ends the operation.
func (s *Signer) Close() {
	if s.state != nil {
		s.state.Reset()
	}
	s.sign = nil
}

// Verifier is a mech.Verifier; the counterpart of Signer.
type Verifier struct {
	id     crypto.Hash
	state  hash.Hash
	begun  bool // the hash has taken data
	verify func(data, signature []byte) error
}

// NewVerifier returns a Verifier; h may be nil. verify checks a signature of the digest, or of the data itself where
// there is no hash.
func NewVerifier(h *Hash, verify func(data, signature []byte) error) *Verifier {
	v := &Verifier{verify: verify}
	if h != nil {
		v.id, v.state = h.ID, h.New()
	}
	return v
}

// Hash names the hash: with it, the Verifier is a mech.Digested. 0 where there is none.
func (v *Verifier) Hash() crypto.Hash { return v.id }

// Update takes a part; CKR_FUNCTION_NOT_SUPPORTED where there is no hash.
func (v *Verifier) Update(part []byte) error {
	if v.state == nil {
		return errOnePart
	}
	v.begun = true
	v.state.Write(part)
	return nil
}

// Verify takes the last part and checks the signature.
func (v *Verifier) Verify(part, signature []byte) error {
	if v.state == nil {
		return v.VerifyDigest(part, signature)
	}
	v.state.Write(part)
	return v.VerifyDigest(v.state.Sum(nil), signature)
}

// VerifyDigest checks the signature of a digest that was made elsewhere; the parts that Update took do not count.
// CKR_DATA_LEN_RANGE for a digest that is not of the hash's length. It ends the operation.
func (v *Verifier) VerifyDigest(digest, signature []byte) error {
	if v.verify == nil {
		return errEnded
	}
	defer v.Close()
	if err := checkDigest(v.id, digest); err != nil {
		return err
	}
	return v.verify(digest, signature)
}

// Close ends the operation.
func (v *Verifier) Close() {
	if v.state != nil {
		v.state.Reset()
	}
	v.verify = nil
}

// checkDigest refuses what the hash cannot have given. Without a hash any data will do.
func checkDigest(id crypto.Hash, digest []byte) error {
	if id != 0 && len(digest) != id.Size() {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "a digest of %d bytes, %v has %d", len(digest), id, id.Size())
	}
	return nil
}

var (
	errOnePart = pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "the mechanism works in one part only")
	errEnded   = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
)
