package cryptoki

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
)

// object is an object that the application has a handle of.
type object struct {
	numbered[object]
	ref   atomic.Pointer[hsm.Object] // of a token object: as it was found last
	first hsm.Object                 // as it was given its handle
	owner *session                   // the session that a session object dies with; nil for a token object
	local local                      // of a session object
	login *login                     // of a private object: the login that may use this handle
}

// far is the object as the far side knows it.
func (o *object) far() hsm.Object { return *o.ref.Load() }

// seen reports whether the object may be seen under a login. A private object's handle dies with the login that got it,
// and a later login gets a new one (PKCS#11 v3.2, C_Logout); comparing logins does that without finding the handles.
func (o *object) seen(now *login) bool {
	return o.login == nil || o.login == now
}

// dead reports whether no login may see the object any more. Its own login was the slot's before it got its handle, so that
// it has ended if another one is.
func (t *handles) dead(o *object) bool { return !o.seen(t.current.Load()) }

// handles is a slot's objects as the application knows them. A token object has one handle for as long as the run lasts,
// or the login if it is private.
type handles struct {
	current  *atomic.Pointer[login] // the slot's
	last     *atomic.Uint64
	byHandle numbers[object]
	byID     table[string, *object] // token objects
	local    localObjects           // session objects
}

func (t *handles) get(h ObjectHandle, now *login) (*object, bool) {
	o, ok := t.byHandle.load(h)
	if !ok || !o.seen(now) {
		return nil, false
	}
	return o, true
}

func (t *handles) make(o hsm.Object, owner *session, now *login) *object {
	n := &object{first: o, owner: owner}
	n.ref.Store(&n.first)
	if o.Private() {
		n.login = now
	}
	t.byHandle.add(n, &n.numbered, t.last)
	return n
}

// token returns the handle of a token object.
func (t *handles) token(o hsm.Object, now *login) ObjectHandle {
	id := o.ID()
	old, ok := t.byID.load(id)
	if ok && old.seen(now) {
		old.ref.Store(&o)
		return old.handle
	}
	if ok && t.dead(old) {
		t.remove(old)
	}
	n := t.make(o, nil, now)
	if other, loaded := t.byID.loadOrStore(id, n); loaded && other.seen(now) {
		t.byHandle.remove(&n.numbered)
		return other.handle
	}
	return n.handle
}

// session gives a new session object its handle.
func (t *handles) session(o hsm.Object, owner *session, now *login) *object {
	n := t.make(o, owner, now)
	t.local.add(n)
	return n
}

func (t *handles) remove(o *object) {
	t.byHandle.remove(&o.numbered)
	if o.owner != nil {
		t.local.remove(o)
	} else {
		t.byID.deleteExactly(o.far().ID(), o)
	}
}

// sweep forgets what is dead, and returns the session objects among it. There may be a new login before it is done.
func (t *handles) sweep() (session []*object) {
	t.byHandle.each(func(o *object) {
		if !t.dead(o) {
			return
		}
		t.remove(o)
		if o.owner != nil {
			session = append(session, o)
		}
	})
	return session
}

// reset forgets the token objects: the token has been erased. Session objects, if any, are of sessions that are just
// ending and see to it themselves.
func (t *handles) reset() {
	t.byHandle.each(func(o *object) {
		if o.owner == nil {
			t.remove(o)
		}
	})
}
