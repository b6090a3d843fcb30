package cryptoki

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// savable is the kinds of operation that C_GetOperationState saves, all that are running of them, and in which argument of
// C_SetOperationState the key of each is given again. Recovering, searching and message-based operations are not among
// them.
var savable = [numOperations]keyPlace{
	hsm.OpEncrypt:     encryptionKey,
	hsm.OpDecrypt:     encryptionKey,
	hsm.OpDigest:      noKey,
	hsm.OpSign:        authenticationKey,
	hsm.OpVerify:      authenticationKey,
	opVerifySignature: authenticationKey,

	hsm.OpSignRecover: notSaved, hsm.OpVerifyRecover: notSaved,
}

// keyPlace is where C_SetOperationState has an operation's key.
type keyPlace uint8

const (
	notSaved keyPlace = iota
	noKey
	encryptionKey
	authenticationKey
	numKeyPlaces
)

// farKind is what the far side knows a kind of operation as.
func farKind(kind hsm.OpKind) hsm.OpKind {
	if kind == opVerifySignature {
		return hsm.OpVerify
	}
	return kind
}

// GetOperationState returns the state of the session's encryption, decryption, digest, signature and verification, as many
// of them as are running. It is sealed: only this slot of this process, until C_Finalize or C_InitToken, takes it back.
// PKCS#11 v3.2, C_GetOperationState.
func (l *Library) GetOperationState(h SessionHandle, state *pkcs11.Out) error {
	return l.inSession("GetOperationState", h, func(x *session) error {
		plain, err := x.save()
		if err != nil {
			return err
		}
		sealed, err := x.slot.states.seal(plain)
		clear(plain)
		if err != nil {
			return err
		}
		return state.Put(sealed)
	})
}

// save encodes the session's operations. The caller wipes the result.
func (x *session) save() ([]byte, error) {
	var list []savedOperation
	defer func() {
		for _, s := range list {
			clear(s.state)
		}
	}()
	var keys [numKeyPlaces]string
	for i, place := range savable {
		kind := hsm.OpKind(i)
		if place == notSaved {
			continue
		}
		op := x.running(kind)
		if op == nil {
			continue
		}
		s, err := x.saveOne(kind, op)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
		if keys[place] != "" && keys[place] != s.key {
			return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "two operations have two keys, and C_SetOperationState takes one for both")
		}
		keys[place] = s.key
	}
	if len(list) == 0 {
		return nil, pkcs11.CKR_OPERATION_NOT_INITIALIZED
	}
	return encodeState(x.state(), list), nil
}

func (x *session) saveOne(kind hsm.OpKind, op *operation) (s savedOperation, err error) {
	if op.pending != nil {
		return s, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the end of the operation is pending")
	}
	if op.result != nil {
		return s, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the operation is done, and its result waits for a larger buffer")
	}
	s = savedOperation{kind: kind, mechanism: op.mechanism.Type, parts: op.parts, signature: op.signature}
	if op.key != nil {
		s.key = op.key.far().ID()
	}
	if s.params, err = pkcs11.MarshalParams(op.mechanism.Params); err != nil {
		return s, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "%v: %w", op.mechanism.Type, err)
	}
	s.state, err = x.hsm.SaveOperation(x.ctx, op.Operation)
	return s, err
}

// SetOperationState ends what the session does, its search included, and goes on with the operations of a state. Keys that
// the operations use must be given again; 0 is none. On an error the session is as it was. PKCS#11 v3.2,
// C_SetOperationState.
func (l *Library) SetOperationState(h SessionHandle, state []byte, encryption, authentication ObjectHandle) error {
	return l.inSession("SetOperationState", h, func(x *session) error {
		plain, err := x.slot.states.open(state)
		if err != nil {
			return err
		}
		defer clear(plain)
		list, err := decodeState(plain, x.state())
		if err != nil {
			return err
		}
		keys, err := x.keysOf(list, [numKeyPlaces]ObjectHandle{encryptionKey: encryption, authenticationKey: authentication})
		if err != nil {
			return err
		}
		fresh, err := x.restore(list, keys)
		if err != nil {
			return err
		}
		x.cancelAll()
		for i, s := range list {
			op := x.start(s.kind, fresh[i], s.whole, keys[savable[s.kind]])
			op.parts, op.signature = s.parts, bytes.Clone(s.signature)
		}
		return nil
	})
}

// keysOf finds the keys that the operations of a state need. One that has another identity is another key.
func (x *session) keysOf(list []savedOperation, handles [numKeyPlaces]ObjectHandle) (keys [numKeyPlaces]*object, err error) {
	var wanted [numKeyPlaces]string
	for _, s := range list {
		if s.key != "" {
			wanted[savable[s.kind]] = s.key
		}
	}
	for place, h := range handles {
		switch {
		case h == 0 && wanted[place] != "":
			return keys, pkcs11.Errorf(pkcs11.CKR_KEY_NEEDED, "the state has an operation whose key is not given")
		case h != 0 && wanted[place] == "":
			return keys, pkcs11.Errorf(pkcs11.CKR_KEY_NOT_NEEDED, "the state has no operation for key %d", h)
		case h == 0:
			continue
		}
		k, err := x.object(h, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return keys, err
		}
		if k.far().ID() != wanted[place] {
			return keys, pkcs11.Errorf(pkcs11.CKR_KEY_CHANGED, "key %d is not the one that the operation was begun with", h)
		}
		keys[place] = k
	}
	return keys, nil
}

// restore makes the operations of a state, all or none.
func (x *session) restore(list []savedOperation, keys [numKeyPlaces]*object) (fresh []hsm.Operation, err error) {
	defer func() {
		if err != nil {
			for _, op := range fresh {
				op.Close()
			}
		}
	}()
	for _, s := range list {
		var key hsm.Object
		k := keys[savable[s.kind]]
		if k != nil {
			key = k.far()
		}
		op, err := x.hsm.RestoreOperation(x.ctx, x.cred(), farKind(s.kind), s.whole, key, s.state)
		if err != nil && k != nil {
			err = x.missing(k, err, pkcs11.CKR_KEY_HANDLE_INVALID)
		}
		if err != nil {
			return fresh, err
		}
		fresh = append(fresh, op)
	}
	return fresh, nil
}

// cancelAll ends all that the session does.
func (x *session) cancelAll() {
	for kind := range x.operations {
		x.cancel(hsm.OpKind(kind))
	}
	for kind := range x.messages {
		x.endProcess(hsm.OpKind(kind))
	}
	x.search = nil
}
