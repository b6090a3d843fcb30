package cryptoki

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// errNoMechanism: pMechanism is NULL where there is nothing to cancel.
var errNoMechanism = pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "pMechanism is NULL")

// GenerateKey makes a secret key or domain parameters. PKCS#11 v3.2, C_GenerateKey.
func (l *Library) GenerateKey(h SessionHandle, m *pkcs11.Mechanism, template pkcs11.Template) (ObjectHandle, error) {
	var secrets [][]byte
	if l.asynchronous(h) {
		m, template = owned(m), template.Clone()
		secrets = secretsOf(m)
	}
	return l.create("GenerateKey", h, template, func(x *session) (hsm.Object, error) {
		if m == nil {
			return nil, errNoMechanism
		}
		return x.hsm.GenerateKey(x.ctx, x.cred(), *m, template)
	}, secrets...)
}

// GenerateKeyPair makes a public and a private key. PKCS#11 v3.2, C_GenerateKeyPair.
func (l *Library) GenerateKeyPair(h SessionHandle, m *pkcs11.Mechanism, public, private pkcs11.Template) (pub, priv ObjectHandle, err error) {
	if l.asynchronous(h) {
		m, public, private = owned(m), public.Clone(), private.Clone()
	}
	err = l.inSession("GenerateKeyPair", h, func(x *session) error {
		if m == nil {
			return errNoMechanism
		}
		if err := x.mayWrite(isToken(public) || isToken(private)); err != nil {
			return err
		}
		if x.async {
			d, err := x.aside(&pending{function: "GenerateKeyPair"}, func(y *session) outcome {
				pubObject, privObject, err := y.hsm.GenerateKeyPair(y.ctx, y.cred(), *m, public, private)
				if err != nil {
					return outcome{err: err}
				}
				return outcome{objects: []hsm.Object{pubObject, privObject}}
			})
			pub, priv = d.Object, d.Additional
			return err
		}
		pubObject, privObject, err := x.hsm.GenerateKeyPair(x.ctx, x.cred(), *m, public, private)
		if err != nil {
			return err
		}
		// The private key first: it is the one that a logout takes away.
		priv = x.adoptUnless(&err, privObject)
		pub = x.adoptUnless(&err, pubObject)
		return err
	})
	return pub, priv, err
}

// WrapKey exports a key under another. PKCS#11 v3.2, C_WrapKey.
func (l *Library) WrapKey(h SessionHandle, m *pkcs11.Mechanism, wrapping, key ObjectHandle, wrapped *pkcs11.Out) error {
	return l.inSession("WrapKey", h, func(x *session) error {
		if m == nil {
			return errNoMechanism
		}
		w, err := x.object(wrapping, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		k, err := x.object(key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		if p := m.ForWrapping(); p != nil {
			_, err := x.wrapUnder(p, m.Type, p.Whole, w, k, 0, wrapped)
			return err
		}
		switch p, err := x.cloudIV(m); {
		case err != nil:
			return err
		case p != nil:
			_, err := x.wrapUnder(p, m.Type, func() any { return p.GCMParams }, w, k, 0, wrapped)
			return err
		}
		b, err := x.hsm.WrapKey(x.ctx, x.cred(), *m, w.far(), k.far())
		if err != nil {
			return err
		}
		return wrapped.Put(b)
	})
}

// UnwrapKey imports a key under another. PKCS#11 v3.2, C_UnwrapKey.
func (l *Library) UnwrapKey(h SessionHandle, m *pkcs11.Mechanism, unwrapping ObjectHandle, wrapped []byte, template pkcs11.Template) (ObjectHandle, error) {
	if l.asynchronous(h) {
		m, template, wrapped = owned(m), template.Clone(), bytes.Clone(wrapped)
	}
	return l.create("UnwrapKey", h, template, func(x *session) (hsm.Object, error) {
		if m == nil {
			return nil, errNoMechanism
		}
		u, err := x.object(unwrapping, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		o, err := x.hsm.UnwrapKey(x.ctx, x.cred(), wrapParameter(*m), u.far(), wrapped, x.sessionOnly(template))
		return o, x.missing(u, err, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	})
}
