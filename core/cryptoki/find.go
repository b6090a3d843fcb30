package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// search is a running search. What matched was collected when it began; handles are given as they are asked for.
type search struct {
	token []hsm.Object
	local []*object
	login *login
}

// FindObjectsInit begins a search. PKCS#11 v3.2, C_FindObjectsInit.
func (l *Library) FindObjectsInit(h SessionHandle, template pkcs11.Template) error {
	return l.inSession("FindObjectsInit", h, func(x *session) error {
		if x.search != nil {
			return pkcs11.CKR_OPERATION_ACTIVE
		}
		found := &search{login: x.login}
		token, said := template.Bool(pkcs11.CKA_TOKEN)
		if token || !said {
			var err error
			if found.token, err = x.tokenObjects(template); err != nil {
				return err
			}
		}
		if !token {
			found.local = x.slot.objects.local.find(template, x.login)
		}
		x.search = found
		return nil
	})
}

// FindObjects returns up to max more handles, none at the end. Objects that have gone meanwhile are left out where that
// is known here. PKCS#11 v3.2, C_FindObjects.
func (l *Library) FindObjects(h SessionHandle, max int) (found []ObjectHandle, err error) {
	err = l.inSession("FindObjects", h, func(x *session) error {
		s := x.search
		if s == nil {
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		}
		if max < 0 {
			return pkcs11.CKR_ARGUMENTS_BAD
		}
		if n := min(max, len(s.token)+len(s.local)); n > 0 {
			found = make([]ObjectHandle, 0, n)
		}
		for len(found) < max && len(s.token) > 0 {
			o := s.token[0]
			s.token = s.token[1:]
			if !o.Private() || s.login == x.login {
				found = append(found, x.slot.objects.token(o, x.login))
			}
		}
		for len(found) < max && len(s.local) > 0 {
			o := s.local[0]
			s.local = s.local[1:]
			if _, ok := x.slot.objects.get(o.handle, x.login); ok {
				found = append(found, o.handle)
			}
		}
		return nil
	})
	return found, err
}

// FindObjectsFinal ends a search. PKCS#11 v3.2, C_FindObjectsFinal.
func (l *Library) FindObjectsFinal(h SessionHandle) error {
	return l.inSession("FindObjectsFinal", h, func(x *session) error {
		if x.search == nil {
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		}
		x.search = nil
		return nil
	})
}
