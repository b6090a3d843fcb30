package hmac

import (
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// stateVersion begins a state. After it comes the state of the inner hash, which has taken in the padded key and the
// data so far (package hashes has its form). The outer hash is made from the key again.
const stateVersion = 1

// State implements mech.Resumable. Before the first block of data it is the hash of the padded key, which FIPS 198-1, 6,
// wants protected like the key.
func (m *movable) State() ([]byte, error) {
	if m.state == nil {
		return nil, errEnded
	}
	return hashes.AppendState([]byte{stateVersion}, m.state.inner)
}

// Resume implements mech.Resumable.
func (m *movable) Resume(state []byte) error {
	switch {
	case m.state == nil:
		return errEnded
	case m.begun:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a state goes into a fresh operation")
	case len(state) == 0 || state[0] != stateVersion:
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of an HMAC of version %d", stateVersion)
	}
	inner := m.state.inner
	if err := hashes.Resume(inner, state[1:]); err != nil {
		return err
	}
	if n := hashes.Hashed(state[1:]); n >= 0 && n < int64(inner.BlockSize()) {
		m.state.Reset()
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%d bytes were hashed, less than the padded key", n)
	}
	m.begun = true
	return nil
}

var errEnded = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
