package cryptoki

import (
	"sync/atomic"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// bench is a library with one or more slots over fakes, and short ways to say things.
type bench struct {
	*Library
	t    testing.TB
	hsm  *fake
	logs atomic.Int64
}

const (
	slot1     SlotID = 7
	cloudSlot SlotID = 3
)

func start(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, hsm: newFake()}
	b.Library = New(Options{
		Slots: func() ([]Slot, error) {
			return []Slot{{ID: slot1, Description: "one", Open: func() (hsm.HSM, error) { return b.hsm, nil }},
				{ID: cloudSlot, Description: "two", CloudHSMIV: true, Open: func() (hsm.HSM, error) { return newFake(), nil }}}, nil
		},
		Log: func(string, error) { b.logs.Add(1) },
	})
	b.ok(b.Initialize(nil))
	t.Cleanup(func() {
		b.Finalize(false)
		b.hsm.mu.Lock()
		defer b.hsm.mu.Unlock()
		if n := len(b.hsm.running); n != 0 {
			t.Errorf("%d operations were never closed", n)
		}
		if n := len(b.hsm.session); n != 0 {
			t.Errorf("%d session objects were left behind", n)
		}
	})
	return b
}

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// want fails unless err flattens to rv.
func (b *bench) want(rv pkcs11.RV, err error) {
	b.t.Helper()
	if got := pkcs11.RVOf(err); got != rv {
		b.t.Fatalf("%v (%v), want %v", got, err, rv)
	}
}

func (b *bench) open(flags pkcs11.Flags) SessionHandle {
	b.t.Helper()
	h, err := b.OpenSession(slot1, flags|pkcs11.CKF_SERIAL_SESSION)
	b.ok(err)
	return h
}

func (b *bench) rw() SessionHandle { b.t.Helper(); return b.open(pkcs11.CKF_RW_SESSION) }

// user is a read/write session with the normal user logged in.
func (b *bench) user() SessionHandle {
	b.t.Helper()
	s := b.rw()
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	return s
}

func (b *bench) object(s SessionHandle, token, private bool, label string) ObjectHandle {
	b.t.Helper()
	h, err := b.CreateObject(s, pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_TOKEN, token),
		pkcs11.Attr(pkcs11.CKA_PRIVATE, private),
		pkcs11.AttrString(pkcs11.CKA_LABEL, label),
		pkcs11.Attr(pkcs11.CKA_VALUE, []byte("value of "+label)),
	})
	b.ok(err)
	return h
}

func (b *bench) find(s SessionHandle, template pkcs11.Template) []ObjectHandle {
	b.t.Helper()
	b.ok(b.FindObjectsInit(s, template))
	var all []ObjectHandle
	for {
		some, err := b.FindObjects(s, 2)
		b.ok(err)
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	b.ok(b.FindObjectsFinal(s))
	return all
}

func label(s string) pkcs11.Template {
	return pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, s)}
}

func (b *bench) valid(s SessionHandle, h ObjectHandle) bool {
	_, err := b.GetObjectSize(s, h)
	return err == nil
}

func (b *bench) state(s SessionHandle) pkcs11.State {
	b.t.Helper()
	info, err := b.GetSessionInfo(s)
	b.ok(err)
	return info.State
}

var (
	query  = func() *pkcs11.Out { return &pkcs11.Out{Query: true} }
	room   = func(n int) *pkcs11.Out { return &pkcs11.Out{Capacity: n} }
	stream = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_ECB}
	padded = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC_PAD}
	sha    = &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}
	mac    = &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_HMAC}
)
