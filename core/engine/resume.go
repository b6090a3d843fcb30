package engine

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const operationKind = "operation"

// How long, in seconds, an operation may go on after the PIN that its key asks for each time: before it has taken data,
// when the sealed form stands for the PIN itself, and after that.
const (
	authenticatedFor = 2 * 60
	goesOnFor        = 60 * 60
)

// The flags of a sealed operation.
const (
	flagAuthenticated = 1
	flagState         = 2
	operationHeader   = 1 + 8
)

// beginning is what an operation was begun with, to know it again.
type beginning struct {
	cred      hsm.Credential
	kind      hsm.OpKind
	mechanism pkcs11.Mechanism
	key       string // CKA_UNIQUE_ID; empty for a digest
}

// origin returns nil in an embedded engine, where no operation leaves.
func (e *Engine) origin(cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key string) *beginning {
	if e.node == nil {
		return nil
	}
	return &beginning{cred, kind, m, key}
}

// binding is the hash of all that an operation belongs to.
func (o *beginning) binding() (string, error) {
	// A parameter is a number, bytes or a struct of such, whose JSON, with the type's name, tells any two apart.
	params, err := json.Marshal(o.mechanism.Params)
	if err != nil {
		return "", pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the parameter of %v: %w", o.mechanism.Type, err)
	}
	var user, name string
	if c, ok := o.cred.(*credential); ok {
		user, name = strconv.Itoa(int(c.account.User)), c.account.Name
	}
	sum := sha256.Sum256(joined([]byte(strconv.Itoa(int(o.kind))), []byte(strconv.FormatUint(uint64(o.mechanism.Type), 10)),
		fmt.Appendf(nil, "%T", o.mechanism.Params), params, []byte(o.key), []byte(user), []byte(name)))
	return "/" + hex.EncodeToString(sum[:]), nil
}

// maker is what the operations of a key have: what the mechanism has made, and how much it gives out.
type maker interface {
	core() any
	shape() hsm.Shape
	mechanism() *mech.Mechanism
}

func (o *cipherOp) core() any                  { return o.cipher }
func (o *cipherOp) shape() hsm.Shape           { return hsm.Shape(o.cipher.Shape()) }
func (o *cipherOp) mechanism() *mech.Mechanism { return o.row }
func (o *signOp) core() any                    { return o.signer }
func (o *signOp) shape() hsm.Shape             { return hsm.Shape{Post: o.signer.Size(), Exact: true} }
func (o *signOp) mechanism() *mech.Mechanism   { return o.row }
func (o *verifyOp) core() any                  { return o.verifier }
func (o *verifyOp) shape() hsm.Shape           { return hsm.Shape{Exact: true} }
func (o *verifyOp) mechanism() *mech.Mechanism { return o.row }

// Describe tells what the near side must know of an operation.
func (e *Engine) Describe(op hsm.Operation) hsm.Description {
	switch o := op.(type) {
	case *digestOp:
		return hsm.Description{Shape: hsm.Shape{Post: o.hash.Size(), Exact: true}, Hash: hashName(o.row.Hash), Parts: true, Resumable: hashes.HasState(o.hash)}
	case *held:
		m, ok := o.Operation.(maker)
		if !ok {
			break
		}
		d := hsm.Description{Shape: m.shape(), Parts: !m.mechanism().OnePart, MustAuthenticate: o.mustAuthenticate}
		_, resumes := m.core().(mech.Resumable)
		d.Resumable = d.Parts && resumes
		if digested, ok := m.core().(mech.Digested); ok {
			d.Hash = hashName(digested.Hash())
			if h := hashes.ByID(digested.Hash()); h != nil {
				d.Resumable = d.Resumable && hashes.HasState(h.New())
			}
		}
		return d
	}
	return hsm.Description{}
}

func hashName(h crypto.Hash) string {
	if h == 0 {
		return ""
	}
	return h.String()
}

// SealOperation returns the state of an operation between two parts. One that has taken no data can always be sealed: all
// that there is to keep is that its key's user has given his PIN.
func (e *Engine) SealOperation(op hsm.Operation) (sealed []byte, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, errNotNode
	}
	from, plain, err := stateOf(op)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	binding, err := from.binding()
	if err != nil {
		return nil, err
	}
	return sealBlob(e.node.keys.Load().barrier, operationKind, binding, plain)
}

// stateOf encodes an operation. The caller wipes the result.
func stateOf(op hsm.Operation) (from *beginning, plain []byte, err error) {
	var state []byte
	flags, authenticated := byte(0), int64(0)
	switch o := op.(type) {
	case *digestOp:
		from, flags = o.origin, flagState
		state, err = hashes.AppendState(nil, o.hash)
	case *held:
		from, authenticated = o.origin, o.authenticated
		if authenticated != 0 {
			flags |= flagAuthenticated
		}
		if o.begun {
			flags |= flagState
			state, err = o.state()
		}
	}
	defer secret.Wipe(state)
	if err != nil {
		return nil, nil, err
	}
	if from == nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "no operation of this engine")
	}
	plain = make([]byte, 0, operationHeader+len(state))
	plain = binary.BigEndian.AppendUint64(append(plain, flags), uint64(authenticated))
	return from, append(plain, state...), nil
}

