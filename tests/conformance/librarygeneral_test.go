package conformance

import (
	"encoding/binary"
	"sync"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/conformance/cclient"
)

// cModule is the built library, through the function list of its 3.2 interface.
type cModule struct {
	lib     *cclient.Library
	mu      sync.Mutex
	pending map[string]*cCall // calls whose buffers the library still has; by session and function
}

func (m *cModule) Initialize(args *cryptoki.InitArgs) error {
	c := m.to("C_Initialize")
	if args == nil {
		return c.word(0).do()
	}
	s := c.layout()
	for i := range 4 {
		s.ulong(uint(min(max(args.Callbacks-i, 0), 1)))
	}
	s.ulong(uint(args.Flags))
	if args.Reserved {
		s.ulong(1)
	} else {
		s.ulong(0)
	}
	return c.at(s.b).do()
}

func (m *cModule) Finalize(reserved bool) error { return m.to("C_Finalize").flag(reserved).do() }

func (m *cModule) GetInfo() (ck.Info, error) {
	r, err := m.to("C_GetInfo").filled(88)
	return ck.Info{
		CryptokiVersion: r.version(), Manufacturer: r.text(32), Flags: ck.Flags(r.ulong()),
		Description: r.text(32), LibraryVersion: r.version(),
	}, err
}

func (m *cModule) GetSlotList(present bool) ([]cryptoki.SlotID, error) {
	return list[cryptoki.SlotID](func() *cCall { return m.to("C_GetSlotList").flag(present) })
}

func (m *cModule) GetMechanismList(id cryptoki.SlotID) ([]ck.MechanismType, error) {
	return list[ck.MechanismType](func() *cCall { return m.to("C_GetMechanismList").word(uint(id)) })
}

// list asks for the length of a list, and then for the list.
func list[N ~uint](call func() *cCall) ([]N, error) {
	n := make([]byte, ulong)
	if err := call().word(0).at(n).do(); err != nil {
		return nil, err
	}
	c := call()
	b := c.room(int(binary.NativeEndian.Uint64(n)) * ulong)
	if err := c.at(b).at(n).do(); err != nil {
		return nil, err
	}
	all := make([]N, binary.NativeEndian.Uint64(n))
	for i := range all {
		all[i] = N(binary.NativeEndian.Uint64(b[i*ulong:]))
	}
	return all, nil
}

func (m *cModule) GetSlotInfo(id cryptoki.SlotID) (ck.SlotInfo, error) {
	r, err := m.to("C_GetSlotInfo").word(uint(id)).filled(112)
	return ck.SlotInfo{
		Description: r.text(64), Manufacturer: r.text(32), Flags: ck.Flags(r.ulong()),
		HardwareVersion: r.version(), FirmwareVersion: r.version(),
	}, err
}

func (m *cModule) GetTokenInfo(id cryptoki.SlotID) (ck.TokenInfo, error) {
	r, err := m.to("C_GetTokenInfo").word(uint(id)).filled(208)
	i := ck.TokenInfo{Label: r.text(32), Manufacturer: r.text(32), Model: r.text(16), Serial: r.text(16), Flags: ck.Flags(r.ulong())}
	for _, n := range []*uint{&i.MaxSessionCount, &i.SessionCount, &i.MaxRwSessionCount, &i.RwSessionCount, &i.MaxPinLen, &i.MinPinLen,
		&i.TotalPublicMemory, &i.FreePublicMemory, &i.TotalPrivateMemory, &i.FreePrivateMemory} {
		*n = r.ulong()
	}
	i.HardwareVersion, i.FirmwareVersion = r.version(), r.version()
	return i, err
}

func (m *cModule) GetMechanismInfo(id cryptoki.SlotID, t ck.MechanismType) (ck.MechanismInfo, error) {
	r, err := m.to("C_GetMechanismInfo").word(uint(id)).word(uint(t)).filled(24)
	return ck.MechanismInfo{MinKeySize: r.ulong(), MaxKeySize: r.ulong(), Flags: ck.Flags(r.ulong())}, err
}

// InitToken has a label of 32 bytes, filled up with blanks.
func (m *cModule) InitToken(id cryptoki.SlotID, soPIN []byte, label string) error {
	padded := []byte(label)
	for len(padded) < 32 {
		padded = append(padded, ' ')
	}
	return m.to("C_InitToken").word(uint(id)).data(soPIN).at(padded).do()
}

func (m *cModule) InitPIN(h session, pin []byte) error { return m.in(h, "C_InitPIN").data(pin).do() }

