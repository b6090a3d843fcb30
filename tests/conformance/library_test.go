package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// library is the built library, loaded once into this process, as a client in C sees it.
//
// Its tests share one token: a PIN costs the library its full KDF, so one session stays open and logged in from test to
// test. A test that wants nobody to be logged in closes all sessions; the next one logs in again.
var library = &Stack{Name: "library", Open: loaded.open, Bare: loaded.bare}

var loaded loader

type loader struct {
	module *cModule
	dir    string // of the shared token
	shared bool   // the library shows the shared token
	anchor session
}

// load loads the library at its first use. It cannot be unloaded.
func (l *loader) load(t *testing.T) *cModule {
	t.Helper()
	if l.module == nil {
		ctx := pkcs11.New(harness.Module(t))
		require.NotNil(t, ctx, "the library cannot be loaded")
		l.module = &cModule{ctx: ctx}
	}
	return l.module
}

// point makes the token in a folder the one that the next C_Initialize shows.
func (l *loader) point(t *testing.T, dir string) *cModule {
	t.Helper()
	conf := filepath.Join(dir, "coffer.toml")
	lines := fmt.Sprintf("[[slot]]\nid = 0\npath = %q\npolicy = { wrap_and_decrypt = true }\n", filepath.Join(dir, "token.db"))
	require.NoError(t, os.WriteFile(conf, []byte(lines), 0o600))
	require.NoError(t, os.Setenv("COFFER_CONF", conf))
	m := l.load(t)
	oneOf(t, m.Finalize(false), ck.CKR_OK, ck.CKR_CRYPTOKI_NOT_INITIALIZED)
	l.shared = false
	return m
}

// bare is for one test: the next one gets its own folder or the shared one.
func (l *loader) bare(t *testing.T) Module { return l.point(t, t.TempDir()) }

func (l *loader) open(t *testing.T) Module {
	fresh := l.dir == ""
	if fresh {
		dir, err := os.MkdirTemp("", "coffer-conformance-")
		require.NoError(t, err)
		l.dir = dir
	}
	if !l.shared {
		require.NoError(t, l.point(t, l.dir).Initialize(nil))
		l.shared = true
	}
	if fresh {
		setUp(t, l.module)
	}
	if info, err := l.module.GetSessionInfo(l.anchor); err == nil && info.State == ck.CKS_RW_USER_FUNCTIONS {
		return l.module
	}
	require.NoError(t, l.module.CloseAllSessions(0))
	var err error
	l.anchor, err = l.module.OpenSession(0, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, l.module.Login(l.anchor, ck.CKU_USER, userPIN))
	return l.module
}

// remove deletes the shared token.
func (l *loader) remove() {
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// cModule is a library under miekg/pkcs11, which knows the functions of 2.40. For each output it asks for the length and
// then brings a buffer of that size, so the caller's capacity does not count and each call proves the exact size.
type cModule struct {
	version3 // nil: not there
	ctx      *pkcs11.Ctx
}

// cError gives an error of the client its return value.
func cError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(pkcs11.Error); ok {
		return ck.RV(e)
	}
	return err
}

// put hands over what the client has fetched.
func put(o *out, b []byte, err error) error {
	if err != nil {
		return cError(err)
	}
	return o.Put(b)
}

func sh(h session) pkcs11.SessionHandle { return pkcs11.SessionHandle(h) }
func oh(o handle) pkcs11.ObjectHandle   { return pkcs11.ObjectHandle(o) }

func (m *cModule) Initialize(args *cryptoki.InitArgs) error {
	if args == nil {
		return cError(m.ctx.Initialize())
	}
	return cError(m.ctx.Initialize(pkcs11.InitializeWithFlags(uint(args.Flags))))
}

func (m *cModule) Finalize(bool) error { return cError(m.ctx.Finalize()) }

func cVersion(v pkcs11.Version) ck.Version { return ck.Version{Major: v.Major, Minor: v.Minor} }

func (m *cModule) GetInfo() (ck.Info, error) {
	i, err := m.ctx.GetInfo()
	return ck.Info{
		CryptokiVersion: cVersion(i.CryptokiVersion), Manufacturer: i.ManufacturerID, Flags: ck.Flags(i.Flags),
		Description: i.LibraryDescription, LibraryVersion: cVersion(i.LibraryVersion),
	}, cError(err)
}

func (m *cModule) GetSlotList(present bool) ([]cryptoki.SlotID, error) {
	ids, err := m.ctx.GetSlotList(present)
	return ids, cError(err)
}

func (m *cModule) GetSlotInfo(id cryptoki.SlotID) (ck.SlotInfo, error) {
	i, err := m.ctx.GetSlotInfo(id)
	return ck.SlotInfo{
		Description: i.SlotDescription, Manufacturer: i.ManufacturerID, Flags: ck.Flags(i.Flags),
		HardwareVersion: cVersion(i.HardwareVersion), FirmwareVersion: cVersion(i.FirmwareVersion),
	}, cError(err)
}

func (m *cModule) GetTokenInfo(id cryptoki.SlotID) (ck.TokenInfo, error) {
	i, err := m.ctx.GetTokenInfo(id)
	return ck.TokenInfo{
		Label: i.Label, Manufacturer: i.ManufacturerID, Model: i.Model, Serial: i.SerialNumber, Flags: ck.Flags(i.Flags),
		MaxSessionCount: i.MaxSessionCount, SessionCount: i.SessionCount,
		MaxRwSessionCount: i.MaxRwSessionCount, RwSessionCount: i.RwSessionCount,
		MaxPinLen: i.MaxPinLen, MinPinLen: i.MinPinLen,
	}, cError(err)
}

