package ec

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// read returns the lines of a file of vectors in order: "name = value", or "[heading]" as a name alone. Each file says
// where it is from.
func read(t *testing.T, file string) (lines [][2]string) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		name, value, ok := strings.Cut(in.Text(), " = ")
		if ok || strings.HasPrefix(name, "[") {
			lines = append(lines, [2]string{name, value})
		}
	}
	if len(lines) == 0 {
		t.Fatal(file, "is empty")
	}
	return lines
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func byName(t *testing.T, name string) *hashes.Hash {
	t.Helper()
	for _, h := range hashes.All {
		plain := strings.Replace(h.String(), "SHA-", "SHA", 1)
		if strings.EqualFold(plain, name) || strings.EqualFold(h.String(), name) {
			return h
		}
	}
	t.Fatalf("no hash %s", name)
	return nil
}

func named(t *testing.T, name string) *curve {
	t.Helper()
	for _, c := range curves {
		if slices.Contains(c.names, name) {
			return c
		}
	}
	t.Fatalf("no curve %s", name)
	return nil
}

func TestECDSAVectors(t *testing.T) {
	var c *curve
	var h *hashes.Hash
	v := map[string][]byte{}
	for _, l := range read(t, "ecdsa.txt") {
		if l[0][0] == '[' {
			curveName, hashName, _ := strings.Cut(strings.Trim(l[0], "[]"), ",")
			c, h = named(t, curveName), byName(t, hashName)
			continue
		}
		if l[0] != "result" {
			v[l[0]] = unhex(t, evenHex(l[1]))
			continue
		}
		half := func(name string, size int) []byte {
			b := bytes.TrimLeft(v[name], "\x00")
			return append(make([]byte, size-len(b)), b...)
		}
		coordinate := c.pointLen / 2
		public := mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.keyType, pkcs11.Template{
			pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()),
			pkcs11.Attr(pkcs11.CKA_EC_POINT, slices.Concat([]byte{4}, half("x", coordinate), half("y", coordinate))),
		})
		sig := slices.Concat(half("r", c.scalarLen), half("s", c.scalarLen))
		for i, m := range []pkcs11.MechanismType{h.ECDSA, pkcs11.CKM_ECDSA} {
			data := v["msg"]
			if i == 1 {
				data = h.Sum(data)
			}
			verifier, err := row(t, m).Verify(public, nil)
			if err == nil {
				err = verifier.Verify(data, sig)
			}
			if (err == nil) != (l[1] == "P") {
				t.Errorf("%s %v %v: %v, expected %s", c.names[0], h, m, err, l[1])
			}
		}
	}
}

func evenHex(s string) string {
	if len(s)%2 == 1 {
		return "0" + s
	}
	return s
}

func TestECDHVectors(t *testing.T) {
	var c *curve
	var private mech.Key
	var point []byte
	for _, l := range read(t, "ecdh.txt") {
		f := strings.Fields(l[0])
		switch f[0] {
		case "curve":
			c = named(t, l[1])
		case "pkcs8":
			k, err := kindOf(c.keyType)
			if err != nil {
				t.Fatal(err)
			}
			key, err := k.parsePKCS8(unhex(t, l[1]))
			if err != nil {
				t.Fatal(err)
			}
			private = mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.keyType, key)
			der, err := marshalPKCS8(private)
			if err != nil || hex.EncodeToString(der) != l[1] {
				t.Errorf("%s: PKCS #8 does not come back: %v", c.names[0], err)
			}
		case "spki":
			point = pointOf(t, c, unhex(t, l[1]))
		case "z":
			got, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}, 0)
			if err != nil || hex.EncodeToString(got) != l[1] {
				t.Errorf("%s: %x, %v", c.names[0], got, err)
			}
		case "x963", "sskdf":
			kdf := byName(t, f[1]).KDF
			if f[0] == "sskdf" {
				kdf = byName(t, f[1]).KDFSP800
			}
			for _, size := range []int{1, 20, len(l[1]) / 2} {
				p := &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: point, SharedData: []byte("shared info")}
				got, err := derive(private, p, size)
				if err != nil || hex.EncodeToString(got) != l[1][:2*size] {
					t.Errorf("%s %s: %x, %v", c.names[0], l[0], got, err)
				}
			}
		default:
			t.Errorf("unknown line %s", l[0])
		}
	}
}

// pointOf takes the bare point out of a SubjectPublicKeyInfo, by the parser and not by ours.
func pointOf(t *testing.T, c *curve, spki []byte) []byte {
	t.Helper()
	point := spki[len(spki)-c.pointLen:]
	k, err := kindOf(c.keyType)
	if err != nil {
		t.Fatal(err)
	}
	der, err := k.publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, point)))
	if err != nil || !bytes.Equal(der, spki) {
		t.Errorf("%s: SubjectPublicKeyInfo: %v", c.names[0], err)
	}
	if _, err := x509.ParsePKIXPublicKey(der); err != nil {
		t.Error(err)
	}
	return point
}

// RFC 7748, 6.1.
func TestX25519Vector(t *testing.T) {
	c := named(t, "X25519")
	private := mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.keyType, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_VALUE,
		unhex(t, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))))
	peer := unhex(t, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
	got, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer}, 32)
	if err != nil || hex.EncodeToString(got) != "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" {
		t.Errorf("%x, %v", got, err)
	}
}

// RFC 8032, 7.1 (tests 1 and 3), 7.2 and 7.3.
func TestEd25519Vectors(t *testing.T) {
	for name, v := range map[string]struct {
		param                         any
		seed, public, message, wanted string
	}{
		"pure, empty": {
			nil, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		"pure, two bytes": {
			&pkcs11.EdDSAParams{}, "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
		"context": {
			&pkcs11.EdDSAParams{ContextData: []byte("foo")}, "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
			"dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292", "f726936d19c800494e3fdaff20b276a8",
			"55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
		},
		"prehashed": {
			&pkcs11.EdDSAParams{PhFlag: true}, "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
			"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", "616263",
			"98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
		},
	} {
		c := named(t, "edwards25519")
		private := mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.keyType, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_VALUE, unhex(t, v.seed))))
		public := mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.keyType, append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, unhex(t, v.public))))
		s, err := eddsaSign(private, v.param)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Finish(nil, unhex(t, v.message))
		if err != nil || hex.EncodeToString(sig) != v.wanted {
			t.Errorf("%s: %x, %v", name, sig, err)
		}
		verifier, err := eddsaVerify(public, v.param)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(unhex(t, v.message), unhex(t, v.wanted)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
