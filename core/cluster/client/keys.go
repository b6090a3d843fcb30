package client

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// GenerateKey makes a secret key. PKCS#11 v3.2, C_GenerateKey.
func (c *Client) GenerateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, template pkcs11.Template) (hsm.Object, error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, err
	}
	if template, err = c.mayMake(template); err != nil {
		return nil, err
	}
	return c.makeOne(ctx, cred, &wire.Request{Body: &wire.Request_GenerateKey{GenerateKey: &wire.GenerateKey{
		Mechanism: how, Template: wire.FromTemplate(template),
	}}})
}

// GenerateKeyPair makes a key pair: both objects or none. PKCS#11 v3.2, C_GenerateKeyPair.
func (c *Client) GenerateKeyPair(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public, private pkcs11.Template) (pub, priv hsm.Object, err error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, nil, err
	}
	if public, err = c.mayMake(public); err != nil {
		return nil, nil, err
	}
	if private, err = c.mayMake(private); err != nil {
		return nil, nil, err
	}
	k, err := c.credential(cred)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.do(ctx, changing, k, &wire.Request{Body: &wire.Request_GenerateKeyPair{GenerateKeyPair: &wire.GenerateKeyPair{
		Mechanism: how, Public: wire.FromTemplate(public), Private: wire.FromTemplate(private),
	}}})
	if err != nil {
		return nil, nil, err
	}
	pair, err := c.objects(r, 2)
	if err != nil {
		return nil, nil, err
	}
	return pair[0], pair[1], nil
}

// WrapKey encrypts a key with another. PKCS#11 v3.2, C_WrapKey.
func (c *Client) WrapKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, wrapping, key hsm.Object) ([]byte, error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, err
	}
	_, w, err := c.formOf(wrapping, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	_, f, err := c.formOf(key, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	r, err := c.do(ctx, pure, k, &wire.Request{Body: &wire.Request_WrapKey{WrapKey: &wire.WrapKey{Mechanism: how, Wrapping: w.wire, Key: f.wire}}})
	if err != nil {
		return nil, err
	}
	if r.GetBytes() == nil {
		return nil, unexpected(r)
	}
	return r.GetBytes().GetBytes(), nil
}

// UnwrapKey decrypts a key and keeps it. PKCS#11 v3.2, C_UnwrapKey.
func (c *Client) UnwrapKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, unwrapping hsm.Object, wrapped []byte, template pkcs11.Template) (hsm.Object, error) {
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, err
	}
	_, f, err := c.formOf(unwrapping, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	if template, err = c.mayMake(template); err != nil {
		return nil, err
	}
	return c.makeOne(ctx, cred, &wire.Request{Body: &wire.Request_UnwrapKey{UnwrapKey: &wire.UnwrapKey{
		Mechanism: how, Unwrapping: f.wire, Wrapped: wrapped, Template: wire.FromTemplate(template),
	}}})
}

// Random fills p. PKCS#11 v3.2, C_GenerateRandom.
func (c *Client) Random(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), wire.MaxPart)
		r, err := c.do(ctx, pure, nil, &wire.Request{Body: &wire.Request_Random{Random: &wire.Random{Bytes: uint32(n)}}})
		if err != nil {
			return err
		}
		b := r.GetBytes().GetBytes()
		if len(b) != n {
			return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered with %d random bytes, %d were asked for", len(b), n)
		}
		copy(p, b)
		clear(b)
		p = p[n:]
	}
	return nil
}

// Seed mixes seed into the generator of one node. PKCS#11 v3.2, C_SeedRandom.
func (c *Client) Seed(ctx context.Context, seed []byte) error {
	r, err := c.do(ctx, pure, nil, &wire.Request{Body: &wire.Request_Seed{Seed: &wire.Seed{Seed: seed}}})
	if err != nil {
		return err
	}
	return isDone(r)
}
