package engine

import (
	"context"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Attributes answers for each type. PKCS#11 v3.2, C_GetAttributeValue.
func (e *Engine) Attributes(ctx context.Context, cred hsm.Credential, o hsm.Object, types []pkcs11.AttributeType) ([]hsm.Value, error) {
	values := make([]hsm.Value, len(types))
	if err := e.Show(ctx, cred, o, types, values); err != nil {
		return nil, err
	}
	for i, v := range values {
		if v.Shared {
			values[i] = hsm.Value{Value: pkcs11.CloneValue(v.Value)}
		}
	}
	return values, nil
}

// Show implements hsm.Shower: what is not secret of an object never changes, so that it can be shown as it is.
func (e *Engine) Show(ctx context.Context, cred hsm.Credential, o hsm.Object, types []pkcs11.AttributeType, values []hsm.Value) (err error) {
	defer answer(&err)
	n, v, err := e.use(cred, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	if err != nil {
		return err
	}
	defer v.release()
	for i, t := range types {
		values[i] = hsm.Value{}
		if n.live != nil && t == pkcs11.CKA_VALUE {
			if values[i].Value, err = n.live(ctx, e); err != nil {
				return err
			}
			continue
		}
		value, where, err := v.head.Show(t)
		values[i].Shared = where == object.InHead
		if err == nil && where == object.InSecret {
			value, err = e.reveal(v, t)
		}
		if err != nil {
			answer(&err)
			values[i].Err = err
			continue
		}
		values[i].Value = value
	}
	return nil
}

// reveal answers with a copy from the secret part, which the policy has allowed.
func (e *Engine) reveal(v *version, t pkcs11.AttributeType) (any, error) {
	secretPart, err := e.secretOf(v)
	if err != nil {
		return nil, err
	}
	value, ok := secretPart.Get(t)
	if !ok {
		return nil, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID
	}
	return pkcs11.CloneValue(value), nil
}

// SetAttributes changes an object. PKCS#11 v3.2, C_SetAttributeValue.
func (e *Engine) SetAttributes(ctx context.Context, cred hsm.Credential, o hsm.Object, template pkcs11.Template) (err error) {
	defer answer(&err)
	c, err := e.call(ctx, "SetAttributes", e.identityOf(o))
	if err != nil {
		return err
	}
	for {
		n, v, err := e.use(cred, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return c.unless(ctx, doIt, err)
		}
		err = e.set(ctx, c, cred, n, v, template)
		v.release()
		if !errors.Is(err, store.ErrConflict) {
			return c.unless(ctx, doIt, err)
		}
	}
}

func (e *Engine) set(ctx context.Context, c *call, cred hsm.Credential, n *entry, v *version, template pkcs11.Template) error {
	if err := e.may(cred, pick(n.private, auth.WritePrivate, auth.WritePublic)); err != nil {
		return err
	}
	r, err := e.caller(cred, object.Request{})
	if err != nil {
		return err
	}
	head, err := object.Set(v.head, r.SO, template)
	if err != nil {
		return err
	}
	if err := e.changed(v.head, head); err != nil {
		return err
	}
	if !n.token {
		secretPart, err := e.secretOf(v)
		if err != nil {
			return err
		}
		next := newVersion(head, nil, secretPart.Clone())
		if s, lent := n.lent(); lent { // the version is others' too: from now on the entry has one of its own
			n.session.Store(&session{life: s.life})
			n.current.Store(next)
			return nil
		}
		if !n.exchange(v, next) {
			next.release()
			return store.ErrConflict
		}
		return nil
	}
	view, err := e.tokenOf(v)
	if err != nil {
		return err
	}
	b, err := e.barrier(head.Private())
	if err != nil {
		return err
	}
	op, err := e.sealRecord(b, head, v.sealed, v.counter+1)
	if err != nil {
		return err
	}
	cmps, ops, err := e.promised(view, change{before: v.head, after: head})
	if err != nil {
		return err
	}
	return e.commit(ctx, c, doIt, view, append(cmps, store.Compare{Key: op.Key, Modified: v.revision}), append(ops, op))
}
