package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// use returns the current version of an object that the caller may see; it must be released. invalid is the return
// value for a handle that names nothing.
func (e *Engine) use(cred hsm.Credential, o hsm.Object, invalid pkcs11.RV) (*entry, *version, error) {
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		return nil, nil, err
	}
	n, ok := o.(*entry)
	if !ok {
		return nil, nil, invalid
	}
	if err := e.may(cred, pick(n.private, auth.ReadPrivate, auth.ReadPublic)); err != nil {
		return nil, nil, err
	}
	if v, ok := n.acquire(); ok {
		return n, v, nil
	}
	// The private objects may have been locked and unlocked again since the near side was given this entry.
	if now, ok := e.objects.Get(n.id); ok && n.token && now.private == n.private {
		if v, ok := now.acquire(); ok {
			return now, v, nil
		}
	}
	return nil, nil, invalid
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
	r.SO, r.User = role.May(auth.SetTrusted), role.May(auth.WritePrivate)
	return r, nil
}

func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// fresh is an object that is about to be kept.
type fresh struct {
	head   *object.Object
	secret pkcs11.Template
}

// keep stores new objects, all or none: token objects in one transaction, session objects in the caller's hands. The
// secret parts are its own; what is not kept is wiped.
func (e *Engine) keep(ctx context.Context, list ...fresh) (out []hsm.Object, err error) {
	defer func() {
		if err != nil {
			for _, f := range list {
				wipe(f.secret)
			}
		}
	}()
	out = make([]hsm.Object, len(list))
	var cmps []store.Compare
	var ops []store.Op
	var v *view // of before sealing: what was sealed for a token that is gone meanwhile must not get into the new one
	for i, f := range list {
		if !f.head.Token() {
			n := &entry{id: f.head.ID(), private: f.head.Private()}
			n.current.Store(newVersion(f.head, nil, f.secret))
			out[i] = n
			continue
		}
		if v == nil {
			if v, err = e.now(); err != nil {
				return nil, err
			}
		}
		op, err := e.sealNew(f)
		wipe(f.secret)
		if err != nil {
			return nil, err
		}
		cmps = append(cmps, store.Compare{Key: op.Key})
		ops = append(ops, op)
	}
	if len(ops) == 0 {
		return out, nil
	}
	err = e.commit(ctx, v, cmps, ops)
	if errors.Is(err, store.ErrConflict) { // identities are random, so it is the token that is another
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the token was replaced at the same time")
	}
	if err != nil {
		return nil, err
	}
	for i, f := range list {
		if !f.head.Token() {
			continue
		}
		n, ok := e.objects.Get(f.head.ID())
		if !ok { // could not be read again, or is gone or locked already: use will see
			n = &entry{id: f.head.ID(), token: true, private: f.head.Private()}
		}
		out[i] = n
	}
	return out, nil
}

// sealNew seals a new token object.
func (e *Engine) sealNew(f fresh) (store.Op, error) {
	b, err := e.barrier(f.head.Private())
	if err != nil {
		return store.Op{}, err
	}
	sealed, err := sealSecret(b, f.head.ID(), f.secret)
	if err != nil {
		return store.Op{}, err
	}
	return sealRecord(b, f.head, sealed, 1)
}

// sealRecord makes an object's record: its head is sealed under the record's version, its secret part is sealed already.
func sealRecord(b *vault.Barrier, head *object.Object, sealed []byte, counter uint32) (store.Op, error) {
	sealedHead, err := sealHead(b, head, counter)
	if err != nil {
		return store.Op{}, err
	}
	rec, err := record{private: head.Private(), counter: counter, head: sealedHead, secret: sealed}.marshal()
	if len(rec) > store.MaxValue {
		return store.Op{}, pkcs11.Errorf(pkcs11.CKR_DEVICE_MEMORY, "the object takes %d bytes, at most %d", len(rec), store.MaxValue)
	}
	return store.Op{Key: objectPrefix + head.ID(), Value: rec}, err
}

// Create makes an object from the caller's values. PKCS#11 v3.2, C_CreateObject.
func (e *Engine) Create(ctx context.Context, cred hsm.Credential, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
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
	draft, err := object.Build(r, template)
	if err != nil {
		return nil, err
	}
	return e.finishOne(ctx, draft, nil, checkMaterial)
}

// origin says whether key material is our own making or has to be checked.
type origin bool

const (
	ownMaterial   origin = false
	checkMaterial origin = true
)

// finish completes an object with the material that a mechanism made; nil where it is all in the template. The material
// is wiped if nothing comes of it.
func (e *Engine) finish(draft *object.Draft, material pkcs11.Template, from origin) (fresh, error) {
	whole, err := e.complete(draft, material, from)
	if err != nil {
		wipeMaterial(draft, material)
		return fresh{}, err
	}
	head, secretPart, err := draft.Finish(newID(), whole)
	if err != nil {
		wipeMaterial(draft, material)
		wipeMaterial(draft, whole)
		return fresh{}, err
	}
	return fresh{head, secretPart}, nil
}

// wipeMaterial wipes what is secret of an object's material: the rest may be the caller's bytes, or a curve's name.
func wipeMaterial(draft *object.Draft, material pkcs11.Template) {
	kt, _ := draft.KeyType()
	for i, a := range material {
		if object.SecretAttribute(draft.Class(), kt, a.Type) {
			wipe(material[i : i+1])
		}
	}
}

// finishOne finishes an object and keeps it.
func (e *Engine) finishOne(ctx context.Context, draft *object.Draft, material pkcs11.Template, from origin) (hsm.Object, error) {
	f, err := e.finish(draft, material, from)
	if err != nil {
		return nil, err
	}
	return e.keepOne(ctx, f)
}

func (e *Engine) keepOne(ctx context.Context, f fresh) (hsm.Object, error) {
	list, err := e.keep(ctx, f)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Copy copies an object. PKCS#11 v3.2, C_CopyObject.
func (e *Engine) Copy(ctx context.Context, cred hsm.Credential, source hsm.Object, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
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
	head, err := object.Copy(v.head, r.SO, r.User, newID(), template)
	if err != nil {
		return nil, err
	}
	return e.keepOne(ctx, fresh{head, secretPart.Clone()})
}

// Destroy removes an object. PKCS#11 v3.2, C_DestroyObject.
func (e *Engine) Destroy(ctx context.Context, cred hsm.Credential, o hsm.Object) (err error) {
	defer answer(&err)
	for {
		n, v, err := e.use(cred, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return err
		}
		err = e.destroy(ctx, cred, n, v)
		v.release()
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (e *Engine) destroy(ctx context.Context, cred hsm.Credential, n *entry, v *version) error {
	if err := e.may(cred, pick(n.private, auth.WritePrivate, auth.WritePublic)); err != nil {
		return err
	}
	if err := v.head.Destroyable(); err != nil {
		return err
	}
	if !n.token {
		if !n.exchange(v, nil) {
			return store.ErrConflict
		}
		return nil
	}
	view, err := e.tokenOf(v)
	if err != nil {
		return err
	}
	key := objectPrefix + n.id
	return e.commit(ctx, view, []store.Compare{{Key: key, Modified: v.revision}}, []store.Op{{Key: key, Delete: true}})
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
	for _, n := range e.objects.Candidates(template) {
		if !role.May(pick(n.private, auth.ReadPrivate, auth.ReadPublic)) {
			continue
		}
		v, ok := n.acquire()
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
	return found, nil
}