func (m *cModule) SetPIN(h session, oldPIN, newPIN []byte) error {
	return m.in(h, "C_SetPIN").data(oldPIN).data(newPIN).do()
}

func (m *cModule) OpenSession(id cryptoki.SlotID, flags ck.Flags) (session, error) {
	var h uint
	err := m.to("C_OpenSession").word(uint(id)).word(uint(flags)).word(0).word(0).number(&h).do()
	return session(h), err
}

func (m *cModule) CloseSession(h session) error { return m.in(h, "C_CloseSession").do() }

func (m *cModule) CloseAllSessions(id cryptoki.SlotID) error {
	return m.to("C_CloseAllSessions").word(uint(id)).do()
}

func (m *cModule) GetSessionInfo(h session) (ck.SessionInfo, error) {
	r, err := m.in(h, "C_GetSessionInfo").filled(32)
	return ck.SessionInfo{Slot: r.ulong(), State: ck.State(r.ulong()), Flags: ck.Flags(r.ulong()), DeviceError: r.ulong()}, err
}

func (m *cModule) GetOperationState(h session, o *out) error {
	return m.in(h, "C_GetOperationState").output(o).do()
}

func (m *cModule) SetOperationState(h session, state []byte, encryption, authentication handle) error {
	return m.in(h, "C_SetOperationState").data(state).word(uint(encryption)).word(uint(authentication)).do()
}

func (m *cModule) Login(h session, user ck.UserType, pin []byte) error {
	return m.in(h, "C_Login").word(uint(user)).data(pin).do()
}

func (m *cModule) LoginUser(h session, user ck.UserType, pin, name []byte) error {
	return m.in(h, "C_LoginUser").word(uint(user)).data(pin).data(name).do()
}

func (m *cModule) Logout(h session) error { return m.in(h, "C_Logout").do() }

func (m *cModule) SessionCancel(h session, flags ck.Flags) error {
	return m.in(h, "C_SessionCancel").word(uint(flags)).do()
}

func (m *cModule) SeedRandom(h session, seed []byte) error {
	return m.in(h, "C_SeedRandom").data(seed).do()
}

func (m *cModule) GenerateRandom(h session, p []byte) error {
	c := m.in(h, "C_GenerateRandom")
	b := c.room(len(p))
	err := c.data(b).do()
	copy(p, b)
	return err
}

func (m *cModule) CreateObject(h session, t T) (made handle, err error) {
	err = m.in(h, "C_CreateObject").template(t).handle(&made).do()
	return made, err
}

func (m *cModule) CopyObject(h session, o handle, t T) (made handle, err error) {
	err = m.in(h, "C_CopyObject").word(uint(o)).template(t).handle(&made).do()
	return made, err
}

func (m *cModule) DestroyObject(h session, o handle) error {
	return m.in(h, "C_DestroyObject").word(uint(o)).do()
}

func (m *cModule) GetObjectSize(h session, o handle) (n uint, err error) {
	err = m.in(h, "C_GetObjectSize").word(uint(o)).number(&n).do()
	return n, err
}

func (m *cModule) SetAttributeValue(h session, o handle, t T) error {
	return m.in(h, "C_SetAttributeValue").word(uint(o)).template(t).do()
}

func (m *cModule) FindObjectsInit(h session, t T) error {
	return m.in(h, "C_FindObjectsInit").template(t).do()
}

func (m *cModule) FindObjects(h session, most int) ([]handle, error) {
	var n uint
	c := m.in(h, "C_FindObjects")
	b := c.room(most * ulong)
	if err := c.at(b).word(uint(most)).number(&n).do(); err != nil {
		return nil, err
	}
	found := make([]handle, n)
	for i := range found {
		found[i] = handle(binary.NativeEndian.Uint64(b[i*ulong:]))
	}
	return found, nil
}

func (m *cModule) FindObjectsFinal(h session) error { return m.in(h, "C_FindObjectsFinal").do() }

func (m *cModule) GetSessionValidationFlags(h session, kind uint) (ck.Flags, error) {
	var flags uint
	err := m.in(h, "C_GetSessionValidationFlags").word(kind).number(&flags).do()
	return ck.Flags(flags), err
}

func (m *cModule) WaitForSlotEvent(flags ck.Flags, reserved bool) (cryptoki.SlotID, error) {
	var slot uint
	err := m.to("C_WaitForSlotEvent").word(uint(flags)).number(&slot).flag(reserved).do()
	return cryptoki.SlotID(slot), err
}
