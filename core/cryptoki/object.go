package cryptoki

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// object returns what a handle stands for in this slot and under this login; invalid is the return value for one that
// stands for nothing.
func (x *session) object(h ObjectHandle, invalid pkcs11.RV) (*object, error) {
	o, ok := x.slot.objects.get(h, x.login)
	if !ok {
		return nil, pkcs11.Errorf(invalid, "object handle %d", h)
	}
	return o, nil
}

// missing forgets the handle of an object that the far side does not know any more, and answers with the return value
// that fits the object's part in the call.
func (x *session) missing(o *object, err error, invalid pkcs11.RV) error {
	if err == nil || pkcs11.RVOf(err) != pkcs11.CKR_OBJECT_HANDLE_INVALID {
		return err
	}
	x.slot.objects.remove(o)
	return pkcs11.Errorf(invalid, "%w", err)
}

// adopt gives a new object its handle.
func (x *session) adopt(o hsm.Object) (ObjectHandle, error) {
	if o.Token() {
		return x.slot.objects.token(o, x.login), nil
	}
	x.owner = true
	n := x.slot.objects.session(o, x, x.login)
	if !n.seen(x.slot.login.Load()) {
		x.slot.discard(x.hsm, []*object{n})
		return 0, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the user was logged out meanwhile")
	}
	return n.handle, nil
}

// mayWrite says whether the session may make or change an object that is, or is not, a token object.
func (x *session) mayWrite(token bool) error {
	if token && !x.rw {
		return x.readOnly()
	}
	return nil
}

// readOnly is the answer of a read-only session to what would change the token. That nobody may is said first (PKCS#11 v3.2,
// section 5.1.6, CKR_TOKEN_WRITE_PROTECTED).
func (x *session) readOnly() error {
	if limits, err := x.hsm.limits(x.ctx); err == nil && limits.WriteProtected {
		return pkcs11.Errorf(pkcs11.CKR_TOKEN_WRITE_PROTECTED, "the token may be read, and nothing on it changed")
	}
	return pkcs11.Errorf(pkcs11.CKR_SESSION_READ_ONLY, "a read-only session leaves the token as it is")
}

// sessionOnly is the template of a new key whose CKA_TOKEN may also come from elsewhere: the unwrapping or base key's
// own template. In a read-only session it says so explicitly that a token object is not wanted.
func (x *session) sessionOnly(template pkcs11.Template) pkcs11.Template {
	if x.rw || template.Has(pkcs11.CKA_TOKEN) {
		return template
	}
	return append(slices.Clip(template), pkcs11.Attr(pkcs11.CKA_TOKEN, false))
}

func isToken(template pkcs11.Template) bool {
	token, _ := template.Bool(pkcs11.CKA_TOKEN)
	return token
}

// create runs what makes one object. secrets are copies for a call that may be pending, which are wiped when f has ended, or
// need not begin.
func (l *Library) create(function string, h SessionHandle, template pkcs11.Template, f func(*session) (hsm.Object, error), secrets ...[]byte) (n ObjectHandle, err error) {
	begun := false
	defer func() {
		if !begun {
			wipeAll(secrets)
		}
	}()
	err = l.inSession(function, h, func(x *session) error {
		if err := x.mayWrite(isToken(template)); err != nil {
			return err
		}
		if x.async && mayPend[function] {
			p := &pending{function: function}
			d, err := x.aside(p, func(y *session) outcome {
				defer wipeAll(secrets)
				o, err := f(y)
				if err != nil {
					return outcome{err: err}
				}
				return outcome{objects: []hsm.Object{o}}
			})
			n, begun = d.Object, p.done != nil
			return err
		}
		o, err := f(x)
		if err != nil {
			return err
		}
		n, err = x.adopt(o)
		return err
	})
	return n, err
}

