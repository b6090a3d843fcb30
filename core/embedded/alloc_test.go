//go:build !race

package embedded_test

import (
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// hotPath is a sequence of calls that applications repeat, and the most allocations that it may cost. A bound is what the
// sequence costs today, what crypto/ecdsa takes for itself included: one that has to grow has its reason in the change that does it, and one that can fall, falls.
//
// What is counted is the machine and the engine; cbridge counts its own. The race detector makes pools forget at random, so
// this file is not for it.
type hotPath struct {
	name  string
	bytes int // of one step's data
	most  float64
	step  func(p *party) func()
}

var hotPaths = []hotPath{
	{"encrypt-gcm-1k", 1 << 10, 0, encrypting(gcm, 1<<10)},
	{"encrypt-gcm-16k", 16 << 10, 0, encrypting(gcm, 16<<10)},
	{"encrypt-cbc-16k", 16 << 10, 2, encrypting(cbc, 16<<10)},
	{"encrypt-cbcpad-1k", 1 << 10, 2, encrypting(cbcPad, 1<<10)},
	{"encrypt-ctr-16k", 16 << 10, 3, encrypting(ctr, 16<<10)},
	{"encrypt-ecb-16k", 16 << 10, 2, encrypting(ecb, 16<<10)},
	{"decrypt-gcm-1k", 1 << 10, 0, decrypting(gcm, 1<<10)},
	{"decrypt-gcm-16k", 16 << 10, 0, decrypting(gcm, 16<<10)},
	{"decrypt-cbc-16k", 16 << 10, 2, decrypting(cbc, 16<<10)},
	{"decrypt-cbcpad-1k", 1 << 10, 2, decrypting(cbcPad, 1<<10)},
	{"decrypt-ctr-16k", 16 << 10, 3, decrypting(ctr, 16<<10)},
	{"decrypt-ecb-16k", 16 << 10, 2, decrypting(ecb, 16<<10)},
	{"encrypt-gcm-parts", 4 << 10, 3, inParts(gcm)},
	{"encrypt-cbc-parts", 4 << 10, 2, inParts(cbc)},
	{"sign-hmac-1k", 1 << 10, 0, signing},
	{"verify-hmac-1k", 1 << 10, 0, verifying},
	{"sha256-1k", 1 << 10, 0, digesting},
	{"sign-p256", 0, 67, signingWith(ecdsa)},
	{"verify-p256", 0, 24, verifyingWith(ecdsa)},
	{"sign-ed25519", 0, 5, signingWith(eddsa)},
	{"sign-rsa-2048", 0, 8, signingWith(rsa)},
	{"random-32", 32, 0, drawing},
	{"attributes", 0, 0, reading},
	{"session", 0, 1, opening},
	{"generate-aes-256", 0, 14, making},
	{"create-aes-256", 0, 19, importing},
	{"unwrap-aes-256", 0, 20, unwrapping},
	{"derive-aes-256", 0, 27, deriving},
	{"find", 0, 3, finding},
	{"find-all", 0, 3, findingAll},
}

// TestHotPathsAllocateLittle counts; the machine's speed does not matter.
func TestHotPathsAllocateLittle(t *testing.T) {
	for _, h := range hotPaths {
		t.Run(h.name, func(t *testing.T) {
			step := h.step(newParty(t))
			step() // keys are expanded, pools filled
			if got := testing.AllocsPerRun(200, step); got > h.most {
				t.Errorf("%v allocations, at most %v expected", got, h.most)
			}
		})
	}
}

// BenchmarkHotPaths is for profiles: go test -bench HotPaths/encrypt-gcm-16k -memprofile mem.out ./core/embedded
func BenchmarkHotPaths(b *testing.B) {
	for _, h := range hotPaths {
		b.Run(h.name, func(b *testing.B) {
			step := h.step(newParty(b))
			b.SetBytes(int64(h.bytes))
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

func encrypting(m *pkcs11.Mechanism, n int) func(*party) func() {
	return func(p *party) func() {
		data := make([]byte, n)
		return func() {
			must(p.t, p.EncryptInit(p.session, m, p.aes))
			must(p.t, p.Encrypt(p.session, data, p.to(n+16)))
		}
	}
}

func decrypting(m *pkcs11.Mechanism, n int) func(*party) func() {
	return func(p *party) func() {
		encrypting(m, n)(p)()
		sealed := []byte(strings.Clone(string(p.out.Bytes)))
		return func() {
			must(p.t, p.DecryptInit(p.session, m, p.aes))
			must(p.t, p.Decrypt(p.session, sealed, p.to(n)))
			if p.out.Length != n {
				p.t.Fatalf("%d bytes decrypted, %d encrypted", p.out.Length, n)
			}
		}
	}
}

func inParts(m *pkcs11.Mechanism) func(*party) func() {
	return func(p *party) func() {
		part := make([]byte, 1<<10)
		return func() {
			must(p.t, p.EncryptInit(p.session, m, p.aes))
			for range 4 {
				must(p.t, p.EncryptUpdate(p.session, part, p.to(1<<10)))
			}
			must(p.t, p.EncryptFinal(p.session, p.to(8<<10)))
		}
	}
}

func signing(p *party) func() {
	data := make([]byte, 1<<10)
	return func() {
		must(p.t, p.SignInit(p.session, hmac, p.mac))
		must(p.t, p.Sign(p.session, data, p.to(32)))
	}
}

func verifying(p *party) func() {
	signing(p)()
	data, tag := make([]byte, 1<<10), []byte(strings.Clone(string(p.out.Bytes)))
	return func() {
		must(p.t, p.VerifyInit(p.session, hmac, p.mac))
		must(p.t, p.Verify(p.session, data, tag))
	}
}

// algorithm is a signature with a pair of keys.
type algorithm struct {
	sign, generate pkcs11.MechanismType
	public         pkcs11.Template
	bytes          int // of data
}

var (
	ecdsa = algorithm{pkcs11.CKM_ECDSA, pkcs11.CKM_EC_KEY_PAIR_GEN,
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"))}, 32}
	eddsa = algorithm{pkcs11.CKM_EDDSA, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN,
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte("\x06\x03\x2b\x65\x70"))}, 32}
	rsa = algorithm{pkcs11.CKM_SHA256_RSA_PKCS, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, 2048)}, 32}
)

// pair makes a pair of keys that sign and verify.
func (p *party) pair(a algorithm) (public, private cryptoki.ObjectHandle) {
	public, private, err := p.GenerateKeyPair(p.session, &pkcs11.Mechanism{Type: a.generate},
		append(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VERIFY, true)}, a.public...),
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_PRIVATE, true)})
	must(p.t, err)
	return public, private
}

