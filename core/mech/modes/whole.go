package modes

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// WholeSigner returns a Signer for a scheme that goes over the message twice, so that its parts are gathered. sign makes a
// signature of size bytes.
func WholeSigner(size int, sign func(message []byte) ([]byte, error)) mech.Signer {
	return &wholeSigner{Gather{Excess: pkcs11.CKR_DATA_LEN_RANGE}, size, sign}
}

type wholeSigner struct {
	Gather
	size int
	sign func(message []byte) ([]byte, error)
}

func (s *wholeSigner) Size() int { return s.size }

func (s *wholeSigner) Update(part []byte) error { return s.Add(part) }

func (s *wholeSigner) Finish(dst, part []byte) ([]byte, error) {
	message, err := s.All(part)
	if err != nil {
		return nil, err
	}
	signature, err := s.sign(message)
	if err != nil {
		return nil, err
	}
	return append(dst, signature...), nil
}

// WholeVerifier is the counterpart of WholeSigner.
func WholeVerifier(verify func(message, signature []byte) error) mech.Verifier {
	return &wholeVerifier{Gather{Excess: pkcs11.CKR_DATA_LEN_RANGE}, verify}
}

type wholeVerifier struct {
	Gather
	verify func(message, signature []byte) error
}

func (v *wholeVerifier) Update(part []byte) error { return v.Add(part) }

func (v *wholeVerifier) Verify(part, signature []byte) error {
	message, err := v.All(part)
	if err != nil {
		return err
	}
	return v.verify(message, signature)
}
