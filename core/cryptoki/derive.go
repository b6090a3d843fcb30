package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// DeriveKey makes a key from another, or several: what the mechanism makes besides goes to the places of its parameter,
// and where that has a place for every key, the answer is 0. A parameter with places is the caller's memory, so that such a
// call is never pending. PKCS#11 v3.2, C_DeriveKey.
func (l *Library) DeriveKey(h SessionHandle, m *pkcs11.Mechanism, base ObjectHandle, template pkcs11.Template) (n ObjectHandle, err error) {
	var at pkcs11.Places
	if m != nil {
		at = pkcs11.PlacesOf(m.Params)
	}
	if len(at.Made)+len(at.Outputs) == 0 {
		if l.asynchronous(h) {
			m, template = owned(m), template.Clone()
		}
		return l.create("DeriveKey", h, template, func(x *session) (hsm.Object, error) {
			made, err := x.derive(m, at, base, template)
			return made.Key, err
		})
	}
	err = l.inSession("DeriveKey", h, func(x *session) error {
		token := isToken(template)
		for _, t := range at.Templates {
			token = token || isToken(*t)
		}
		if err := x.mayWrite(token); err != nil {
			return err
		}
		made, err := x.derive(m, at, base, template)
		if err != nil {
			return err
		}
		n, err = x.adoptAll(made, at)
		return err
	})
	return n, err
}

// derive asks the far side.
func (x *session) derive(m *pkcs11.Mechanism, at pkcs11.Places, base ObjectHandle, template pkcs11.Template) (hsm.Derived, error) {
	if m == nil {
		return hsm.Derived{}, errNoMechanism
	}
	b, err := x.object(base, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return hsm.Derived{}, err
	}
	named, err := x.named(at.Named)
	if err != nil {
		return hsm.Derived{}, err
	}
	for _, t := range at.Templates {
		*t = x.sessionOnly(*t)
	}
	made, err := x.hsm.DeriveKey(x.ctx, x.cred(), *m, b.far(), named, x.sessionOnly(template))
	return made, x.missing(b, err, pkcs11.CKR_KEY_HANDLE_INVALID)
}

// named finds the keys that a parameter names.
func (x *session) named(handles []pkcs11.Handle) ([]hsm.Named, error) {
	var list []hsm.Named
	for _, h := range handles {
		o, err := x.object(ObjectHandle(h), pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		list = append(list, hsm.Named{Handle: h, Key: o.far()})
	}
	return list, nil
}

// adoptAll gives new keys their handles, and fills the places of the parameter. If the login has ended meanwhile, the
// session objects that have no handle yet are given up too.
func (x *session) adoptAll(made hsm.Derived, at pkcs11.Places) (n ObjectHandle, err error) {
	if len(made.More) != len(at.Made) || len(made.Outputs) != len(at.Outputs) || (made.Key == nil) != at.Instead {
		return 0, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%d keys and %d outputs for %d and %d places",
			len(made.More), len(made.Outputs), len(at.Made), len(at.Outputs))
	}
	n = x.adoptUnless(&err, made.Key)
	for i, o := range made.More {
		*at.Made[i] = pkcs11.NewHandle(x.adoptUnless(&err, o))
	}
	for i, b := range made.Outputs {
		at.Outputs[i].Bytes = b
	}
	return n, err
}

// adoptUnless gives one of several new objects its handle, unless one before it has failed: then nobody gets it, and what
// is not on the token goes.
func (x *session) adoptUnless(failed *error, o hsm.Object) (h ObjectHandle) {
	switch {
	case o == nil:
	case *failed == nil:
		h, *failed = x.adopt(o)
	case !o.Token():
		x.hsm.Discard(o)
	}
	return h
}
