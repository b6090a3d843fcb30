package dsa

import (
	"bufio"
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func wantRV(t *testing.T, err error, want ...pkcs11.RV) {
	t.Helper()
	if got := pkcs11.RVOf(err); !slices.Contains(want, got) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lines reads a file of vectors: "name = value", or "[heading]" as a name alone. The file says where it is from.
func lines(t *testing.T) (all [][2]string) {
	t.Helper()
	f, err := os.Open("testdata/dsa.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		name, value, ok := strings.Cut(in.Text(), " = ")
		if ok || strings.HasPrefix(name, "[") {
			all = append(all, [2]string{name, value})
		}
	}
	return all
}

// vectorGroup is the 2048-bit group with a subprime of 256 bits that the vectors have.
func vectorGroup(t *testing.T) pkcs11.Template {
	t.Helper()
	v := map[string][]byte{}
	for _, l := range lines(t) {
		switch l[0] {
		case "p", "q", "g":
			v[l[0]] = unhex(t, l[1])
		}
		if l[0] == "g" && new(big.Int).SetBytes(v["q"]).BitLen() == 256 {
			break
		}
	}
	return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIME, v["p"]), pkcs11.Attr(pkcs11.CKA_SUBPRIME, v["q"]), pkcs11.Attr(pkcs11.CKA_BASE, v["g"])}
}

func TestVectors(t *testing.T) {
	var h *hashes.Hash
	v := map[string][]byte{}
	checked := 0
	var public mech.Key
	for _, l := range lines(t) {
		if l[0][0] == '[' {
			for _, x := range hashes.All {
				if "["+strings.Replace(x.String(), "SHA-", "SHA", 1)+"]" == l[0] {
					h = x
				}
			}
			continue
		}
		if l[0] != "result" {
			v[l[0]] = unhex(t, l[1])
			if l[0] == "y" {
				public = mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_DSA, pkcs11.Template{
					pkcs11.Attr(pkcs11.CKA_PRIME, v["p"]), pkcs11.Attr(pkcs11.CKA_SUBPRIME, v["q"]), pkcs11.Attr(pkcs11.CKA_BASE, v["g"]),
					pkcs11.Attr(pkcs11.CKA_VALUE, v["y"]),
				})
			}
			continue
		}
		verifier, err := verify(h)(public, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(v["msg"], v["sig"]); (err == nil) != (l[1] == "valid") {
			t.Errorf("%v %x: %v, expected %s", h, v["sig"], err, l[1])
		}
		checked++
	}
	if checked < 50 {
		t.Errorf("only %d vectors", checked)
	}
}

func newPair(t *testing.T, of pkcs11.Template) (private, public mech.Key, priv, pub pkcs11.Template) {
	t.Helper()
	pub, priv, err := generate(nil, of, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_DSA, priv), mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_DSA, pub), priv, pub
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	of := vectorGroup(t)
	private, public, _, _ := newPair(t, of)
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		k := mechtest.Case{Row: m, Key: private, Public: public, Costly: true, FixedSize: true, Lens: []int{0, 1, 20, 28}}
		switch {
		case m.Parameters:
			k.Key, k.Public = nil, nil
			k.Templates = []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, 1024)}}
		case m.GeneratePair != nil:
			k.Key, k.Public = nil, nil
			k.Templates, k.PublicPart = []pkcs11.Template{nil}, []pkcs11.Template{of}
		case m.Type == pkcs11.CKM_DSA:
			k.Takes = func(n int) bool { return n > 0 }
		}
		mechtest.Run(t, k)
	}
}

func TestRowsAreLegacy(t *testing.T) {
	for _, m := range Family.Mechanisms {
		if !m.Legacy {
			t.Errorf("%v is offered to everybody", m.Type)
		}
	}
}

func TestParametersThatAreMadeAreTaken(t *testing.T) {
	made, err := parameters(nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, 2048), pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, 224)})
	if err != nil {
		t.Fatal(err)
	}
	add, err := check(pkcs11.CKO_DOMAIN_PARAMETERS, made)
	if n, _ := add.Uint(pkcs11.CKA_SUBPRIME_BITS); err != nil || n != 224 {
		t.Errorf("%v, %v", add, err)
	}
	newPair(t, made)
	_, err = parameters(nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, 2048), pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, 160)})
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
}