// state is that of the mechanism.
func (h *held) state() ([]byte, error) {
	r, err := h.resumable()
	if err != nil {
		return nil, err
	}
	return r.State()
}

func (h *held) resumable() (mech.Resumable, error) {
	if m, ok := h.Operation.(maker); ok {
		if r, ok := m.core().(mech.Resumable); ok {
			return r, nil
		}
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "an operation of this mechanism cannot be interrupted")
}

// OpenOperation goes on from a state in a fresh operation.
func (e *Engine) OpenOperation(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, sealed []byte) (op hsm.Operation, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, errNotNode
	}
	if op, err = e.Begin(ctx, cred, kind, m, key); err != nil {
		return nil, err
	}
	if err := e.resume(op, sealed); err != nil {
		op.Close()
		return nil, err
	}
	return op, nil
}

func (e *Engine) resume(op hsm.Operation, sealed []byte) error {
	from := originOf(op)
	if from == nil {
		return pkcs11.CKR_SAVED_STATE_INVALID
	}
	binding, err := from.binding()
	if err != nil {
		return err
	}
	plain, err := openBlob(e.node.keys.Load().barrier, operationKind, binding, sealed)
	if err != nil {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of this operation: %w", err)
	}
	defer secret.Wipe(plain)
	if len(plain) < operationHeader {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a state of %d bytes", len(plain))
	}
	flags, state := plain[0], plain[operationHeader:]
	if o, ok := op.(*digestOp); ok {
		return hashes.Resume(o.hash, state)
	}
	h := op.(*held)
	if flags&flagAuthenticated != 0 {
		if err := e.takeAuthentication(h, int64(binary.BigEndian.Uint64(plain[1:])), flags); err != nil {
			return err
		}
	}
	if flags&flagState == 0 {
		return nil
	}
	if h.mustAuthenticate {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the operation has taken data without the PIN that its key asks for")
	}
	r, err := h.resumable()
	if err != nil {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%w", err)
	}
	if err := r.Resume(state); err != nil {
		return err
	}
	h.begun = true
	return nil
}

// takeAuthentication believes a state that the PIN was given, for a while.
func (e *Engine) takeAuthentication(h *held, at int64, flags byte) error {
	most := int64(authenticatedFor)
	if flags&flagState != 0 {
		most = goesOnFor
	}
	if age := e.node.now() - at; age > most || age < -most {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the PIN for this operation was given %d seconds ago, at most %d may pass", age, most)
	}
	h.mustAuthenticate, h.authenticated = false, at
	return nil
}

func originOf(op hsm.Operation) *beginning {
	switch o := op.(type) {
	case *digestOp:
		return o.origin
	case *held:
		return o.origin
	}
	return nil
}

// ResumeDigest returns a digest that goes on from a state that the near side has reached by itself.
func (e *Engine) ResumeDigest(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, state []byte) (op hsm.Operation, err error) {
	defer answer(&err)
	if op, err = e.Begin(ctx, cred, hsm.OpDigest, m, nil); err != nil {
		return nil, err
	}
	if err := hashes.Resume(op.(*digestOp).hash, state); err != nil {
		op.Close()
		return nil, err
	}
	return op, nil
}

// FinishDigest ends a signature over a digest that the near side has made.
func (e *Engine) FinishDigest(_ context.Context, op hsm.Operation, dst, digest []byte) (out []byte, err error) {
	defer answer(&err)
	core, err := digested(op)
	if err != nil {
		return nil, err
	}
	s, ok := core.(interface {
		FinishDigest(dst, digest []byte) ([]byte, error)
	})
	if !ok {
		return nil, errNotDigested
	}
	return s.FinishDigest(dst, digest)
}

// VerifyDigest ends a verification over a digest that the near side has made.
func (e *Engine) VerifyDigest(_ context.Context, op hsm.Operation, digest, signature []byte) (err error) {
	defer answer(&err)
	core, err := digested(op)
	if err != nil {
		return err
	}
	v, ok := core.(interface {
		VerifyDigest(digest, signature []byte) error
	})
	if !ok {
		return errNotDigested
	}
	return v.VerifyDigest(digest, signature)
}

var errNotDigested = pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "the operation does not take a digest")

// digested returns what signs or verifies a digest, if the operation may and has taken nothing yet.
func digested(op hsm.Operation) (core any, err error) {
	h, ok := op.(*held)
	if !ok {
		return nil, errNotDigested
	}
	if err := h.allowed(); err != nil {
		return nil, err
	}
	m, ok := h.Operation.(maker)
	if !ok {
		return nil, errNotDigested
	}
	d, ok := m.core().(mech.Digested)
	switch {
	case !ok || d.Hash() == 0:
		return nil, errNotDigested
	case h.begun:
		return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "the operation has taken data itself")
	}
	return m.core(), nil
}
