package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestKeyFilesAreReadInAllForms(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(r)
	p8 := pemOf(t, "PRIVATE KEY", pkcs8, err)
	sec1, err := x509.MarshalECPrivateKey(e)
	s1 := pemOf(t, "EC PRIVATE KEY", sec1, err)
	spki, err := x509.MarshalPKIXPublicKey(&e.PublicKey)
	pub := pemOf(t, "PUBLIC KEY", spki, err)
	cert := testCertificate(t, e)
	crt := pemOf(t, "CERTIFICATE", cert.Raw, nil)
	params := pemOf(t, "EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}, nil)
	pkcs1, pkcs1pub := x509.MarshalPKCS1PrivateKey(r), x509.MarshalPKCS1PublicKey(&r.PublicKey)
	p1, p1pub := pemOf(t, "RSA PRIVATE KEY", pkcs1, nil), pemOf(t, "RSA PUBLIC KEY", pkcs1pub, nil)
	text := []byte("Bag Attributes\n  friendlyName: web\n")

	for _, c := range []struct {
		name string
		data []byte
		want string // a letter for each item: private, Public, certificate
	}{
		{"PKCS#8", p8, "p"},
		{"PKCS#1", p1, "p"},
		{"SEC1", s1, "p"},
		{"SEC1 with parameters in front", append(bytes.Clone(params), s1...), "p"},
		{"SPKI", pub, "P"},
		{"PKCS#1 public", p1pub, "P"},
		{"certificate with text in front", append(bytes.Clone(text), crt...), "c"},
		{"key and chain", bytes.Join([][]byte{s1, crt, crt}, nil), "pcc"},
		{"DER PKCS#8", pkcs8, "p"},
		{"DER PKCS#1", pkcs1, "p"},
		{"DER SEC1", sec1, "p"},
		{"DER SPKI", spki, "P"},
		{"DER PKCS#1 public", pkcs1pub, "P"},
		{"DER certificate", cert.Raw, "c"},
	} {
		items, err := parseKeyFile(c.data)
		got := ""
		for _, i := range items {
			switch {
			case i.private != nil:
				got += "p"
			case i.public != nil:
				got += "P"
			case i.certificate != nil:
				got += "c"
			}
		}
		if err != nil || got != c.want {
			t.Errorf("%s: read as %q with error %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestKeyFilesThatAreRefusedSayWhatToDo(t *testing.T) {
	block := func(kind, headers string) string {
		return "-----BEGIN " + kind + "-----\n" + headers + "AAAA\n-----END " + kind + "-----\n"
	}
	for _, c := range []struct{ name, data, text, hint string }{
		{"encrypted PKCS#8", block("ENCRYPTED PRIVATE KEY", ""), "ENCRYPTED PRIVATE KEY", "openssl pkcs8"},
		{"encrypted PKCS#1", block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"), "encrypted with a passphrase", "openssl pkcs8"},
		{"OpenSSH", block("OPENSSH PRIVATE KEY", ""), "OPENSSH", "ssh-keygen"},
		{"request", block("CERTIFICATE REQUEST", ""), "REQUEST", "certificate"},
		{"unknown", block("PET", ""), `"PET"`, "known are"},
		{"damaged", block("PRIVATE KEY", ""), "cannot be read", "damaged"},
		{"cut", "-----BEGIN PRIVATE KEY-----\nAAAA\n", "no key", "PEM"},
		{"text", "hello", "no key", "PEM or DER"},
		{"empty", "", "no key", "PEM or DER"},
	} {
		_, err := parseKeyFile([]byte(c.data))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		p := explain(err)
		if p.code != exitUsage || !strings.Contains(p.text, c.text) || !strings.Contains(p.hint, c.hint) {
			t.Errorf("%s: %d %q, hint %q", c.name, p.code, p.text, p.hint)
		}
	}
}

func TestKeysAreWrittenInPEM(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := privatePEM(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := publicPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for kind, b := range map[string][]byte{"PRIVATE KEY": private, "PUBLIC KEY": public, "CERTIFICATE": certificatePEM([]byte{1})} {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != kind || len(rest) > 0 {
			t.Errorf("%s: wrote %s", kind, b)
		}
	}
}

func TestSecretEncodings(t *testing.T) {
	value := []byte{0, 1, 2, 253, 254, 255, '\n'}
	for _, e := range encodings {
		text, err := encodeSecret(value, e.name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeSecret(text, e.name)
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("%s: %x came back as %x, error %v", e.name, value, got, err)
		}
	}
	if got, err := decodeSecret([]byte(" 00 01\n02\r\n"), "hex"); err != nil || !bytes.Equal(got, []byte{0, 1, 2}) {
		t.Errorf("white space: %x %v", got, err)
	}
	if _, err := decodeSecret([]byte("zz"), "hex"); err == nil {
		t.Error("zz is no hex")
	}
	if _, err := decodeSecret(nil, "morse"); err == nil {
		t.Error("there is no encoding morse")
	}
}

// FuzzKeyFile wants errors, not panics.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{0x30, 3, 2, 1, 1})
	f.Fuzz(func(_ *testing.T, data []byte) {
		items, _ := parseKeyFile(data)
		for _, i := range items {
			switch {
			case i.private != nil:
				privateAttributes(i.private)
			case i.public != nil:
				publicAttributes(i.public)
			case i.certificate != nil:
				certificateAttributes(i.certificate)
			}
		}
	})
}
