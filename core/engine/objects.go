package engine

import (
	"context"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// use returns the current version of an object that the caller may see; it must be released. invalid is the return
// value for a handle that names nothing.
func (e *Engine) use(cred hsm.Credential, o hsm.Object, invalid pkcs11.RV) (*entry, *version, error) {
	n, v, _, err := e.useAt(spread.Nowhere, cred, o, invalid)
	return n, v, err
}

// useAt is use for who comes to a key again and again; letGo takes the version back.
func (e *Engine) useAt(at spread.Seat, cred hsm.Credential, o hsm.Object, invalid pkcs11.RV) (*entry, *version, spread.Hold, error) {
	n, v, h, err := e.useHere(at, cred, o, invalid)
	if e.node == nil {
		return n, v, h, err
	}
	rests := int64(0) // on the revision of what was found; of what was not, on all that is known
	switch {
	case err == nil:
		rests = v.revision
	case pkcs11.RVOf(err) == invalid:
		rests = e.objectsAt.Load()
	}
	if unsettled := e.node.settle(rests); unsettled != nil {
		if v != nil {
			v.letGo(h)
		}
		return nil, nil, h, unsettled
	}
	return n, v, h, err
}

// useHere is useAt by what this process holds.
func (e *Engine) useHere(at spread.Seat, cred hsm.Credential, o hsm.Object, invalid pkcs11.RV) (*entry, *version, spread.Hold, error) {
	refused := func(err error) (*entry, *version, spread.Hold, error) { return nil, nil, spread.Owner, err }
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		return refused(err)
	}
	n, ok := o.(*entry)
	if !ok {
		return refused(invalid)
	}
	if err := e.may(cred, pick(n.private, auth.ReadPrivate, auth.ReadPublic)); err != nil {
		return refused(err)
	}
	if n.promise && !e.publicCertificates() {
		return refused(invalid)
	}
	if v, h, ok := e.acquire(n, at); ok {
		return n, v, h, nil
	}
	if own := e.builtin.byID[n.id]; own != nil && n.token && (!own.promise || e.publicCertificates()) { // as a node is asked for it
		if v, h, ok := own.acquire(at); ok {
			return own, v, h, nil
		}
	}
	// The private objects may have been locked and unlocked again since the near side was given this entry.
	if now, ok := e.objects.Get(n.id); ok && n.token && now.private == n.private {
		if v, h, ok := now.acquire(at); ok {
			return now, v, h, nil
		}
	}
	return refused(invalid)
}

// acquire returns the current version of an entry; one that is the cache's is opened again if it has ended.
func (e *Engine) acquire(n *entry, at spread.Seat) (*version, spread.Hold, bool) {
	s, lent := n.lent()
	if !lent {
		return n.acquire(at)
	}
	if v := n.current.Load(); v != nil {
		if h, ok := v.acquireAt(at); ok {
			return v, h, true
		}
	}
	v, err := e.openSession(s)
	if err != nil {
		return nil, spread.Owner, false
	}
	n.current.Store(v)
	return v, spread.Owner, true
}

func pick[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

// secretOf opens an object's secret part and returns it.
func (e *Engine) secretOf(v *version) (pkcs11.Template, error) {
	if !v.opened.Load() {
		b, err := e.barrier(v.head.Private())
		if err != nil {
			return nil, err
		}
		if err := v.openSecret(b); err != nil {
			return nil, err
		}
	}
	return v.secret, nil
}

// caller fills in who asks, for the policy.
func (e *Engine) caller(cred hsm.Credential, r object.Request) (object.Request, error) {
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		return r, err
	}
	role, err := e.role(cred)
	if err != nil {
		return r, err
	}
	if !role.May(auth.WritePublic) {
		return r, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "there are no objects before the token is activated")
	}
	r.SO, r.User = role.May(auth.SetTrusted), role.May(auth.WritePrivate)
	return r, nil
}

// Create makes an object from the caller's values. PKCS#11 v3.2, C_CreateObject.
func (e *Engine) Create(ctx context.Context, cred hsm.Credential, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "Create")
	if err != nil {
		return nil, err
	}
	r, err := e.caller(cred, object.Request{Op: object.OpCreate})
	if err != nil {
		return nil, err
	}
	// The secret part of a draft is the template's own, and is wiped or kept: not the caller's bytes.
	template = template.Clone()
	defer func() {
		if err != nil {
			wipe(template)
		}
	}()
	draft, err := e.build(r, template)
	if err != nil {
		return nil, err
	}
	return e.finishOne(ctx, c, draft, nil, checkMaterial)
}

