package client

import (
	"context"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// object is what the caller holds as hsm.Object: the name of a token object, or a session object itself, sealed.
type object struct {
	client         *Client
	id             string
	token, private bool
	form           atomic.Pointer[form] // nil once a session object is destroyed
}

// form is one state of an object: what names it in a request, and for a session object what may be told of it. It does
// not change.
type form struct {
	wire *wire.Object
	head pkcs11.Template
}

func (o *object) ID() string    { return o.id }
func (o *object) Token() bool   { return o.token }
func (o *object) Private() bool { return o.private }

// Attribute answers from the head of a session object.
func (o *object) Attribute(t pkcs11.AttributeType) (any, bool) {
	f := o.form.Load()
	if f == nil {
		return nil, false
	}
	return f.head.Get(t)
}

// newObject makes an object of a node's answer.
func (c *Client) newObject(m *wire.Object) (*object, error) {
	o := &object{client: c, id: m.GetId(), token: m.GetToken(), private: m.GetPrivate()}
	f, err := newForm(m)
	if err != nil {
		return nil, err
	}
	o.form.Store(f)
	return o, nil
}

func newForm(m *wire.Object) (*form, error) {
	if m.GetId() == "" || m.GetToken() != (len(m.GetSealed()) == 0) {
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered with an object that cannot be: it has no name, or is no session object and sealed")
	}
	f := &form{wire: &wire.Object{Id: m.GetId(), Token: m.GetToken(), Private: m.GetPrivate(), Sealed: m.GetSealed()}}
	if !m.GetToken() {
		head, err := m.GetHead().Known()
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered with a session object that cannot be read: %w", err)
		}
		f.head = head
	}
	return f, nil
}

// formOf returns an object of this client in its present form; invalid is the return value for what is none.
func (c *Client) formOf(o hsm.Object, invalid pkcs11.RV) (*object, *form, error) {
	n, ok := o.(*object)
	if !ok || n.client != c {
		return nil, nil, invalid
	}
	f := n.form.Load()
	if f == nil {
		return nil, nil, invalid
	}
	return n, f, nil
}

// objects returns the objects of an answer, which must be so many.
func (c *Client) objects(r *wire.Reply, want int) ([]*object, error) {
	list := r.GetObjects().GetObjects()
	if r.GetObjects() == nil || len(list) != want {
		return nil, unexpected(r)
	}
	out := make([]*object, want)
	for i, m := range list {
		o, err := c.newObject(m)
		if err != nil {
			return nil, err
		}
		out[i] = o
	}
	return out, nil
}

// makeOne runs a request that makes one object.
func (c *Client) makeOne(ctx context.Context, cred hsm.Credential, q *wire.Request) (hsm.Object, error) {
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	r, err := c.do(ctx, changing, k, q)
	if err != nil {
		return nil, err
	}
	list, err := c.objects(r, 1)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// mayMake refuses token objects through a Client that changes nothing, and says in the template that none is wanted
// where something else could have a say (a key's own template for what is unwrapped with it).
func (c *Client) mayMake(template pkcs11.Template) (pkcs11.Template, error) {
	if !c.opts.ReadOnly {
		return template, nil
	}
	if token, _ := template.Bool(pkcs11.CKA_TOKEN); token {
		return nil, c.mayChange()
	}
	if template.Has(pkcs11.CKA_TOKEN) {
		return template, nil
	}
	return append(template[:len(template):len(template)], pkcs11.Attr(pkcs11.CKA_TOKEN, false)), nil
}

// Create makes an object from its attributes. PKCS#11 v3.2, C_CreateObject.
func (c *Client) Create(ctx context.Context, cred hsm.Credential, template pkcs11.Template) (hsm.Object, error) {
	template, err := c.mayMake(template)
	if err != nil {
		return nil, err
	}
	return c.makeOne(ctx, cred, &wire.Request{Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{Template: wire.FromTemplate(template)}}})
}

