package rsa

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

type line struct {
	name  string
	value []byte
}

// read returns the "name = hex" lines of a file of vectors; each file says where it is from.
func read(t *testing.T, file string) (lines []line) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if name, value, ok := strings.Cut(in.Text(), " = "); ok {
			b, err := hex.DecodeString(value)
			if err != nil {
				t.Fatal(file, name, err)
			}
			lines = append(lines, line{name, b})
		}
	}
	if len(lines) == 0 {
		t.Fatal(file, "is empty")
	}
	return lines
}

var vectorNames = map[string]pkcs11.AttributeType{
	"n": pkcs11.CKA_MODULUS, "e": pkcs11.CKA_PUBLIC_EXPONENT, "d": pkcs11.CKA_PRIVATE_EXPONENT,
	"p": pkcs11.CKA_PRIME_1, "q": pkcs11.CKA_PRIME_2, "dP": pkcs11.CKA_EXPONENT_1,
	"dQ": pkcs11.CKA_EXPONENT_2, "qInv": pkcs11.CKA_COEFFICIENT,
}

// imported checks a private key and returns it with what check adds.
func imported(t *testing.T, key pkcs11.Template) pkcs11.Template {
	t.Helper()
	add, err := check(pkcs11.CKO_PRIVATE_KEY, key)
	if err != nil {
		t.Fatal(err)
	}
	key = key.Clone()
	for _, a := range add {
		key = key.Set(a.Type, a.Value)
	}
	return key
}

func TestPSSVectors(t *testing.T) {
	var key pkcs11.Template
	var msg []byte
	m := row(t, pkcs11.CKM_SHA1_RSA_PKCS_PSS)
	param := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, SaltLen: 20}
	for _, l := range read(t, "pss.txt") {
		switch l.name {
		case "n":
			key = nil
			fallthrough
		default:
			key = append(key, pkcs11.Attr(vectorNames[l.name], l.value))
		case "msg":
			msg = l.value
		case "salt":
		case "sig":
			private, public := pairOf(imported(t, key))
			if err := verify(t, m, public, param, msg, l.value); err != nil {
				t.Errorf("%d bits: %v", 8*len(l.value), err)
			}
			sig, err := sign(t, m, private, param, msg)
			if err != nil || verify(t, m, public, param, msg, sig) != nil {
				t.Errorf("%d bits: round trip: %v", 8*len(l.value), err)
			}
			wantRV(t, verify(t, m, public, param, append(msg, 0), l.value), pkcs11.CKR_SIGNATURE_INVALID)
		}
	}
}

// The keys of this file have no primes: they are found again.
func TestOAEPVectors(t *testing.T) {
	var key pkcs11.Template
	var msg []byte
	param := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, Source: pkcs11.CKZ_DATA_SPECIFIED}
	for _, l := range read(t, "oaep.txt") {
		switch l.name {
		case "n":
			key = nil
			fallthrough
		default:
			key = append(key, pkcs11.Attr(vectorNames[l.name], l.value))
		case "msg":
			msg = l.value
		case "ciphertext":
			private, _ := pairOf(imported(t, key))
			out, err := decrypt(t, row(t, pkcs11.CKM_RSA_PKCS_OAEP), private, param, l.value)
			if err != nil || !bytes.Equal(out, msg) {
				t.Errorf("got %x, %v", out, err)
			}
		}
	}
}

func byName(t *testing.T, name string) *hashes.Hash {
	t.Helper()
	for _, h := range hashes.All {
		plain := strings.ToLower(strings.Replace(h.String(), "SHA-", "SHA", 1))
		if plain == name {
			return h
		}
	}
	t.Fatalf("no hash %s", name)
	return nil
}

func TestOpenSSLVectors(t *testing.T) {
	msg := []byte("the quick brown fox")
	var key pkcs11.Template
	private, public := testPair()
	for _, l := range read(t, "openssl.txt") {
		f := strings.Fields(l.name)
		switch f[0] {
		case "pkcs8":
			var err error
			if key, err = parsePKCS8(l.value); err != nil {
				t.Fatal(err)
			}
			if add, err := check(pkcs11.CKO_PRIVATE_KEY, key); err != nil || len(add) > 0 {
				t.Errorf("check: %v, %v", add, err)
			}
			private, public = pairOf(key)
			if der, err := marshalPKCS8(private); err != nil || !bytes.Equal(der, l.value) {
				t.Errorf("PKCS #8 does not come back: %v", err)
			}
		case "spki":
			for _, class := range []pkcs11.ObjectClass{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
				if der, err := publicKeyInfo(class, key); err != nil || !bytes.Equal(der, l.value) {
					t.Errorf("SubjectPublicKeyInfo: %v", err)
				}
			}
		case "pkcs1":
			m := row(t, byName(t, f[1]).RSAPKCS)
			if sig, err := sign(t, m, private, nil, msg); err != nil || !bytes.Equal(sig, l.value) {
				t.Errorf("%s: another signature, %v", l.name, err)
			}
			if err := verify(t, m, public, nil, msg, l.value); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
		case "pss":
			h, g := byName(t, f[1]), byName(t, f[2])
			salt, _ := strconv.Atoi(f[3])
			p := &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: g.MGF, SaltLen: uint(salt)}
			if err := verify(t, row(t, h.RSAPSS), public, p, msg, l.value); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
			if err := verify(t, row(t, pkcs11.CKM_RSA_PKCS_PSS), public, p, h.Sum(msg), l.value); err != nil {
				t.Errorf("%s: raw: %v", l.name, err)
			}
		case "oaep":
			p := &pkcs11.OAEPParams{HashAlg: byName(t, f[1]).Mechanism, MGF: byName(t, f[2]).MGF, Source: pkcs11.CKZ_DATA_SPECIFIED}
			if f[3] != "-" {
				p.SourceData, _ = hex.DecodeString(f[3])
			}
			if out, err := decrypt(t, row(t, pkcs11.CKM_RSA_PKCS_OAEP), private, p, l.value); err != nil || !bytes.Equal(out, msg) {
				t.Errorf("%s: %v", l.name, err)
			}
		case "encrypt":
			if out, err := decrypt(t, row(t, pkcs11.CKM_RSA_PKCS), private, nil, l.value); err != nil || !bytes.Equal(out, msg) {
				t.Errorf("%s: %v", l.name, err)
			}
		case "sign":
			if sig, err := sign(t, row(t, pkcs11.CKM_RSA_PKCS), private, nil, msg); err != nil || !bytes.Equal(sig, l.value) {
				t.Errorf("%s: another signature, %v", l.name, err)
			}
			vr, _ := row(t, pkcs11.CKM_RSA_PKCS).VerifyRecover(public, nil)
			if out, err := vr.Finish(nil, l.value); err != nil || !bytes.Equal(out, msg) {
				t.Errorf("%s: recover: %v", l.name, err)
			}
		case "aeswrap":
			p := &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEP: &pkcs11.OAEPParams{
				HashAlg: byName(t, f[1]).Mechanism, MGF: byName(t, f[2]).MGF, Source: pkcs11.CKZ_DATA_SPECIFIED}}
			m := row(t, pkcs11.CKM_RSA_AES_KEY_WRAP)
			if out, err := m.Unwrap(private, p, l.value); err != nil || !bytes.Equal(out, msg) {
				t.Errorf("%s: %v", l.name, err)
			}
			p.AESKeyBits = 128
			_, err := m.Unwrap(private, p, l.value)
			wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
		default:
			t.Errorf("unknown line %s", l.name)
		}
	}
}
