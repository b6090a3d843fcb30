package node

import (
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Objects, and what makes keys and moves them.

func createObject(c *call, b *wire.Request_CreateObject) error {
	template, err := b.CreateObject.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	return c.made(c.hsm().Create(c.ctx, c.cred, template))
}

func copyObject(c *call, b *wire.Request_CopyObject) error {
	source, err := c.toObject(b.CopyObject.GetSource(), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	template, err := b.CopyObject.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	return c.made(c.hsm().Copy(c.ctx, c.cred, source, template))
}

func destroyObject(c *call, b *wire.Request_DestroyObject) error {
	o, err := c.toObject(b.DestroyObject.GetObject(), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	return c.hsm().Destroy(c.ctx, c.cred, o)
}

func objectSize(c *call, b *wire.Request_ObjectSize) error {
	o, err := c.toObject(b.ObjectSize.GetObject(), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	n, err := c.hsm().Size(c.ctx, c.cred, o)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Size{Size: &wire.Size{Bytes: uint64(n)}}})
}

func getAttributes(c *call, b *wire.Request_GetAttributes) error {
	o, err := c.toObject(b.GetAttributes.GetObject(), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	types, err := wire.ToTypes(b.GetAttributes.GetTypes())
	if err != nil {
		return err
	}
	once, places := distinct(types)
	values, err := c.hsm().Attributes(c.ctx, c.cred, o, once)
	if err != nil {
		return err
	}
	m := wire.FromValues(once, values)
	all := make([]*wire.Value, len(types))
	for i, p := range places {
		all[i] = m.Values[p]
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Values{Values: &wire.Values{Values: all}}})
}

// distinct returns each type once, and for each of types where it is: a large value that is asked for a thousand times is there
// once, until the answer is found to be too long.
func distinct(types []pkcs11.AttributeType) (once []pkcs11.AttributeType, places []int) {
	at := map[pkcs11.AttributeType]int{}
	places = make([]int, len(types))
	for i, t := range types {
		p, known := at[t]
		if !known {
			p = len(once)
			at[t] = p
			once = append(once, t)
		}
		places[i] = p
	}
	return once, places
}

func setAttributes(c *call, b *wire.Request_SetAttributes) error {
	o, err := c.toObject(b.SetAttributes.GetObject(), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	template, err := b.SetAttributes.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	if err := c.hsm().SetAttributes(c.ctx, c.cred, o, template); err != nil {
		return err
	}
	if o.Token() {
		return nil
	}
	return c.objects(o) // its new form
}

func findObjects(c *call, b *wire.Request_FindObjects) error {
	template, err := b.FindObjects.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	found, err := c.hsm().Find(c.ctx, c.cred, template)
	if err != nil {
		return err
	}
	return c.objects(found...)
}

func generateKey(c *call, b *wire.Request_GenerateKey) error {
	m, err := wire.ToMechanism(b.GenerateKey.GetMechanism())
	if err != nil {
		return err
	}
	for _, password := range pkcs11.PlacesOf(m.Params).Secrets {
		defer secret.Wipe(password)
	}
	template, err := b.GenerateKey.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	return c.made(c.hsm().GenerateKey(c.ctx, c.cred, m, template))
}

func generateKeyPair(c *call, b *wire.Request_GenerateKeyPair) error {
	m, err := wire.ToMechanism(b.GenerateKeyPair.GetMechanism())
	if err != nil {
		return err
	}
	public, err := b.GenerateKeyPair.GetPublic().ToTemplate()
	if err != nil {
		return err
	}
	private, err := b.GenerateKeyPair.GetPrivate().ToTemplate()
	if err != nil {
		return err
	}
	pub, priv, err := c.hsm().GenerateKeyPair(c.ctx, c.cred, m, public, private)
	if err != nil {
		return err
	}
	return c.objects(pub, priv)
}

func wrapKey(c *call, b *wire.Request_WrapKey) error {
	m, err := wire.ToMechanism(b.WrapKey.GetMechanism())
	if err != nil {
		return err
	}
	wrapping, err := c.toObject(b.WrapKey.GetWrapping(), pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	key, err := c.toObject(b.WrapKey.GetKey(), pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	wrapped, err := c.hsm().WrapKey(c.ctx, c.cred, m, wrapping, key)
	if err != nil {
		return err
	}
	return c.bytes(wrapped)
}

func unwrapKey(c *call, b *wire.Request_UnwrapKey) error {
	m, err := wire.ToMechanism(b.UnwrapKey.GetMechanism())
	if err != nil {
		return err
	}
	unwrapping, err := c.toObject(b.UnwrapKey.GetUnwrapping(), pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	template, err := b.UnwrapKey.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	return c.made(c.hsm().UnwrapKey(c.ctx, c.cred, m, unwrapping, b.UnwrapKey.GetWrapped(), template))
}

func deriveKey(c *call, b *wire.Request_DeriveKey) error {
	m, err := wire.ToMechanism(b.DeriveKey.GetMechanism())
	if err != nil {
		return err
	}
	base, err := c.toObject(b.DeriveKey.GetBase(), pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	var named []hsm.Named
	for _, n := range b.DeriveKey.GetNamed() {
		key, err := c.toObject(n.GetKey(), pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		named = append(named, hsm.Named{Handle: pkcs11.Handle(n.GetHandle()), Key: key})
	}
	template, err := b.DeriveKey.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	made, err := c.hsm().DeriveKey(c.ctx, c.cred, m, base, named, template)
	if err != nil {
		return err
	}
	list := made.More
	if made.Key != nil {
		list = append([]hsm.Object{made.Key}, list...)
	}
	if err := c.objects(list...); err != nil {
		return err
	}
	c.body.GetObjects().Outputs = made.Outputs
	return nil
}

// derivesToken says whether a derivation makes a token object, by its template or one inside its parameter.
func derivesToken(b *wire.Request_DeriveKey) bool {
	if makesToken(b.DeriveKey.GetTemplate(), false) {
		return true
	}
	m, err := wire.ToMechanism(b.DeriveKey.GetMechanism())
	if err != nil {
		return false
	}
	for _, t := range pkcs11.PlacesOf(m.Params).Templates {
		if token, _ := t.Bool(pkcs11.CKA_TOKEN); token {
			return true
		}
	}
	return false
}
