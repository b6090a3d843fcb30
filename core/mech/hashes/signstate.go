package hashes

import (
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// signStateVersion begins the state of a Signer or a Verifier. After it comes the state of the hash: what is to be signed
// is in it, and nothing of the key.
const signStateVersion = 1

// State implements mech.Resumable. CKR_STATE_UNSAVEABLE where there is no hash: such an operation has no parts.
func (s *Signer) State() ([]byte, error) { return signState(s.state, s.sign == nil) }

// Resume implements mech.Resumable.
func (s *Signer) Resume(state []byte) error {
	return resumeSigning(s.state, s.sign == nil, &s.begun, state)
}

// State implements mech.Resumable. CKR_STATE_UNSAVEABLE where there is no hash: such an operation has no parts.
func (v *Verifier) State() ([]byte, error) { return signState(v.state, v.verify == nil) }

// Resume implements mech.Resumable.
func (v *Verifier) Resume(state []byte) error {
	return resumeSigning(v.state, v.verify == nil, &v.begun, state)
}

func signState(h hash.Hash, ended bool) ([]byte, error) {
	switch {
	case ended:
		return nil, errEnded
	case h == nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the operation takes its data at once")
	}
	return AppendState([]byte{signStateVersion}, h)
}

func resumeSigning(h hash.Hash, ended bool, begun *bool, state []byte) error {
	switch {
	case ended:
		return errEnded
	case *begun:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a state goes into a fresh operation")
	case h == nil || len(state) == 0 || state[0] != signStateVersion:
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of a signature over a hash of version %d", signStateVersion)
	}
	if err := Resume(h, state[1:]); err != nil {
		return err
	}
	*begun = true
	return nil
}
