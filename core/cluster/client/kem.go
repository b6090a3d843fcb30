package client

import (
	"context"
	"math"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// EncapsulateKey makes a secret key with a public one. PKCS#11 v3.2, C_EncapsulateKey.
func (c *Client) EncapsulateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public hsm.Object, template pkcs11.Template, room int) (out hsm.Encapsulated, err error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return out, err
	}
	_, f, err := c.formOf(public, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return out, err
	}
	if template, err = c.mayMake(template); err != nil {
		return out, err
	}
	k, err := c.credential(cred)
	if err != nil {
		return out, err
	}
	r, err := c.do(ctx, changing, k, &wire.Request{Body: &wire.Request_EncapsulateKey{EncapsulateKey: &wire.EncapsulateKey{
		Mechanism: how, Public: f.wire, Template: wire.FromTemplate(template), Room: uint32(min(max(room, 0), math.MaxInt32)),
	}}})
	if err != nil {
		return out, err
	}
	e := r.GetEncapsulated()
	if e == nil || e.GetSize() > maxCiphertext || (e.GetKey() == nil) == (room >= int(e.GetSize())) || e.GetKey() != nil && len(e.GetCiphertext()) != int(e.GetSize()) {
		return out, unexpected(r)
	}
	out.Size = int(e.GetSize())
	if e.GetKey() == nil {
		return out, nil
	}
	key, err := c.newObject(e.GetKey())
	if err != nil {
		return out, err
	}
	out.Key, out.Ciphertext = key, e.GetCiphertext()
	return out, nil
}

// maxCiphertext bounds what a node may say of a ciphertext's length, in bytes; the largest of any mechanism has some
// thousand.
const maxCiphertext = 1 << 20

// DecapsulateKey makes the key that a ciphertext carries. PKCS#11 v3.2, C_DecapsulateKey.
func (c *Client) DecapsulateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, private hsm.Object, ciphertext []byte, template pkcs11.Template) (hsm.Object, error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, err
	}
	_, f, err := c.formOf(private, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	if template, err = c.mayMake(template); err != nil {
		return nil, err
	}
	return c.makeOne(ctx, cred, &wire.Request{Body: &wire.Request_DecapsulateKey{DecapsulateKey: &wire.DecapsulateKey{
		Mechanism: how, Private: f.wire, Ciphertext: ciphertext, Template: wire.FromTemplate(template),
	}}})
}
