package node

import (
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What handlers make of the HSM's answers, and of the objects that requests name.

func (c *call) answerWith(body *wire.Reply) error {
	c.body = body
	return nil
}

func (c *call) bytes(b []byte) error {
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Bytes{Bytes: &wire.Bytes{Bytes: b}}})
}

func (c *call) credentialFor(cred hsm.Credential) error {
	sealed, err := c.hsm().SealCredential(cred)
	if err != nil {
		return err
	}
	lifetime := uint32(c.stream.opts.CredentialLifetime.Seconds())
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Credential{Credential: &wire.Credential{Sealed: sealed, LifetimeS: lifetime}}})
}

// objects answers with objects. Session objects go along whole, and nothing of them stays.
func (c *call) objects(list ...hsm.Object) error {
	defer c.discard(list...)
	out := &wire.ObjectList{Objects: make([]*wire.Object, len(list))}
	for i, o := range list {
		if o == nil { // a place for a key that is not made
			out.Objects[i] = &wire.Object{}
			continue
		}
		m, err := c.fromObject(o)
		if err != nil {
			return err
		}
		out.Objects[i] = m
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Objects{Objects: out}})
}

func (c *call) discard(list ...hsm.Object) {
	for _, o := range list {
		if o != nil && !o.Token() {
			c.hsm().Discard(o)
		}
	}
}

// fromObject names an object to the near side.
func (c *call) fromObject(o hsm.Object) (*wire.Object, error) {
	m := &wire.Object{Id: o.ID(), Token: o.Token(), Private: o.Private()}
	if o.Token() {
		return m, nil
	}
	sealed, head, err := c.hsm().SealObject(o)
	if err != nil {
		return nil, err
	}
	m.Sealed, m.Head = sealed, wire.FromTemplate(head)
	return m, nil
}

// toObject finds what the near side names. invalid is the return value for what cannot be.
func (c *call) toObject(m *wire.Object, invalid pkcs11.RV) (hsm.Object, error) {
	switch {
	case m == nil:
		return nil, pkcs11.Errorf(invalid, "no object is named")
	case m.Token:
		return c.hsm().TokenObject(m.Id, m.Private), nil
	}
	o, err := c.hsm().OpenObject(m.Sealed)
	if pkcs11.RVOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID {
		return nil, pkcs11.Errorf(invalid, "%w", err)
	}
	return o, err
}

// made gives the answer for one new object.
func (c *call) made(o hsm.Object, err error) error {
	if err != nil {
		return err
	}
	return c.objects(o)
}