func signingWith(a algorithm) func(*party) func() {
	return func(p *party) func() {
		_, key := p.pair(a)
		m, data := &pkcs11.Mechanism{Type: a.sign}, make([]byte, a.bytes)
		return func() {
			must(p.t, p.SignInit(p.session, m, key))
			must(p.t, p.Sign(p.session, data, p.to(512)))
		}
	}
}

func verifyingWith(a algorithm) func(*party) func() {
	return func(p *party) func() {
		public, private := p.pair(a)
		m, data := &pkcs11.Mechanism{Type: a.sign}, make([]byte, a.bytes)
		must(p.t, p.SignInit(p.session, m, private))
		must(p.t, p.Sign(p.session, data, p.to(512)))
		signature := []byte(strings.Clone(string(p.out.Bytes)))
		return func() {
			must(p.t, p.VerifyInit(p.session, m, public))
			must(p.t, p.Verify(p.session, data, signature))
		}
	}
}

func digesting(p *party) func() {
	data := make([]byte, 1<<10)
	return func() {
		must(p.t, p.DigestInit(p.session, sha256))
		must(p.t, p.Digest(p.session, data, p.to(32)))
	}
}

func drawing(p *party) func() {
	b := make([]byte, 32)
	return func() { must(p.t, p.GenerateRandom(p.session, b)) }
}

func reading(p *party) func() {
	types := []pkcs11.AttributeType{pkcs11.CKA_KEY_TYPE, pkcs11.CKA_LABEL, pkcs11.CKA_ID}
	values := make([]hsm.Value, len(types))
	return func() { must(p.t, p.ReadAttributes(p.session, p.aes, types, values)) }
}

func opening(p *party) func() {
	return func() {
		h, err := p.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		must(p.t, err)
		must(p.t, p.CloseSession(h))
	}
}

func finding(p *party) func() {
	return find(p, 1, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.AttrString(pkcs11.CKA_ID, pkcs11.CKM_AES_KEY_GEN.String()),
	})
}

func findingAll(p *party) func() {
	for range 100 {
		p.key(pkcs11.CKM_AES_KEY_GEN)
	}
	return find(p, 102, nil)
}

func find(p *party, want int, template pkcs11.Template) func() {
	return func() {
		must(p.t, p.FindObjectsInit(p.session, template))
		found, err := p.FindObjects(p.session, 1000)
		must(p.t, err)
		if len(found) != want {
			p.t.Fatalf("%d found, want %d", len(found), want)
		}
		must(p.t, p.FindObjectsFinal(p.session))
	}
}
