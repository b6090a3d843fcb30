package embedded_test

import (
	"testing"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// party is a library with a token in memory, a session with the user logged in, and one key of each sort.
type party struct {
	*cryptoki.Library
	t        testing.TB
	session  cryptoki.SessionHandle
	aes, mac cryptoki.ObjectHandle
	out      pkcs11.Out
	room     []byte
}

func newParty(t testing.TB) *party {
	t.Helper()
	registry, err := all.Registry()
	must(t, err)
	p := &party{t: t, room: make([]byte, 0, 64<<10)}
	p.Library = cryptoki.New(cryptoki.Options{Slots: func() ([]cryptoki.Slot, error) {
		return []cryptoki.Slot{{Open: func() (hsm.HSM, error) {
			tokens := mem.New()
			return engine.New(engine.Options{
				OpenStore:  func(bool) (store.Store, error) { return tokens, nil },
				Mechanisms: registry,
				KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
			})
		}}}, nil
	}})
	must(t, p.Initialize(nil))
	t.Cleanup(func() { must(t, p.Finalize(false)) })
	must(t, p.InitToken(0, []byte("12345678"), "alloc"))
	p.session, err = p.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	must(t, err)
	must(t, p.Login(p.session, pkcs11.CKU_SO, []byte("12345678")))
	must(t, p.InitPIN(p.session, []byte("1234")))
	must(t, p.Logout(p.session))
	must(t, p.Login(p.session, pkcs11.CKU_USER, []byte("1234")))
	p.aes = p.key(pkcs11.CKM_AES_KEY_GEN, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT)
	p.mac = p.key(pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY)
	return p
}

func (p *party) key(m pkcs11.MechanismType, allow ...pkcs11.AttributeType) cryptoki.ObjectHandle {
	template := pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.AttrString(pkcs11.CKA_ID, m.String()),
		pkcs11.AttrString(pkcs11.CKA_LABEL, "a key"),
		pkcs11.Attr(pkcs11.CKA_PRIVATE, true),
	}
	for _, t := range allow {
		template = append(template, pkcs11.Attr(t, true))
	}
	h, err := p.GenerateKey(p.session, &pkcs11.Mechanism{Type: m}, template)
	must(p.t, err)
	return h
}

// to is an output with room that it owns, as the C boundary makes it.
func (p *party) to(capacity int) *pkcs11.Out {
	p.out = pkcs11.Out{Capacity: capacity, Bytes: p.room[:0]}
	return &p.out
}

// must is no helper of t: that would take longer than what is measured.
func must(t testing.TB, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

var (
	gcm    = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}}
	cbc    = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC, Params: pkcs11.IV(make([]byte, 16))}
	cbcPad = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC_PAD, Params: pkcs11.IV(make([]byte, 16))}
	ctr    = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 32}}
	ecb    = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_ECB}
	hmac   = &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_HMAC}
	sha256 = &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}
)
