package engine

import (
	"context"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// EncapsulateKey makes a secret key with a public one. PKCS#11 v3.2, C_EncapsulateKey.
func (e *Engine) EncapsulateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public hsm.Object, template pkcs11.Template, room int) (out hsm.Encapsulated, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "EncapsulateKey")
	if err != nil {
		return out, err
	}
	row, err := e.row(m.Type, "encapsulate", func(r *mech.Mechanism) bool { return r.Encapsulate != nil })
	if err != nil {
		return out, err
	}
	p, err := e.key(cred, public, keyUse{row, pkcs11.CKA_ENCAPSULATE, pkcs11.CKR_KEY_HANDLE_INVALID})
	if err != nil {
		return out, err
	}
	defer p.release()
	if out.Size, err = row.CiphertextLen(p, m.Params); err != nil || room < out.Size {
		return out, err
	}
	draft, size, err := e.fromKEM(cred, object.OpEncapsulate, p, template)
	if err != nil {
		return out, err
	}
	value, ciphertext, err := row.Encapsulate(p, m.Params, size)
	if err != nil {
		return out, err
	}
	if len(ciphertext) != out.Size {
		secret.Wipe(value)
		return out, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v made a ciphertext of %d bytes and had announced %d", row.Type, len(ciphertext), out.Size)
	}
	if c != nil {
		c.result = ciphertext // sent again, the answer is the ciphertext of the key that was kept
	}
	if out.Key, err = e.finishOne(ctx, c, draft, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)}, checkMaterial); err != nil {
		return out, err
	}
	out.Ciphertext = ciphertext
	if c != nil && c.again {
		out.Ciphertext, err = c.before(ctx)
	}
	return out, err
}

// DecapsulateKey makes the key that a ciphertext carries. PKCS#11 v3.2, C_DecapsulateKey.
func (e *Engine) DecapsulateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, private hsm.Object, ciphertext []byte, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "DecapsulateKey")
	if err != nil {
		return nil, err
	}
	row, err := e.row(m.Type, "decapsulate", func(r *mech.Mechanism) bool { return r.Decapsulate != nil })
	if err != nil {
		return nil, err
	}
	p, err := e.key(cred, private, keyUse{row, pkcs11.CKA_DECAPSULATE, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID})
	if err != nil {
		return nil, wrappingError(err, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)
	}
	defer p.release()
	if err := withoutPIN(p); err != nil {
		return nil, err
	}
	draft, size, err := e.fromKEM(cred, object.OpDecapsulate, p, template)
	if err != nil {
		return nil, err
	}
	value, err := row.Decapsulate(p, m.Params, ciphertext, size)
	if err != nil {
		return nil, err
	}
	return e.finishOne(ctx, c, draft, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)}, checkMaterial)
}

// fromKEM builds the object that an encapsulation or its inverse is to make, with the length that is wanted of its value.
func (e *Engine) fromKEM(cred hsm.Credential, op object.Op, base *version, t pkcs11.Template) (*object.Draft, int, error) {
	draft, err := e.from(cred, op, base, t)
	if err != nil {
		return nil, 0, err
	}
	size, err := e.derivedLen(draft)
	return draft, size, err
}

// derivedLen is the length that a key type or a template wants of a value that a mechanism makes; 0: the mechanism's own.
func (e *Engine) derivedLen(d *object.Draft) (int, error) {
	size, _ := e.lengthOf(d)
	if size > maxDerived {
		return 0, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "CKA_VALUE_LEN %d is over %d", size, maxDerived)
	}
	return int(size), nil
}
