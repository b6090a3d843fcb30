package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// foreignModule is a token behind another PKCS #11 module. Its session is for reading only: what is made there lives in
// the session and ends with it.
type foreignModule struct {
	path, label string
	p           *p11.Ctx
	session     p11.SessionHandle
	slot        uint
	ours        bool // C_Initialize was ours, and C_Finalize is
	carrier     *carrier
}

// openModule loads a module and finds the token in it.
func openModule(path string, choice fromChoice) (source, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, notFound("the module %s cannot be read: %v", "check --from-module", path, err)
	}
	m := &foreignModule{path: path, p: p11.New(path)}
	if m.p == nil {
		return nil, failed("%s cannot be loaded", "is it a PKCS #11 module, for this kind of processor?", path)
	}
	if err := m.find(choice); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *foreignModule) find(choice fromChoice) error {
	switch err := m.p.Initialize(); {
	case err == nil:
		m.ours = true
	case moduleRV(err) != pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED:
		return m.problem("cannot be initialised", err)
	}
	slots, err := m.p.GetSlotList(true)
	if err != nil {
		return m.problem("does not list its slots", err)
	}
	found := 0
	var labels []string
	for _, s := range slots {
		info, err := m.p.GetTokenInfo(s)
		if err != nil || info.Flags&uint(pkcs11.CKF_TOKEN_INITIALIZED) == 0 {
			continue
		}
		label := strings.TrimRight(info.Label, " ")
		labels = append(labels, label)
		if choice.fits(label, s) {
			found++
			m.slot, m.label = s, label
		}
	}
	return choice.choose("the module "+m.path, found, labels)
}

// moduleRV is the return value in an error of the binding's.
func moduleRV(err error) pkcs11.RV {
	var e p11.Error
	if errors.As(err, &e) {
		return pkcs11.RV(e)
	}
	return pkcs11.CKR_OK
}

// problem says what the module answered.
func (m *foreignModule) problem(what string, err error) error {
	text := err.Error()
	if rv := moduleRV(err); rv != pkcs11.CKR_OK {
		text = rv.String()
	}
	return failed("the module %s %s: %s", "its own documentation and logs may say more", filepath.Base(m.path), what, text)
}

func (m *foreignModule) title() string {
	return fmt.Sprintf("token %q of %s", printable(m.label), filepath.Base(m.path))
}

func (m *foreignModule) login(pin *secret.Bytes) error {
	session, err := m.p.OpenSession(m.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return m.problem("opens no session", err)
	}
	m.session = session
	// The binding takes a string, so a copy of this PIN stays until it is collected.
	err = m.p.Login(session, p11.CKU_USER, string(pin.Expose()))
	switch rv := moduleRV(err); rv {
	case pkcs11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_INVALID:
		return noPIN("the source token's user PIN is wrong [%v]", "the module counts the tries: be sure before the next one", rv)
	case pkcs11.CKR_PIN_LOCKED:
		return noPIN("the source token's user PIN is locked [%v]", "its security officer can unlock it", rv)
	case pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return noPIN("the source token has no user PIN [%v]", "its keys cannot be used before its security officer has set one", rv)
	}
	if err != nil {
		return m.problem("refuses the login", err)
	}
	return nil
}

func (m *foreignModule) objects() ([]*foreign, error) {
	if err := m.p.FindObjectsInit(m.session, []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, true)}); err != nil {
		return nil, m.problem("does not list its objects", err)
	}
	var handles []p11.ObjectHandle
	for {
		some, _, err := m.p.FindObjects(m.session, 512)
		if err != nil {
			m.p.FindObjectsFinal(m.session)
			return nil, m.problem("does not list its objects", err)
		}
		if len(some) == 0 {
			break
		}
		handles = append(handles, some...)
	}
	if err := m.p.FindObjectsFinal(m.session); err != nil {
		return nil, m.problem("does not list its objects", err)
	}
	var out []*foreign
	for _, h := range handles {
		f := m.object(h)
		if f.fault != nil || !slices.Contains(itsOwn, f.class()) {
			out = append(out, f)
		}
	}
	return out, nil
}

// object reads one object, without key material.
func (m *foreignModule) object(h p11.ObjectHandle) *foreign {
	f := &foreign{at: h, name: fmt.Sprintf("object %d", h)}
	f.attrs, f.fault = m.read(h, []pkcs11.AttributeType{pkcs11.CKA_CLASS})
	if f.fault == nil && !f.attrs.Has(pkcs11.CKA_CLASS) {
		f.fault = failed("%s has no class", "", f.name)
	}
	c := carriedOf(f.class())
	if f.fault != nil || c == nil {
		return f
	}
	more, err := m.read(h, c.public())
	if err != nil {
		f.fault = err
	}
	f.attrs = append(f.attrs, more...)
	return f
}