func TestBadKeysAreRefused(t *testing.T) {
	of := vectorGroup(t)
	p, q := new(big.Int).SetBytes(of.Bytes(pkcs11.CKA_PRIME)), new(big.Int).SetBytes(of.Bytes(pkcs11.CKA_SUBPRIME))
	with := func(v []byte) pkcs11.Template { return append(slices.Clone(of), pkcs11.Attr(pkcs11.CKA_VALUE, v)) }
	for name, x := range map[string][]byte{"zero": {0}, "q": q.Bytes(), "empty": {}, "long": bytes.Repeat([]byte{1}, 33)} {
		if _, err := check(pkcs11.CKO_PRIVATE_KEY, with(x)); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			t.Errorf("private %s: %v", name, err)
		}
	}
	for name, y := range map[string]*big.Int{"0": new(big.Int), "1": big.NewInt(1), "p-1": new(big.Int).Sub(p, big.NewInt(1)), "p": p, "2": big.NewInt(2)} {
		if _, err := check(pkcs11.CKO_PUBLIC_KEY, with(y.Bytes())); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			t.Errorf("public %s: %v", name, err)
		}
	}
	_, err := check(pkcs11.CKO_SECRET_KEY, with([]byte{5}))
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
	_, err = check(pkcs11.CKO_PRIVATE_KEY, of)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	_, err = check(pkcs11.CKO_PRIVATE_KEY, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	private, public, priv, _ := newPair(t, of)
	if add, err := check(pkcs11.CKO_PRIVATE_KEY, priv); err != nil || len(add) > 0 {
		t.Errorf("a key of ours: %v, %v", add, err)
	}
	if _, err := sign(nil)(public, nil); err == nil {
		t.Error("a public key signs")
	}
	if _, err := verify(nil)(private, nil); err == nil {
		t.Error("a private key verifies")
	}
}

// TestAgreesWithOpenSSL signs and verifies on both sides, and moves keys both ways.
func TestAgreesWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("there is no openssl here to compare with: run `make deps`")
	}
	run := func(files map[string][]byte, args ...string) ([]byte, error) {
		dir := t.TempDir()
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("openssl %v: %s", args, text)
			return nil, err
		}
		out, err := os.ReadFile(filepath.Join(dir, "out"))
		if os.IsNotExist(err) {
			err = nil
		}
		return out, err
	}
	private, public, _, pub := newPair(t, vectorGroup(t))
	der, err := marshalPKCS8(private)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, pub)
	if err != nil {
		t.Fatal(err)
	}
	again, err := run(map[string][]byte{"key": der}, "pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-in", "key", "-outform", "DER", "-out", "out")
	if err != nil || !bytes.Equal(again, der) {
		t.Errorf("OpenSSL writes our key as %x, %v", again, err)
	}
	if back, err := parsePKCS8(again); err != nil || !bytes.Equal(back.Bytes(pkcs11.CKA_VALUE), private.Bytes(pkcs11.CKA_VALUE)) {
		t.Errorf("the key comes back as another one, %v", err)
	}
	theirs, err := run(map[string][]byte{"key": der}, "pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER", "-out", "out")
	if err != nil || !bytes.Equal(theirs, spki) {
		t.Errorf("OpenSSL's public key is %x, ours %x, %v", theirs, spki, err)
	}
	digest := hashes.ByMechanism(pkcs11.CKM_SHA256).Sum([]byte("signed on one side"))
	s, err := sign(nil)(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Finish(nil, digest)
	if err != nil {
		t.Fatal(err)
	}
	type pair struct{ R, S *big.Int }
	ours, err := asn1.Marshal(pair{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"key": der, "pub": spki, "msg": digest, "sig": ours}
	if _, err := run(files, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub", "-in", "msg", "-sigfile", "sig"); err != nil {
		t.Error("OpenSSL does not take our signature")
	}
	made, err := run(files, "pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key", "-in", "msg", "-out", "out")
	if err != nil {
		t.Fatal(err)
	}
	var parts pair
	if _, err := asn1.Unmarshal(made, &parts); err != nil {
		t.Fatal(err)
	}
	verifier, err := verify(nil)(public, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(digest, append(parts.R.FillBytes(make([]byte, 32)), parts.S.FillBytes(make([]byte, 32))...)); err != nil {
		t.Error("we do not take OpenSSL's signature:", err)
	}
}