// CreateObject makes an object from its attributes. PKCS#11 v3.2, C_CreateObject.
func (l *Library) CreateObject(h SessionHandle, template pkcs11.Template) (ObjectHandle, error) {
	return l.create("CreateObject", h, template, func(x *session) (hsm.Object, error) {
		return x.hsm.Create(x.ctx, x.cred(), template)
	})
}

// CopyObject makes an object from another. PKCS#11 v3.2, C_CopyObject.
func (l *Library) CopyObject(h SessionHandle, n ObjectHandle, template pkcs11.Template) (ObjectHandle, error) {
	return l.create("CopyObject", h, template, func(x *session) (hsm.Object, error) {
		source, err := x.object(n, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		if !template.Has(pkcs11.CKA_TOKEN) {
			if err := x.mayWrite(source.far().Token()); err != nil {
				return nil, err
			}
		}
		o, err := x.hsm.Copy(x.ctx, x.cred(), source.far(), template)
		return o, x.missing(source, err, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	})
}

// onObject runs f for an object.
func (l *Library) onObject(function string, h SessionHandle, n ObjectHandle, f func(*session, *object) error) error {
	return l.inSession(function, h, func(x *session) error {
		o, err := x.object(n, pkcs11.CKR_OBJECT_HANDLE_INVALID)
		if err != nil {
			return err
		}
		return x.missing(o, f(x, o), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	})
}

// DestroyObject destroys an object. PKCS#11 v3.2, C_DestroyObject.
func (l *Library) DestroyObject(h SessionHandle, n ObjectHandle) error {
	return l.onObject("DestroyObject", h, n, func(x *session, o *object) error {
		if err := x.mayWrite(o.far().Token()); err != nil {
			return err
		}
		if err := x.hsm.Destroy(x.ctx, x.cred(), o.far()); err != nil {
			return err
		}
		x.slot.objects.remove(o)
		return nil
	})
}

// GetObjectSize measures an object. PKCS#11 v3.2, C_GetObjectSize.
func (l *Library) GetObjectSize(h SessionHandle, n ObjectHandle) (size uint, err error) {
	err = l.onObject("GetObjectSize", h, n, func(x *session, o *object) (err error) {
		size, err = x.hsm.Size(x.ctx, x.cred(), o.far())
		return err
	})
	return size, err
}

// GetAttributeValue reads attributes; each has its own answer, and the C boundary makes the call's answer of them.
// PKCS#11 v3.2, C_GetAttributeValue.
func (l *Library) GetAttributeValue(h SessionHandle, n ObjectHandle, types []pkcs11.AttributeType) (values []hsm.Value, err error) {
	err = l.onObject("GetAttributeValue", h, n, func(x *session, o *object) (err error) {
		values, err = x.hsm.Attributes(x.ctx, x.cred(), o.far(), types)
		return err
	})
	return values, err
}

// ReadAttributes is GetAttributeValue into memory of the caller's: values has a place for each type. A value that is Shared
// is only to be read, and forgotten when the call ends.
func (l *Library) ReadAttributes(h SessionHandle, n ObjectHandle, types []pkcs11.AttributeType, values []hsm.Value) error {
	return l.onObject("GetAttributeValue", h, n, func(x *session, o *object) error {
		if x.hsm.shower != nil {
			return x.hsm.shower.Show(x.ctx, x.cred(), o.far(), types, values)
		}
		got, err := x.hsm.Attributes(x.ctx, x.cred(), o.far(), types)
		copy(values, got)
		return err
	})
}

// SetAttributeValue changes attributes. PKCS#11 v3.2, C_SetAttributeValue.
func (l *Library) SetAttributeValue(h SessionHandle, n ObjectHandle, template pkcs11.Template) error {
	return l.onObject("SetAttributeValue", h, n, func(x *session, o *object) error {
		if err := x.mayWrite(o.far().Token()); err != nil {
			return err
		}
		if err := x.hsm.SetAttributes(x.ctx, x.cred(), o.far(), template); err != nil {
			return err
		}
		if o.owner != nil {
			x.slot.objects.local.changed(o)
		}
		return nil
	})
}
