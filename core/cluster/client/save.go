package client

import (
	"context"
	"encoding"
	"encoding/binary"
	"hash"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What a saved operation begins with: where the operation is. A hash's own state follows savedHere; savedThere is followed
// by how much has been taken and not given out (8 bytes), the length of the node's sealed state (4 bytes), that state, and
// the data that wait here.
const (
	savedFresh = 0
	savedHere  = 1
	savedThere = 2

	savedHeader = 1 + 8 + 4
)

// mostCarried is how much waiting data a saved state carries along; more is sent to a node before.
const mostCarried = 256

// saver is an operation that can be saved once it is known to be allowed.
type saver interface {
	save(ctx context.Context) ([]byte, error)
	restore(state []byte) error
	begun() *running
}

func (o *running) begun() *running { return o }

// SaveOperation returns the state of an operation between two parts. What the node has of it is sealed by the node.
func (c *Client) SaveOperation(ctx context.Context, op hsm.Operation) ([]byte, error) {
	s, ok := op.(saver)
	if !ok || s.begun().client != c {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "no operation of this token")
	}
	switch r := s.begun(); {
	case r.over:
		return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
	case r.what.MustAuthenticate:
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the key asks for a context-specific login for each operation")
	}
	return s.save(ctx)
}

// RestoreOperation goes on from what SaveOperation has returned.
func (c *Client) RestoreOperation(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, state []byte) (hsm.Operation, error) {
	op, err := c.Begin(ctx, cred, kind, m, key)
	if err != nil {
		return nil, err
	}
	s, ok := op.(saver)
	switch {
	case !ok || len(state) == 0 || op.MustAuthenticate():
		err = errNoState
	case state[0] == savedFresh && len(state) == 1:
	default:
		err = s.restore(state)
	}
	if err != nil {
		op.Close()
		return nil, err
	}
	return op, nil
}

var errNoState = pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of this operation")

// saveHash appends the state of a hash that is made here.
func saveHash(h hash.Hash) ([]byte, error) {
	a, ok := h.(encoding.BinaryAppender)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "a %T does not give its state out", h)
	}
	b, err := a.AppendBinary([]byte{savedHere})
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the hash's state: %w", err)
	}
	return b, nil
}

func restoreHash(h hash.Hash, state []byte) error {
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok || state[0] != savedHere {
		return errNoState
	}
	if err := u.UnmarshalBinary(state[1:]); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the hash's state: %w", err)
	}
	return nil
}

func (o *hashing) save(context.Context) ([]byte, error) { return saveHash(o.hash) }
func (o *hashing) restore(state []byte) error           { return restoreHash(o.hash, state) }

func (o *digesting) save(ctx context.Context) ([]byte, error) {
	if o.there != nil {
		return o.there.save(ctx)
	}
	return saveHash(o.hash)
}

func (o *digesting) restore(state []byte) error {
	if state[0] == savedHere {
		return restoreHash(o.hash, state)
	}
	there := &stepwise{running: o.running}
	if err := there.restore(state); err != nil {
		return err
	}
	o.there = there
	return nil
}

func (o *stepwise) save(ctx context.Context) ([]byte, error) {
	if o.unsent.len() > mostCarried {
		if _, err := o.update(ctx, nil, o.unsent.take()); err != nil {
			return nil, err
		}
	}
	waiting := o.unsent.len()
	b := make([]byte, 0, savedHeader+len(o.state)+waiting)
	b = binary.BigEndian.AppendUint64(append(b, savedThere), uint64(o.pending))
	b = binary.BigEndian.AppendUint32(b, uint32(len(o.state)))
	b = append(b, o.state...)
	return append(b, o.unsent.b[:waiting]...), nil
}

func (o *stepwise) restore(state []byte) error {
	if len(state) < savedHeader || state[0] != savedThere {
		return errNoState
	}
	pending := binary.BigEndian.Uint64(state[1:])
	n, rest := binary.BigEndian.Uint32(state[9:]), state[savedHeader:]
	if uint64(n) > uint64(len(rest)) {
		return errNoState
	}
	o.pending, o.state = int(pending), append([]byte(nil), rest[:n]...)
	o.unsent.add(rest[n:])
	return nil
}

// save keeps nothing but that the operation has begun: its data could be many megabytes.
func (o *atOnce) save(context.Context) ([]byte, error) {
	if o.data.len() > 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "an operation of %v cannot be interrupted", pkcs11.MechanismType(o.mechanism.Type))
	}
	return []byte{savedFresh}, nil
}

func (o *atOnce) restore([]byte) error { return errNoState }
