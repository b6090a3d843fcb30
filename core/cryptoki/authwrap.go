package cryptoki

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Wrapping under an AEAD. The vector is made here, on the near side, and the tag parted from the wrapped key here: the far
// side wraps under the whole parameter, as for any other mechanism, and keeps nothing.

// vectored is a parameter whose vector may be the token's to make.
type vectored interface {
	Vector() (iv []byte, fixed, generator uint)
}

// lonely makes the vector of one key that is wrapped, in place. Nothing joins this vector to those of other keys that are
// wrapped under the same one, so it is random whatever the generator's name, and 96 bits of it at least (SP 800-38D, 8.2.2).
//
// Deviation: CKG_GENERATE_COUNTER and CKG_GENERATE_COUNTER_XOR are refused, for their counter would begin at 0 with each
// key, and give the same vector twice.
func lonely(p vectored) error {
	iv, fixed, generator := p.Vector()
	switch generator {
	case pkcs11.CKG_GENERATE_COUNTER, pkcs11.CKG_GENERATE_COUNTER_XOR:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a counter that begins at 0 with each key would give one vector twice: CKG_GENERATE makes a new one")
	case pkcs11.CKG_GENERATE:
		generator = pkcs11.CKG_GENERATE_RANDOM
	}
	return new(vectors).fill(iv, fixed, generator)
}

// wrapUnder wraps a key under a parameter that has a vector, and hands over what is wrapped but for its last tag bytes,
// which it returns. Without output (an error, a length query, a short buffer) the vector is as it was.
func (x *session) wrapUnder(p vectored, m pkcs11.MechanismType, whole func() any, w, k *object, tag int, wrapped *pkcs11.Out) (rest []byte, err error) {
	iv, _, _ := p.Vector()
	was, done := bytes.Clone(iv), false
	defer func() {
		if !done {
			copy(iv, was)
		}
	}()
	if err := lonely(p); err != nil {
		return nil, err
	}
	b, err := x.hsm.WrapKey(x.ctx, x.cred(), pkcs11.Mechanism{Type: m, Params: whole()}, w.far(), k.far())
	if err != nil {
		return nil, err
	}
	if len(b) < tag {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%d bytes for a wrapped key with a tag of %d", len(b), tag)
	}
	n := len(b) - tag
	if done, err = wrapped.Fits(n); !done {
		return nil, err
	}
	return b[n:], wrapped.Put(b[:n:n])
}

// wrapParameter is what the far side takes for what C_WrapKey and C_UnwrapKey take.
func wrapParameter(m pkcs11.Mechanism) pkcs11.Mechanism {
	if p := m.ForWrapping(); p != nil {
		m.Params = p.Whole()
	}
	return m
}

// authenticated checks the mechanism of the authenticated functions: its parameter is that of a message, with the tag or
// the place for it.
func authenticated(m *pkcs11.Mechanism) (p pkcs11.MessageParams, tag []byte, err error) {
	switch {
	case m == nil:
		return nil, nil, errNoMechanism
	case m.Type.NewMessage() == nil:
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "%v does not wrap with associated data", m.Type)
	case !m.Type.TakesMessage(m.Params):
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v with a parameter of Go type %T", m.Type, m.Params)
	}
	p = m.Params.(pkcs11.MessageParams)
	tag, size := p.TagSpace()
	if len(tag) != size || size == 0 {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes for a tag of %d", len(tag), size)
	}
	return p, tag, nil
}

// WrapKeyAuthenticated exports a key under another, with associated data. The vector, if it is generated, and the tag are
// in the parameter afterwards. PKCS#11 v3.2, C_WrapKeyAuthenticated.
func (l *Library) WrapKeyAuthenticated(h SessionHandle, m *pkcs11.Mechanism, wrapping, key ObjectHandle, associated []byte, wrapped *pkcs11.Out) error {
	return l.inSession("WrapKeyAuthenticated", h, func(x *session) error {
		p, tag, err := authenticated(m)
		if err != nil {
			return err
		}
		w, err := x.object(wrapping, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		k, err := x.object(key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		made, err := x.wrapUnder(p, m.Type, func() any { return p.Whole(associated, -1) }, w, k, len(tag), wrapped)
		copy(tag, made)
		return err
	})
}

// UnwrapKeyAuthenticated imports a key under another, with associated data. PKCS#11 v3.2, C_UnwrapKeyAuthenticated.
func (l *Library) UnwrapKeyAuthenticated(h SessionHandle, m *pkcs11.Mechanism, unwrapping ObjectHandle, wrapped []byte, template pkcs11.Template, associated []byte) (ObjectHandle, error) {
	return l.create("UnwrapKeyAuthenticated", h, template, func(x *session) (hsm.Object, error) {
		p, tag, err := authenticated(m)
		if err != nil {
			return nil, err
		}
		u, err := x.object(unwrapping, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		sealed := append(append(make([]byte, 0, len(wrapped)+len(tag)), wrapped...), tag...)
		far := pkcs11.Mechanism{Type: m.Type, Params: p.Whole(associated, len(wrapped))}
		o, err := x.hsm.UnwrapKey(x.ctx, x.cred(), far, u.far(), sealed, x.sessionOnly(template))
		return o, x.missing(u, err, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID)
	})
}
