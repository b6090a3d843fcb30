package node

import (
	"math"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func encapsulateKey(c *call, b *wire.Request_EncapsulateKey) error {
	m, err := wire.ToMechanism(b.EncapsulateKey.GetMechanism())
	if err != nil {
		return err
	}
	public, err := c.toObject(b.EncapsulateKey.GetPublic(), pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	template, err := b.EncapsulateKey.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	made, err := c.hsm().EncapsulateKey(c.ctx, c.cred, m, public, template, int(min(b.EncapsulateKey.GetRoom(), math.MaxInt32)))
	if err != nil {
		return err
	}
	out := &wire.Encapsulated{Ciphertext: made.Ciphertext, Size: uint32(made.Size)}
	if made.Key != nil {
		defer c.discard(made.Key)
		if out.Key, err = c.fromObject(made.Key); err != nil {
			return err
		}
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Encapsulated{Encapsulated: out}})
}

func decapsulateKey(c *call, b *wire.Request_DecapsulateKey) error {
	m, err := wire.ToMechanism(b.DecapsulateKey.GetMechanism())
	if err != nil {
		return err
	}
	private, err := c.toObject(b.DecapsulateKey.GetPrivate(), pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	template, err := b.DecapsulateKey.GetTemplate().ToTemplate()
	if err != nil {
		return err
	}
	return c.made(c.hsm().DecapsulateKey(c.ctx, c.cred, m, private, b.DecapsulateKey.GetCiphertext(), template))
}