// Copy copies an object. PKCS#11 v3.2, C_CopyObject.
func (c *Client) Copy(ctx context.Context, cred hsm.Credential, source hsm.Object, template pkcs11.Template) (hsm.Object, error) {
	n, f, err := c.formOf(source, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	if n.token && !template.Has(pkcs11.CKA_TOKEN) { // a copy is where its source is
		if err := c.mayChange(); err != nil {
			return nil, err
		}
	}
	if template, err = c.mayMake(template); err != nil {
		return nil, err
	}
	return c.makeOne(ctx, cred, &wire.Request{Body: &wire.Request_CopyObject{CopyObject: &wire.CopyObject{Source: f.wire, Template: wire.FromTemplate(template)}}})
}

// Destroy removes an object. Whether a session object may be destroyed is for the node to say; it has nothing to remove.
// PKCS#11 v3.2, C_DestroyObject.
func (c *Client) Destroy(ctx context.Context, cred hsm.Credential, o hsm.Object) error {
	k, err := c.credential(cred)
	if err != nil {
		return err
	}
	for {
		n, f, err := c.formOf(o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return err
		}
		if n.token {
			if err := c.mayChange(); err != nil {
				return err
			}
		}
		r, err := c.do(ctx, changing, k, &wire.Request{Body: &wire.Request_DestroyObject{DestroyObject: &wire.DestroyObject{Object: f.wire}}})
		if err != nil {
			return err
		}
		if err := isDone(r); err != nil || n.token {
			return err
		}
		if n.form.CompareAndSwap(f, nil) {
			return nil
		}
	}
}

// Discard gives up a session object: this client has it and nobody else.
func (c *Client) Discard(o hsm.Object) {
	if n, ok := o.(*object); ok && n.client == c && !n.token {
		n.form.Store(nil)
	}
}

// Size measures an object. PKCS#11 v3.2, C_GetObjectSize.
func (c *Client) Size(ctx context.Context, cred hsm.Credential, o hsm.Object) (uint, error) {
	k, err := c.credential(cred)
	if err != nil {
		return 0, err
	}
	_, f, err := c.formOf(o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return 0, err
	}
	r, err := c.do(ctx, reading, k, &wire.Request{Body: &wire.Request_ObjectSize{ObjectSize: &wire.ObjectSize{Object: f.wire}}})
	if err != nil {
		return 0, err
	}
	if r.GetSize() == nil {
		return 0, unexpected(r)
	}
	return uint(r.GetSize().GetBytes()), nil
}

// Attributes answers for each type. PKCS#11 v3.2, C_GetAttributeValue.
func (c *Client) Attributes(ctx context.Context, cred hsm.Credential, o hsm.Object, types []pkcs11.AttributeType) ([]hsm.Value, error) {
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	_, f, err := c.formOf(o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	r, err := c.do(ctx, reading, k, &wire.Request{Body: &wire.Request_GetAttributes{GetAttributes: &wire.GetAttributes{Object: f.wire, Types: wire.FromTypes(types)}}})
	if err != nil {
		return nil, err
	}
	if r.GetValues() == nil {
		return nil, unexpected(r)
	}
	return wire.ToValues(types, r.GetValues())
}

// SetAttributes changes an object. A session object's new form takes the place of the old one. PKCS#11 v3.2,
// C_SetAttributeValue.
func (c *Client) SetAttributes(ctx context.Context, cred hsm.Credential, o hsm.Object, template pkcs11.Template) error {
	k, err := c.credential(cred)
	if err != nil {
		return err
	}
	for {
		n, f, err := c.formOf(o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return err
		}
		if n.token {
			if err := c.mayChange(); err != nil {
				return err
			}
		}
		r, err := c.do(ctx, changing, k, &wire.Request{Body: &wire.Request_SetAttributes{SetAttributes: &wire.SetAttributes{Object: f.wire, Template: wire.FromTemplate(template)}}})
		if err != nil || n.token {
			return err
		}
		next, err := sameObject(n, r)
		if err != nil {
			return err
		}
		if n.form.CompareAndSwap(f, next) {
			return nil
		}
		// Another call has changed it meanwhile: this change is made again, to what it is now.
	}
}

// sameObject returns the new form of a session object.
func sameObject(n *object, r *wire.Reply) (*form, error) {
	list := r.GetObjects().GetObjects()
	if len(list) != 1 || list[0].GetId() != n.id || list[0].GetToken() || list[0].GetPrivate() != n.private {
		return nil, unexpected(r)
	}
	return newForm(list[0])
}

// Find returns the token objects that match. PKCS#11 v3.2, C_FindObjectsInit.
func (c *Client) Find(ctx context.Context, cred hsm.Credential, template pkcs11.Template) ([]hsm.Object, error) {
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	r, err := c.do(ctx, searches, k, &wire.Request{Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{Template: wire.FromTemplate(template)}}})
	if err != nil {
		return nil, err
	}
	if r.GetObjects() == nil {
		return nil, unexpected(r)
	}
	list := r.GetObjects().GetObjects()
	found := make([]hsm.Object, 0, len(list))
	for _, m := range list {
		o, err := c.newObject(m)
		if err != nil {
			return nil, err
		}
		if !o.token {
			return nil, unexpected(r)
		}
		found = append(found, o)
	}
	return found, nil
}