func (m *cModule) GetMechanismList(id cryptoki.SlotID) ([]ck.MechanismType, error) {
	list, err := m.ctx.GetMechanismList(id)
	types := make([]ck.MechanismType, len(list))
	for i, x := range list {
		types[i] = ck.MechanismType(x.Mechanism)
	}
	return types, cError(err)
}

func (m *cModule) GetMechanismInfo(id cryptoki.SlotID, t ck.MechanismType) (ck.MechanismInfo, error) {
	i, err := m.ctx.GetMechanismInfo(id, []*pkcs11.Mechanism{pkcs11.NewMechanism(uint(t), nil)})
	return ck.MechanismInfo{MinKeySize: i.MinKeySize, MaxKeySize: i.MaxKeySize, Flags: ck.Flags(i.Flags)}, cError(err)
}

func (m *cModule) InitToken(id cryptoki.SlotID, soPIN []byte, label string) error {
	return cError(m.ctx.InitToken(id, string(soPIN), label))
}

func (m *cModule) InitPIN(h session, pin []byte) error {
	return cError(m.ctx.InitPIN(sh(h), string(pin)))
}

func (m *cModule) SetPIN(h session, oldPIN, newPIN []byte) error {
	return cError(m.ctx.SetPIN(sh(h), string(oldPIN), string(newPIN)))
}

func (m *cModule) OpenSession(id cryptoki.SlotID, flags ck.Flags) (session, error) {
	h, err := m.ctx.OpenSession(id, uint(flags))
	return session(h), cError(err)
}

func (m *cModule) CloseSession(h session) error { return cError(m.ctx.CloseSession(sh(h))) }

func (m *cModule) CloseAllSessions(id cryptoki.SlotID) error {
	return cError(m.ctx.CloseAllSessions(id))
}

func (m *cModule) GetSessionInfo(h session) (ck.SessionInfo, error) {
	i, err := m.ctx.GetSessionInfo(sh(h))
	return ck.SessionInfo{Slot: i.SlotID, State: ck.State(i.State), Flags: ck.Flags(i.Flags), DeviceError: i.DeviceError}, cError(err)
}

func (m *cModule) GetOperationState(h session, o *out) error {
	b, err := m.ctx.GetOperationState(sh(h))
	return put(o, b, err)
}

func (m *cModule) SetOperationState(h session, state []byte, encryption, authentication handle) error {
	return cError(m.ctx.SetOperationState(sh(h), state, pkcs11.ObjectHandle(encryption), pkcs11.ObjectHandle(authentication)))
}

func (m *cModule) Login(h session, user ck.UserType, pin []byte) error {
	return cError(m.ctx.Login(sh(h), uint(user), string(pin)))
}

func (m *cModule) Logout(h session) error { return cError(m.ctx.Logout(sh(h))) }

func (m *cModule) SeedRandom(h session, seed []byte) error {
	return cError(m.ctx.SeedRandom(sh(h), seed))
}

func (m *cModule) GenerateRandom(h session, p []byte) error {
	b, err := m.ctx.GenerateRandom(sh(h), len(p))
	copy(p, b)
	return cError(err)
}

func (m *cModule) CreateObject(h session, t T) (handle, error) {
	list, free := cTemplate(t)
	defer free()
	o, err := m.ctx.CreateObject(sh(h), list)
	return handle(o), cError(err)
}

func (m *cModule) CopyObject(h session, o handle, t T) (handle, error) {
	list, free := cTemplate(t)
	defer free()
	n, err := m.ctx.CopyObject(sh(h), oh(o), list)
	return handle(n), cError(err)
}

func (m *cModule) DestroyObject(h session, o handle) error {
	return cError(m.ctx.DestroyObject(sh(h), oh(o)))
}

func (m *cModule) GetObjectSize(h session, o handle) (uint, error) {
	n, err := m.ctx.GetObjectSize(sh(h), oh(o))
	return n, cError(err)
}

// GetAttributeValue asks for one attribute at a time: the client throws all away when one of them has no answer.
func (m *cModule) GetAttributeValue(h session, o handle, types []ck.AttributeType) ([]hsm.Value, error) {
	values := make([]hsm.Value, len(types))
	for i, t := range types {
		got, err := m.ctx.GetAttributeValue(sh(h), oh(o), []*pkcs11.Attribute{{Type: uint(t)}})
		switch rv := ck.RVOf(cError(err)); rv {
		case ck.CKR_OK:
			values[i].Value = goValue(t, got[0].Value)
		case ck.CKR_ATTRIBUTE_SENSITIVE, ck.CKR_ATTRIBUTE_TYPE_INVALID:
			values[i].Err = rv
		default:
			return nil, cError(err)
		}
	}
	return values, nil
}

func (m *cModule) SetAttributeValue(h session, o handle, t T) error {
	list, free := cTemplate(t)
	defer free()
	return cError(m.ctx.SetAttributeValue(sh(h), oh(o), list))
}

func (m *cModule) FindObjectsInit(h session, t T) error {
	list, free := cTemplate(t)
	defer free()
	return cError(m.ctx.FindObjectsInit(sh(h), list))
}

func (m *cModule) FindObjects(h session, max int) ([]handle, error) {
	list, _, err := m.ctx.FindObjects(sh(h), max)
	found := make([]handle, len(list))
	for i, o := range list {
		found[i] = handle(o)
	}
	return found, cError(err)
}

func (m *cModule) FindObjectsFinal(h session) error { return cError(m.ctx.FindObjectsFinal(sh(h))) }
