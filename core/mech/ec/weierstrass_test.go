package ec

import (
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// shortCurves calls f with every curve of package short.
func shortCurves(t *testing.T, f func(t *testing.T, c *curve)) {
	for _, c := range curves {
		if c.arith == &shortArithmetic {
			t.Run(c.names[0], func(t *testing.T) { f(t, c) })
		}
	}
}

func TestShortECDSAAgainstWycheproof(t *testing.T) {
	var c *curve
	var h *hashes.Hash
	v := map[string][]byte{}
	for _, l := range read(t, "short_ecdsa.txt") {
		switch {
		case l[0][0] == '[':
			curveName, hashName, _ := strings.Cut(strings.Trim(l[0], "[]"), ",")
			c, h = named(t, curveName), byName(t, hashName)
		case l[0] != "result":
			v[l[0]] = unhex(t, l[1])
		default:
			verifier, err := row(t, h.ECDSA).Verify(c.publicKeyOf(v["point"]), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = verifier.Verify(v["msg"], v["sig"])
			// The standard lets a signature leave out leading zeros of both halves, so those that Wycheproof calls
			// too short may be good ones here.
			short := err == nil && len(v["sig"]) < c.signatureLen()
			if (err == nil) != (l[1] == "valid") && !short {
				t.Errorf("%s %v %x: %v, expected %s", c.names[0], h, v["sig"], err, l[1])
			}
		}
	}
}

func TestShortECDHVectors(t *testing.T) {
	var c *curve
	var private mech.Key
	var point []byte
	for _, l := range read(t, "short_ecdh.txt") {
		switch l[0] {
		case "curve":
			c = named(t, l[1])
		case "private":
			private = c.privateKeyOf(unhex(t, evenHex(l[1])))
		case "point":
			point = unhex(t, l[1])
		case "z":
			got, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}, 0)
			if l[1] == "" {
				wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			} else if err != nil || hex.EncodeToString(got) != l[1] {
				t.Errorf("%s %x: %x, %v, want %s", c.names[0], point, got, err, l[1])
			}
		}
	}
}

// TestShortCurvesAgreeWithOpenSSL signs, verifies and agrees on both sides, on every curve; what either side writes, the
// other reads.
func TestShortCurvesAgreeWithOpenSSL(t *testing.T) {
	needOpenSSL(t)
	shortCurves(t, func(t *testing.T, c *curve) {
		private, public, _, pub := newPair(t, c)
		digest := byName(t, "SHA256").Sum([]byte("signed on one side"))
		s, err := ecdsaSign(nil)(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Finish(nil, digest)
		if err != nil {
			t.Fatal(err)
		}
		half := len(sig) / 2
		type ecdsaSig struct{ R, S *big.Int }
		ours := mustDER(ecdsaSig{new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])})
		files := map[string][]byte{"key": pkcs8Of(t, private), "pub": spkiOf(t, c, pub), "msg": digest, "sig": ours}
		if _, err := openssl(t, files, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub", "-in", "msg", "-sigfile", "sig"); err != nil {
			t.Error("OpenSSL does not take our signature")
		}
		theirs, err := openssl(t, files, "pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key", "-in", "msg", "-out", "out")
		if err != nil {
			t.Fatal(err)
		}
		var parts ecdsaSig
		if _, err := asn1.Unmarshal(theirs, &parts); err != nil {
			t.Fatal(err)
		}
		verifier, err := ecdsaVerify(nil)(public, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw := slices.Concat(parts.R.FillBytes(make([]byte, half)), parts.S.FillBytes(make([]byte, half)))
		if err := verifier.Verify(digest, raw); err != nil {
			t.Error("we do not take OpenSSL's signature:", err)
		}
		agreesWithOpenSSL(t, c)

		pem, err := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+c.names[0], "-out", "out")
		if err != nil {
			t.Fatal(err)
		}
		made, err := openssl(t, map[string][]byte{"pem": pem}, "pkcs8", "-topk8", "-nocrypt", "-in", "pem", "-outform", "DER", "-out", "out")
		if err != nil {
			t.Fatal(err)
		}
		key, err := weierstrass.parsePKCS8(made)
		if err != nil {
			t.Fatal("we do not read OpenSSL's key:", err)
		}
		if again := pkcs8Of(t, c.privateKeyOf(key.Bytes(pkcs11.CKA_VALUE))); hex.EncodeToString(again) != hex.EncodeToString(made) {
			t.Errorf("OpenSSL writes %x, we %x", made, again)
		}
	})
}
