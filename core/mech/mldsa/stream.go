package mldsa

import (
	"hash"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// stateVersion begins the state of an operation between two parts. After it comes the state of its SHAKE (package hashes
// has its form): of µ with what the message is bound to, or of the hash that comes before.
const stateVersion = 1

// stream is what signing and verifying share: a SHAKE that takes the parts in. Unlike the hashes of package hashes this
// one is no business of whoever has the data: µ begins with the key.
type stream struct {
	state hash.Hash // nil: the operation has ended
	begun bool
}

var errEnded = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")

func (s *stream) Update(part []byte) error {
	if s.state == nil {
		return errEnded
	}
	s.begun = true
	s.state.Write(part)
	return nil
}

// sum takes the last part and ends the operation.
func (s *stream) sum(part []byte) ([]byte, error) {
	if err := s.Update(part); err != nil {
		return nil, err
	}
	sum := s.state.Sum(nil)
	s.Close()
	return sum, nil
}

// Close wipes the state.
func (s *stream) Close() {
	if s.state != nil {
		s.state.Reset()
	}
	s.state = nil
}

// State implements mech.Resumable.
func (s *stream) State() ([]byte, error) {
	if s.state == nil {
		return nil, errEnded
	}
	return hashes.AppendState([]byte{stateVersion}, s.state)
}

// Resume implements mech.Resumable.
func (s *stream) Resume(state []byte) error {
	switch {
	case s.state == nil:
		return errEnded
	case s.begun:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a state goes into a fresh operation")
	case len(state) == 0 || state[0] != stateVersion:
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of an ML-DSA operation of version %d", stateVersion)
	}
	if err := hashes.Resume(s.state, state[1:]); err != nil {
		return err
	}
	s.begun = true
	return nil
}

type signer struct {
	stream
	size int
	sign func(sum []byte) ([]byte, error)
}

func newSigner(state hash.Hash, size int, sign func(sum []byte) ([]byte, error)) *signer {
	return &signer{stream{state: state}, size, sign}
}

func (s *signer) Size() int { return s.size }

func (s *signer) Finish(dst, part []byte) ([]byte, error) {
	sum, err := s.sum(part)
	if err != nil {
		return nil, err
	}
	sig, err := s.sign(sum)
	if err != nil {
		return nil, err
	}
	return append(dst, sig...), nil
}

type verifier struct {
	stream
	verify func(sum, sig []byte) error
}

func newVerifier(state hash.Hash, verify func(sum, sig []byte) error) *verifier {
	return &verifier{stream{state: state}, verify}
}

func (v *verifier) Verify(part, signature []byte) error {
	sum, err := v.sum(part)
	if err != nil {
		return err
	}
	return v.verify(sum, signature)
}