// read reads attributes at once, and where the module lacks one of them, each for itself. Those that the object does not
// have, or does not give out, are left out.
func (m *foreignModule) read(h p11.ObjectHandle, types []pkcs11.AttributeType) (pkcs11.Template, error) {
	ask := make([]*p11.Attribute, len(types))
	for i, t := range types {
		ask[i] = p11.NewAttribute(uint(t), nil)
	}
	got, err := m.p.GetAttributeValue(m.session, h, ask)
	if err != nil {
		got = nil
		for _, a := range ask {
			one, err := m.p.GetAttributeValue(m.session, h, []*p11.Attribute{a})
			switch rv := moduleRV(err); {
			case err == nil:
				got = append(got, one...)
			case rv == pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, rv == pkcs11.CKR_ATTRIBUTE_SENSITIVE, rv == pkcs11.CKR_ATTRIBUTE_VALUE_INVALID:
			default:
				return nil, m.problem(fmt.Sprintf("does not read object %d", h), err)
			}
		}
	}
	var tm pkcs11.Template
	for _, a := range got {
		v, err := decoded(pkcs11.AttributeType(a.Type), a.Value)
		if err != nil {
			wipe(tm)
			return nil, err
		}
		if v != nil {
			tm = append(tm, pkcs11.Attribute{Type: pkcs11.AttributeType(a.Type), Value: v})
		}
	}
	return tm, nil
}

const ulong = 8 // bytes of a CK_ULONG

// decoded gives an attribute's value its type; nil for one that is not there.
func decoded(t pkcs11.AttributeType, b []byte) (any, error) {
	if b == nil {
		return nil, nil
	}
	kind, _ := t.Kind()
	wrong := failed("the source has a %v of %d bytes", "the module is at fault", t, len(b))
	switch kind {
	case pkcs11.KindBool:
		if len(b) != 1 {
			return nil, wrong
		}
		return b[0] != 0, nil
	case pkcs11.KindUlong:
		if len(b) != ulong {
			return nil, wrong
		}
		return uint(binary.NativeEndian.Uint64(b)), nil
	case pkcs11.KindMechanisms:
		if len(b)%ulong != 0 {
			return nil, wrong
		}
		list := []pkcs11.MechanismType{}
		for ; len(b) > 0; b = b[ulong:] {
			list = append(list, pkcs11.MechanismType(binary.NativeEndian.Uint64(b)))
		}
		return list, nil
	case pkcs11.KindTemplate:
		if len(b) > 0 {
			return nil, failed("its %v cannot be read through this module", "make the key in Coffer with the template that it needs", t)
		}
		return nil, nil
	}
	if err := pkcs11.CheckValue(t, b); err != nil {
		return nil, wrong
	}
	return b, nil
}

// material reads what is neither sensitive nor kept; modules may keep a key in spite of its attributes.
func (m *foreignModule) material(f *foreign) (pkcs11.Template, error) {
	if f.flag(pkcs11.CKA_SENSITIVE) || !f.flag(pkcs11.CKA_EXTRACTABLE) {
		return nil, errKept
	}
	tm, err := m.read(f.at.(p11.ObjectHandle), carriedOf(f.class()).secret)
	if err != nil {
		return nil, err
	}
	filled := slices.DeleteFunc(tm, func(a pkcs11.Attribute) bool { return void(a.Type, a.Value) })
	if !filled.Has(pkcs11.CKA_VALUE) && !filled.Has(pkcs11.CKA_PRIVATE_EXPONENT) && !filled.Has(pkcs11.CKA_SEED) {
		wipe(filled)
		return nil, errKept
	}
	return filled, nil
}

// use computes at the source, in one part.
func (m *foreignModule) use(f *foreign, kind hsm.OpKind, mt pkcs11.MechanismType, data []byte) ([]byte, error) {
	if _, err := m.p.GetMechanismInfo(m.slot, []*p11.Mechanism{p11.NewMechanism(uint(mt), nil)}); err != nil {
		return nil, errKept
	}
	with := []*p11.Mechanism{p11.NewMechanism(uint(mt), nil)}
	key := f.at.(p11.ObjectHandle)
	var out []byte
	var err error
	switch kind {
	case hsm.OpSign:
		if err = m.p.SignInit(m.session, with, key); err == nil {
			out, err = m.p.Sign(m.session, data)
		}
	case hsm.OpEncrypt:
		if err = m.p.EncryptInit(m.session, with, key); err == nil {
			out, err = m.p.Encrypt(m.session, data)
		}
	default:
		return nil, errKept
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKept, err)
	}
	return out, nil
}

func (m *foreignModule) close() {
	if m.p == nil {
		return
	}
	if m.carrier != nil {
		m.carrier.end()
	}
	if m.session != 0 {
		m.p.Logout(m.session)
		m.p.CloseSession(m.session) // and all that was made in it
	}
	if m.ours {
		m.p.Finalize()
	}
	m.p.Destroy()
	m.p = nil
}
