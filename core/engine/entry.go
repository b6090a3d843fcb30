package engine

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// entry is one object: what the near side holds as hsm.Object. The object may change and vanish under it.
type entry struct {
	id             string
	token, private bool
	promise        bool                    // the profile that the token has as long as it keeps it (certificates.go)
	current        atomic.Pointer[version] // nil once destroyed, or hidden by a logout
	session        atomic.Pointer[session] // of a session object on a node; else nil
	live           live                    // of some built-in objects: their CKA_VALUE
}

// session is what a node knows of a session object: the life of the token that it was made in and, once the object has been
// sealed or opened, its sealed form.
type session struct {
	life string
	// blob is what the object was opened from; nil: the version is the entry's own. The version of an entry that was opened
	// is the cache's, so that it may end at any time and is then opened anew: see Engine.acquire.
	blob []byte
	sum  [sha256.Size]byte
}

// lent reports whether the version is the cache's.
func (n *entry) lent() (*session, bool) {
	s := n.session.Load()
	return s, s != nil && s.blob != nil
}

func (n *entry) ID() string    { return n.id }
func (n *entry) Token() bool   { return n.token }
func (n *entry) Private() bool { return n.private }

// Attribute gives an attribute of the head.
func (n *entry) Attribute(t pkcs11.AttributeType) (any, bool) {
	v := n.current.Load()
	if v == nil {
		return nil, false
	}
	return v.head.Get(t)
}

// replace makes v the current version; nil ends the entry.
func (n *entry) replace(v *version) {
	if old := n.current.Swap(v); old != nil {
		old.release()
	}
}

// exchange makes next the current version, nil to end the entry, if old still is.
func (n *entry) exchange(old, next *version) bool {
	if !n.current.CompareAndSwap(old, next) {
		return false
	}
	old.release()
	return true
}

// acquire returns the current version, which stays whole until the hold is given back.
func (n *entry) acquire(at spread.Seat) (*version, spread.Hold, bool) {
	for {
		v := n.current.Load()
		if v == nil {
			return nil, spread.Owner, false
		}
		if h, ok := v.acquireAt(at); ok {
			return v, h, true
		}
	}
}

// version is one state of an object. It is a mech.Key. A key that is destroyed or logged out does not vanish under a
// running signature: what is secret of it is wiped when nobody holds it any more.
type version struct {
	head     *object.Object
	counter  uint32            // the record's version number, bound into the seal
	revision int64             // store revision; 0 for session objects
	sum      [sha256.Size]byte // of the record, on a node

	refs   spread.Refs // the table's, and those of who uses it
	grants grants
	*material
}

// material is the secret part, opened at its first use, with the forms that were computed from it. The versions of one
// token object share it, for its secret part never changes: a form can take long to compute.
type material struct {
	holders holders // versions

	mu     sync.Mutex // guards sealed, opened and secret until opened
	opened atomic.Bool
	sealed []byte
	secret pkcs11.Template

	expanded [mech.NumSlots]atomic.Pointer[any]
}

// holders counts who has a material; at 0 it has ended.
type holders struct{ atomic.Int32 }

func (h *holders) acquire() bool {
	for {
		n := h.Load()
		if n == 0 {
			return false
		}
		if h.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// versionMemory is a version with material of its own.
type versionMemory struct {
	version
	own material
}

// newVersion returns a version with one reference, the table's own. Either sealed or secret may be given.
func newVersion(head *object.Object, sealed []byte, secretPart pkcs11.Template) *version {
	return new(versionMemory).init(head, sealed, secretPart)
}

func (m *versionMemory) init(head *object.Object, sealed []byte, secretPart pkcs11.Template) *version {
	m.head, m.material = head, &m.own
	m.own.sealed, m.own.secret = sealed, secretPart
	m.opened.Store(sealed == nil)
	m.refs.Start()
	m.holders.Store(1)
	return &m.version
}

// share makes v, which nobody else has yet, use the material of an earlier version of the object. A key's forms are
// computed of its secret part, a public key's of its head: that one's are not shared.
func (v *version) share(old *version) {
	if old == nil || v.sealed == nil || !bytes.Equal(v.sealed, old.sealed) || !old.holders.acquire() {
		return
	}
	v.material = old.material
}

// acquire is acquireAt for who gives it back by release.
func (v *version) acquire() bool {
	_, ok := v.acquireAt(spread.Nowhere)
	return ok
}

// release gives back the table's reference, or one that was taken nowhere.
func (v *version) release() { v.letGo(spread.Owner) }

// acquireAt returns a reference that letGo takes back.
func (v *version) acquireAt(at spread.Seat) (spread.Hold, bool) {
	h, ok := v.refs.Acquire(at)
	if !ok {
		v.letGo(h)
	}
	return h, ok
}

func (v *version) letGo(h spread.Hold) {
	if !v.refs.Release(h) || v.holders.Add(-1) > 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	wipe(v.secret)
	for i := range v.expanded {
		if v.expanded[i].Load() == nil {
			continue
		}
		if p := v.expanded[i].Swap(nil); p != nil {
			wipeForm(*p)
		}
	}
}

// wipeForm wipes a computing form that can be.
func wipeForm(x any) {
	if form, ok := x.(interface{ Wipe() }); ok {
		form.Wipe()
	}
}

// wipe overwrites the byte strings of a secret part.
func wipe(t pkcs11.Template) {
	for _, a := range t {
		if b, ok := a.Value.([]byte); ok {
			secret.Wipe(b)
		}
	}
}

// openSecret opens the secret part if that has not happened yet.
func (v *version) openSecret(b *vault.Barrier) error {
	if v.opened.Load() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened.Load() {
		return nil
	}
	plain, err := b.Open(secretLabel(v.head.ID()), v.sealed)
	if err != nil {
		return err
	}
	defer secret.Wipe(plain)
	t, err := object.Unmarshal(plain)
	if err != nil {
		return fmt.Errorf("%w: secret part of object %s: %v", store.ErrDamaged, v.head.ID(), err)
	}
	v.secret = t
	v.opened.Store(true)
	return nil
}

// Class is CKA_CLASS.
func (v *version) Class() pkcs11.ObjectClass { return v.head.Class() }

// Type is CKA_KEY_TYPE.
func (v *version) Type() pkcs11.KeyType {
	kt, _ := v.head.KeyType()
	return kt
}

// Bytes returns a byte-string attribute; the secret part must have been opened.
func (v *version) Bytes(t pkcs11.AttributeType) []byte {
	if b := v.head.Bytes(t); b != nil {
		return b
	}
	if !v.opened.Load() {
		return nil
	}
	return v.secret.Bytes(t)
}

// Uint returns a numeric attribute.
func (v *version) Uint(t pkcs11.AttributeType) (uint, bool) { return v.head.Uint(t) }

// Kept returns a computing form if it has been built: mech.Kept.
func (v *version) Kept(slot mech.Slot) any {
	if p := v.expanded[slot].Load(); p != nil {
		return *p
	}
	return nil
}

// Expanded returns the key in a computing form, built once. Two goroutines may both build; the first result stays, and the
// other is wiped.
func (v *version) Expanded(slot mech.Slot, build func() (any, error)) (any, error) {
	if p := v.expanded[slot].Load(); p != nil {
		return *p, nil
	}
	x, err := build()
	if err != nil {
		return nil, err
	}
	if !v.expanded[slot].CompareAndSwap(nil, &x) {
		if p := v.expanded[slot].Load(); p != nil {
			wipeForm(x)
			return *p, nil
		}
	}
	return x, nil
}
