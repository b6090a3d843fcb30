package client

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// DeriveKey makes keys from others. PKCS#11 v3.2, C_DeriveKey.
func (c *Client) DeriveKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, base hsm.Object, named []hsm.Named, template pkcs11.Template) (hsm.Derived, error) {
	at := pkcs11.PlacesOf(m.Params)
	for _, t := range at.Templates {
		may, err := c.mayMake(*t)
		if err != nil {
			return hsm.Derived{}, err
		}
		*t = may
	}
	how, err := wire.FromMechanism(m)
	if err != nil {
		return hsm.Derived{}, err
	}
	_, f, err := c.formOf(base, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return hsm.Derived{}, err
	}
	q := &wire.DeriveKey{Mechanism: how, Base: f.wire}
	for _, n := range named {
		_, f, err := c.formOf(n.Key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return hsm.Derived{}, err
		}
		q.Named = append(q.Named, &wire.NamedKey{Handle: uint64(n.Handle), Key: f.wire})
	}
	if template, err = c.mayMake(template); err != nil {
		return hsm.Derived{}, err
	}
	q.Template = wire.FromTemplate(template)
	k, err := c.credential(cred)
	if err != nil {
		return hsm.Derived{}, err
	}
	r, err := c.do(ctx, changing, k, &wire.Request{Body: &wire.Request_DeriveKey{DeriveKey: q}})
	if err != nil {
		return hsm.Derived{}, err
	}
	return c.derived(r, at)
}

// derived reads what a derivation has made: the key of the call first, if there is one, then those of the parameter, in
// which an object without a name is no key.
func (c *Client) derived(r *wire.Reply, at pkcs11.Places) (d hsm.Derived, err error) {
	list, outputs := r.GetObjects().GetObjects(), r.GetObjects().GetOutputs()
	want := len(at.Made)
	if !at.Instead {
		want++
	}
	if r.GetObjects() == nil || len(list) != want || len(outputs) != len(at.Outputs) {
		return d, unexpected(r)
	}
	for i, m := range list {
		first := i == 0 && !at.Instead
		if m.GetId() == "" && !first {
			d.More = append(d.More, nil)
			continue
		}
		o, err := c.newObject(m)
		switch {
		case err != nil:
			return hsm.Derived{}, err
		case first:
			d.Key = o
		default:
			d.More = append(d.More, o)
		}
	}
	for i, b := range outputs {
		if !at.Outputs[i].Wanted {
			b = nil
		}
		d.Outputs = append(d.Outputs, b)
	}
	return d, nil
}
