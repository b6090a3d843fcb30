// Package pkcs8 is the frame that the families share around their keys in DER: PrivateKeyInfo and SubjectPublicKeyInfo.
package pkcs8

import (
	"crypto/x509"
	"encoding/asn1"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Marshal writes a private key of the standard library as a PrivateKeyInfo (RFC 5208, 5958).
func Marshal(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	return der, nil
}

// Parse reads a PrivateKeyInfo and nothing after it, CKR_WRAPPED_KEY_INVALID for anything else. What has more than limit
// bytes is refused before anybody computes with its numbers.
func Parse(der []byte, limit int) (any, error) {
	if len(der) > limit {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a PrivateKeyInfo of %d bytes, expected at most %d", len(der), limit)
	}
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &whole); err != nil || len(rest) > 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no PrivateKeyInfo, or bytes after it")
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID // the parser's text could quote the key
	}
	return key, nil
}

// PublicInfo writes a public key of the standard library as a SubjectPublicKeyInfo (RFC 5280, 4.1).
func PublicInfo(key any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SubjectPublicKeyInfo: %w", err)
	}
	return der, nil
}
