package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const sessionKind = "session-object"

// errNotNode answers who asks an embedded token to let something leave its process.
var errNotNode = pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "the token is embedded: nothing leaves its process")

// kept is an opened session object in the cache, which has a reference to the version.
type kept struct {
	life    string
	version *version
}

func (k kept) release() { k.version.release() }

// sessionEntry is a new session object, in its owner's hands.
func (e *Engine) sessionEntry(f fresh) *entry {
	n := f.entry
	n.current.Store(f.version)
	if e.node != nil {
		n.session.Store(&session{life: e.node.keys.Load().life})
	}
	return n
}

// SealObject returns a session object for its owner to keep, and its head. The object that was made, or changed by
// SetAttributes, is then to be given to Discard: what is kept of it here, for the next request, is the cache's.
func (e *Engine) SealObject(o hsm.Object) (sealed []byte, head pkcs11.Template, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, nil, errNotNode
	}
	n, ok := o.(*entry)
	if !ok || n.token {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_OBJECT_HANDLE_INVALID, "no session object of this engine")
	}
	s, keys := n.session.Load(), e.node.keys.Load()
	if s == nil || s.life != keys.life {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_OBJECT_HANDLE_INVALID, "the object belongs to a token that was erased")
	}
	v, _, ok := e.acquire(n, spread.Nowhere)
	if !ok {
		return nil, nil, pkcs11.CKR_OBJECT_HANDLE_INVALID
	}
	defer v.release()
	if s.blob != nil {
		return append([]byte{}, s.blob...), v.head.Attributes(), nil
	}
	plain, err := marshalSession(v)
	if err != nil {
		return nil, nil, err
	}
	defer secret.Wipe(plain)
	if sealed, err = sealBlob(keys.barrier, sessionKind, "", plain); err != nil {
		return nil, nil, err
	}
	if v.acquire() {
		e.node.sessions.put(sha256.Sum256(sealed), kept{keys.life, v})
	}
	return sealed, v.head.Attributes(), nil
}

// OpenObject gives a session object back. Its key is opened and made ready for computing once, not at each use.
func (e *Engine) OpenObject(sealed []byte) (o hsm.Object, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, errNotNode
	}
	s := &session{life: e.node.keys.Load().life, blob: sealed, sum: sha256.Sum256(sealed)}
	v, err := e.openSession(s)
	if err != nil {
		return nil, err
	}
	defer v.release()
	s.blob = append([]byte{}, sealed...)
	n := &entry{id: v.head.ID(), private: v.head.Private()}
	n.current.Store(v)
	n.session.Store(s)
	return n, nil
}

// openSession returns the version that a sealed form stands for, from the cache or opened anew; it must be released. It ends
// when nobody holds it and the cache has no more room for it.
func (e *Engine) openSession(s *session) (*version, error) {
	keys := e.node.keys.Load()
	if s.life != keys.life {
		return nil, errNoSession
	}
	if k, ok := e.node.sessions.get(s.sum); ok && k.life == s.life && k.version.acquire() {
		return k.version, nil
	}
	plain, err := openBlob(keys.barrier, sessionKind, "", s.blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSession, err)
	}
	defer secret.Wipe(plain)
	v, err := parseSession(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSession, err)
	}
	v.acquire() // one reference is the cache's, one the caller's
	e.node.sessions.put(s.sum, kept{keys.life, v})
	return v, nil
}

var errNoSession = pkcs11.Errorf(pkcs11.CKR_OBJECT_HANDLE_INVALID, "no session object of this token")

// marshalSession encodes an object for sealing. The caller wipes the result.
func marshalSession(v *version) ([]byte, error) {
	head, err := object.Marshal(v.head.Attributes())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(head)
	secretPart, err := object.Marshal(v.secret)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(secretPart)
	return joined(head, secretPart), nil
}

func parseSession(plain []byte) (*version, error) {
	s := cryptobyte.String(plain)
	var part [2]pkcs11.Template
	for i := range part {
		var n uint32
		var b []byte
		if !s.ReadUint32(&n) || uint64(n) > uint64(len(s)) || !s.ReadBytes(&b, int(n)) {
			return nil, fmt.Errorf("%w: session object", vault.ErrSealBroken)
		}
		t, err := object.Unmarshal(b)
		if err != nil {
			return nil, err
		}
		part[i] = t
	}
	head, err := object.Load(part[0])
	if err != nil {
		return nil, err
	}
	if !s.Empty() || head.Token() {
		return nil, fmt.Errorf("%w: session object", vault.ErrSealBroken)
	}
	return newVersion(head, nil, part[1]), nil
}

// recordSessions puts the session objects that are made together with token objects into the request's record: when the
// request is sent again, its answer is the pair that the first has made, not two halves of different ones.
func (e *Engine) recordSessions(c *call, made []hsm.Object) error {
	if c == nil {
		return nil
	}
	for _, o := range made {
		if o == nil { // a token object
			continue
		}
		sealed, _, err := e.SealObject(o)
		if err != nil {
			return err
		}
		c.result = append(c.result, joined(sealed)...)
	}
	return nil
}

// recallSessions replaces the session objects by those of the first time, where this is not the first.
func (e *Engine) recallSessions(ctx context.Context, c *call, made []hsm.Object) error {
	if c == nil || !c.again || len(c.result) == 0 {
		return nil
	}
	result, err := c.before(ctx)
	if err != nil {
		return err
	}
	s := cryptobyte.String(result)
	for i, o := range made {
		if o == nil {
			continue
		}
		var n uint32
		var sealed []byte
		if !s.ReadUint32(&n) || uint64(n) > uint64(len(s)) || !s.ReadBytes(&sealed, int(n)) {
			return errors.New("the record of the request lacks a session object")
		}
		e.Discard(o)
		if made[i], err = e.OpenObject(sealed); err != nil {
			return err
		}
	}
	return nil
}
