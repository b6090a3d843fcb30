package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/coffer-hsm/coffer/core/secret"
)

// fileItem is one thing that a key file holds; one of the fields is set.
type fileItem struct {
	private     crypto.PrivateKey
	public      crypto.PublicKey
	certificate *x509.Certificate
}

func (i fileItem) empty() bool { return i.private == nil && i.public == nil && i.certificate == nil }

// pemForms is what is understood, by the type in the PEM header.
var pemForms = map[string]func(der []byte) (fileItem, error){
	"PRIVATE KEY":     private(func(der []byte) (any, error) { return parsePKCS8(der) }),
	"RSA PRIVATE KEY": private(func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) }),
	"EC PRIVATE KEY":  private(func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) }),
	"PUBLIC KEY":      public(func(der []byte) (any, error) { return parsePublicInfo(der) }),
	"RSA PUBLIC KEY":  public(func(der []byte) (any, error) { return x509.ParsePKCS1PublicKey(der) }),
	"CERTIFICATE":     certificate,
	// Openssl writes the curve in front of an EC key; the key names it again.
	"EC PARAMETERS": func([]byte) (fileItem, error) { return fileItem{}, nil },
}

// pemRefused is what is recognised and not read, with the way out.
var pemRefused = map[string]string{
	"ENCRYPTED PRIVATE KEY":   "decrypt it first: openssl pkcs8 -in FILE -out plain.pem",
	"OPENSSH PRIVATE KEY":     "convert a copy of it first: ssh-keygen -p -m PKCS8 -N '' -f COPY",
	"DSA PRIVATE KEY":         "use RSA or an elliptic curve",
	"CERTIFICATE REQUEST":     "import the certificate that the authority returns",
	"NEW CERTIFICATE REQUEST": "import the certificate that the authority returns",
}

func private(parse func([]byte) (any, error)) func([]byte) (fileItem, error) {
	return func(der []byte) (fileItem, error) {
		k, err := parse(der)
		return fileItem{private: k}, err
	}
}

func public(parse func([]byte) (any, error)) func([]byte) (fileItem, error) {
	return func(der []byte) (fileItem, error) {
		k, err := parse(der)
		return fileItem{public: k}, err
	}
}

func certificate(der []byte) (fileItem, error) {
	c, err := x509.ParseCertificate(der)
	return fileItem{certificate: c}, err
}

// parseKeyFile reads keys and certificates, in PEM or one of them in DER.
func parseKeyFile(data []byte) ([]fileItem, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return parseDER(data)
	}
	var items []fileItem
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		item, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		if !item.empty() {
			items = append(items, item)
		}
	}
	switch {
	case len(items) == 0:
		return nil, usage("there is no key or certificate in the file", "a key in PEM begins with -----BEGIN PRIVATE KEY-----")
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return nil, usage("a part of the PEM file is damaged", "check the file; nothing was imported")
	}
	return items, nil
}

func parseBlock(block *pem.Block) (fileItem, error) {
	defer func() {
		if strings.Contains(block.Type, "PRIVATE") {
			secret.Wipe(block.Bytes)
		}
	}()
	if hint, ok := pemRefused[block.Type]; ok {
		return fileItem{}, usage("a file with %s cannot be imported", hint, block.Type)
	}
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return fileItem{}, usage("the key in the file is encrypted with a passphrase", "decrypt it first: openssl pkcs8 -topk8 -nocrypt -in FILE -out plain.pem")
	}
	parse, ok := pemForms[block.Type]
	if !ok {
		return fileItem{}, usage("PEM of type %q is not known", "known are private and public keys and certificates", block.Type)
	}
	item, err := parse(block.Bytes)
	if err != nil {
		return fileItem{}, usage("the %s in the file cannot be read: %s", "it may be damaged, or of a kind that is not supported",
			strings.ToLower(block.Type), strings.TrimPrefix(err.Error(), "x509: "))
	}
	return item, nil
}

// parseDER tries the forms of DER; they cannot be taken for each other.
func parseDER(data []byte) ([]fileItem, error) {
	for _, form := range []string{"CERTIFICATE", "PRIVATE KEY", "PUBLIC KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "RSA PUBLIC KEY"} {
		if item, err := pemForms[form](data); err == nil {
			return []fileItem{item}, nil
		}
	}
	return nil, usage("the file holds no key or certificate that is understood", "keys and certificates are read in PEM or DER; for a secret key say --type aes, hmac or generic")
}

// encodings are the forms of a secret key in a file.
var encodings = []struct {
	name   string
	decode func(b []byte) ([]byte, error)
	encode func(b []byte) []byte
}{
	{"raw", func(b []byte) ([]byte, error) { return bytes.Clone(b), nil }, bytes.Clone},
	{"hex", func(b []byte) ([]byte, error) { return hex.AppendDecode(nil, b) }, func(b []byte) []byte {
		return append(hex.AppendEncode(nil, b), '\n')
	}},
	{"base64", func(b []byte) ([]byte, error) { return base64.StdEncoding.AppendDecode(nil, b) }, func(b []byte) []byte {
		return append(base64.StdEncoding.AppendEncode(nil, b), '\n')
	}},
}

const encodingHelp = "raw, hex or base64"

// decodeSecret reads a secret key from a file's content. White space does not count where the encoding is text.
func decodeSecret(data []byte, encoding string) ([]byte, error) {
	for _, e := range encodings {
		if e.name != encoding {
			continue
		}
		if encoding != "raw" {
			data = bytes.Join(bytes.Fields(data), nil)
			defer secret.Wipe(data)
		}
		b, err := e.decode(data)
		if err != nil {
			return nil, usage("the file is not in %s", "say what it is: --encoding "+encodingHelp, encoding)
		}
		return b, nil
	}
	return nil, usage("--encoding %q is not known", "use "+encodingHelp, encoding)
}

func encodeSecret(value []byte, encoding string) ([]byte, error) {
	for _, e := range encodings {
		if e.name == encoding {
			return e.encode(value), nil
		}
	}
	return nil, usage("--encoding %q is not known", "use "+encodingHelp, encoding)
}

// publicPEM, privatePEM and certificatePEM write what export gives out.
func publicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := marshalPublicInfo(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

func privatePEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := marshalPKCS8(key)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be written: %w", err)
	}
	defer secret.Wipe(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
