package ec

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func (c *curve) privateKeyOf(value []byte) mech.Key {
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.keyType, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_VALUE, value)))
}

func (c *curve) publicKeyOf(point []byte) mech.Key {
	return mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.keyType, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, point)))
}

func TestEd448Vectors(t *testing.T) {
	c := named(t, "Ed448")
	v := map[string][]byte{}
	for _, l := range read(t, "ed448.txt") {
		if l[0][0] == '[' {
			continue
		}
		v[l[0]] = unhex(t, evenHex(l[1]))
		if l[0] != "signature" {
			continue
		}
		param := &pkcs11.EdDSAParams{PhFlag: v["prehash"][0] == 1, ContextData: v["context"]}
		s, err := eddsaSign(c.privateKeyOf(v["seed"]), param)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Finish(nil, v["message"])
		if err != nil || hex.EncodeToString(sig) != l[1] {
			t.Errorf("%x: %x, %v", v["seed"], sig, err)
		}
		verifier, err := eddsaVerify(c.publicKeyOf(v["public"]), param)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(v["message"], sig); err != nil {
			t.Errorf("%x: %v", v["seed"], err)
		}
	}
}

func TestEd448AgainstWycheproof(t *testing.T) {
	c := named(t, "Ed448")
	var public mech.Key
	v := map[string][]byte{}
	for _, l := range read(t, "ed448_wycheproof.txt") {
		switch {
		case l[0][0] == '[':
			public = c.publicKeyOf(unhex(t, l[0][1:len(l[0])-1]))
		case l[0] != "result":
			v[l[0]] = unhex(t, l[1])
		default:
			verifier, err := eddsaVerify(public, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(v["msg"], v["sig"]); (err == nil) != (l[1] == "valid") {
				t.Errorf("%x: %v, expected %s", v["sig"], err, l[1])
			}
		}
	}
}

func TestX448Vectors(t *testing.T) {
	c := named(t, "X448")
	var scalar, u []byte
	for _, l := range read(t, "x448.txt") {
		switch l[0] {
		case "scalar":
			scalar = unhex(t, l[1])
		case "u":
			u = unhex(t, l[1])
		case "result":
			got, err := derive(c.privateKeyOf(scalar), &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: u}, 0)
			if err != nil || hex.EncodeToString(got) != l[1] {
				t.Errorf("%x: %x, %v", scalar, got, err)
			}
		}
	}
}

// openssl runs the program of that name with files by name in a directory of its own, and returns what it writes to the
// file "out".
func openssl(t *testing.T, files map[string][]byte, args ...string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Logf("openssl %v: %s", args, text)
		return nil, err
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return out, err
}

// needOpenSSL skips a test where there is no OpenSSL to compare with.
func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("there is no openssl here to compare with: run `make deps`")
	}
}

// TestCurve448AgreesWithOpenSSL: our keys are read there, and what one side makes the other side takes.
func TestCurve448AgreesWithOpenSSL(t *testing.T) {
	needOpenSSL(t)
	c := named(t, "Ed448")
	private, public, _, pub := newPair(t, c)
	message := []byte("signed on one side, verified on the other")
	s, err := eddsaSign(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := s.Finish(nil, message)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"key": pkcs8Of(t, private), "pub": spkiOf(t, c, pub), "msg": message, "sig": ours}
	if _, err := openssl(t, files, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub", "-rawin", "-in", "msg", "-sigfile", "sig"); err != nil {
		t.Error("OpenSSL does not take our signature")
	}
	theirs, err := openssl(t, files, "pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "msg", "-out", "out")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := eddsaVerify(public, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(message, theirs); err != nil {
		t.Error("we do not take OpenSSL's signature:", err)
	}
	agreesWithOpenSSL(t, named(t, "X448"))
}

func pkcs8Of(t *testing.T, k mech.Key) []byte {
	t.Helper()
	der, err := marshalPKCS8(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func spkiOf(t *testing.T, c *curve, pub pkcs11.Template) []byte {
	t.Helper()
	k, err := kindOf(c.keyType)
	if err != nil {
		t.Fatal(err)
	}
	der, err := k.publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// agreesWithOpenSSL does one key agreement on both sides.
func agreesWithOpenSSL(t *testing.T, c *curve) {
	t.Helper()
	private, _, _, _ := newPair(t, c)
	_, _, _, peer := newPair(t, c)
	z, err := openssl(t, map[string][]byte{"key": pkcs8Of(t, private), "peer": spkiOf(t, c, peer)},
		"pkeyutl", "-derive", "-keyform", "DER", "-inkey", "key", "-peerform", "DER", "-peerkey", "peer", "-out", "out")
	if err != nil {
		t.Fatal(err)
	}
	got, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer.Bytes(pkcs11.CKA_EC_POINT)}, 0)
	if err != nil || hex.EncodeToString(got) != hex.EncodeToString(z) {
		t.Errorf("%s: %x, OpenSSL has %x, %v", c.names[0], got, z, err)
	}
}