// Copy copies an object. PKCS#11 v3.2, C_CopyObject.
func (e *Engine) Copy(ctx context.Context, cred hsm.Credential, source hsm.Object, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "Copy")
	if err != nil {
		return nil, err
	}
	r, err := e.caller(cred, object.Request{})
	if err != nil {
		return nil, err
	}
	_, v, err := e.use(cred, source, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	defer v.release()
	secretPart, err := e.secretOf(v)
	if err != nil {
		return nil, err
	}
	head, err := object.Copy(v.head, r.SO, r.User, c.id(), template)
	if err != nil {
		return nil, err
	}
	if err := e.changed(v.head, head); err != nil {
		return nil, err
	}
	return e.keepOne(ctx, c, newFresh(head, secretPart.Clone()))
}

// Destroy removes an object. PKCS#11 v3.2, C_DestroyObject.
func (e *Engine) Destroy(ctx context.Context, cred hsm.Credential, o hsm.Object) (err error) {
	defer answer(&err)
	c, err := e.call(ctx, "Destroy", e.identityOf(o))
	if err != nil {
		return err
	}
	for {
		n, v, err := e.use(cred, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return c.unless(ctx, doIt, err)
		}
		err = e.destroy(ctx, c, cred, n, v)
		v.release()
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return c.unless(ctx, doIt, err)
		}
	}
}

// identityOf is what a request that changes an object is bound to, where requests are sent again.
func (e *Engine) identityOf(o hsm.Object) []byte {
	if o == nil || e.node == nil {
		return nil
	}
	return []byte(o.ID())
}

func (e *Engine) destroy(ctx context.Context, c *call, cred hsm.Credential, n *entry, v *version) error {
	if err := e.may(cred, pick(n.private, auth.WritePrivate, auth.WritePublic)); err != nil {
		return err
	}
	if err := v.head.Destroyable(); err != nil {
		return err
	}
	if !n.token {
		if s, lent := n.lent(); lent {
			// The sealed form is its owner's to forget; what is open of it ends here.
			e.node.sessions.drop(s.sum)
			n.session.Store(&session{life: s.life})
			n.current.Store(nil)
			return nil
		}
		if !n.exchange(v, nil) {
			return store.ErrConflict
		}
		return nil
	}
	view, err := e.tokenOf(v)
	if err != nil {
		return err
	}
	cmps, ops, err := e.promised(view, change{before: v.head})
	if pkcs11.RVOf(err) == pkcs11.CKR_TEMPLATE_INCONSISTENT {
		err = pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "%w", err)
	}
	if err != nil {
		return err
	}
	key := objectPrefix + n.id
	return e.commit(ctx, c, doIt, view, append(cmps, store.Compare{Key: key, Modified: v.revision}), append(ops, store.Op{Key: key, Delete: true}))
}

// tokenOf returns the token that a token object's version belongs to, to change or remove the object. Between its use and
// now the token may have been erased, and the record still be there.
func (e *Engine) tokenOf(v *version) (*view, error) {
	now, err := e.now()
	if err == nil && v.revision < now.tokenRevision {
		return nil, pkcs11.Errorf(pkcs11.CKR_OBJECT_HANDLE_INVALID, "the object was erased with its token")
	}
	return now, err
}

// Discard gives up a session object.
func (e *Engine) Discard(o hsm.Object) {
	if n, ok := o.(*entry); ok && !n.token {
		if _, lent := n.lent(); lent {
			return
		}
		n.replace(nil)
	}
}

// Size is the length of the object's record. PKCS#11 v3.2, C_GetObjectSize.
func (e *Engine) Size(_ context.Context, cred hsm.Credential, o hsm.Object) (n uint, err error) {
	defer answer(&err)
	_, v, err := e.use(cred, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return 0, err
	}
	defer v.release()
	secretPart, err := e.secretOf(v)
	if err != nil {
		return 0, err
	}
	for _, t := range []pkcs11.Template{v.head.Attributes(), secretPart} {
		b, err := object.Marshal(t)
		if err != nil {
			return 0, err
		}
		n += uint(len(b))
		wipe(pkcs11.Template{{Value: b}})
	}
	return n, nil
}

// Find returns the token objects that match. PKCS#11 v3.2, C_FindObjectsInit.
func (e *Engine) Find(_ context.Context, cred hsm.Credential, template pkcs11.Template) (found []hsm.Object, err error) {
	defer answer(&err)
	if err := e.refresh(); errors.Is(err, errNoToken) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	role, err := e.role(cred)
	if err != nil {
		return nil, err
	}
	candidates := e.builtin.ofClass(template)
	if candidates == nil {
		candidates = e.objects.Candidates(template)
	}
	for _, n := range candidates {
		if !role.May(pick(n.private, auth.ReadPrivate, auth.ReadPublic)) || n.promise && !e.publicCertificates() {
			continue
		}
		v, _, ok := n.acquire(spread.Nowhere)
		if !ok {
			continue
		}
		if v.head.Matches(template, func() pkcs11.Template {
			t, _ := e.secretOf(v)
			return t
		}) {
			found = append(found, n)
		}
		v.release()
	}
	if err := e.node.settle(e.objectsAt.Load()); err != nil { // afterwards: it covers what was looked at
		return nil, err
	}
	return found, nil
}
