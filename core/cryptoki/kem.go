package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// EncapsulateKey makes a secret key with a public one, and the ciphertext that carries it. A length query and a buffer that
// is too short make no key. PKCS#11 v3.2, C_EncapsulateKey.
func (l *Library) EncapsulateKey(h SessionHandle, m *pkcs11.Mechanism, public ObjectHandle, template pkcs11.Template, ciphertext *pkcs11.Out) (n ObjectHandle, err error) {
	err = l.inSession("EncapsulateKey", h, func(x *session) error {
		if m == nil {
			return errNoMechanism
		}
		if err := x.mayWrite(isToken(template)); err != nil {
			return err
		}
		p, err := x.object(public, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		room := ciphertext.Capacity
		if ciphertext.Query {
			room = 0
		}
		made, err := x.hsm.EncapsulateKey(x.ctx, x.cred(), *m, p.far(), x.sessionOnly(template), room)
		if err != nil {
			return x.missing(p, err, pkcs11.CKR_KEY_HANDLE_INVALID)
		}
		if made.Key == nil {
			_, err := ciphertext.Fits(made.Size)
			return err
		}
		if n, err = x.adopt(made.Key); err != nil {
			return err
		}
		return ciphertext.Put(made.Ciphertext)
	})
	return n, err
}

// DecapsulateKey makes the key that a ciphertext carries. PKCS#11 v3.2, C_DecapsulateKey.
func (l *Library) DecapsulateKey(h SessionHandle, m *pkcs11.Mechanism, private ObjectHandle, template pkcs11.Template, ciphertext []byte) (ObjectHandle, error) {
	return l.create("DecapsulateKey", h, template, func(x *session) (hsm.Object, error) {
		if m == nil {
			return nil, errNoMechanism
		}
		p, err := x.object(private, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		o, err := x.hsm.DecapsulateKey(x.ctx, x.cred(), *m, p.far(), ciphertext, x.sessionOnly(template))
		return o, x.missing(p, err, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	})
}
