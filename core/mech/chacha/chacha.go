// Package chacha has the ciphers of D. J. Bernstein: ChaCha20 and Salsa20 with their variants, ChaCha20-Poly1305 (RFC 8439)
// and Poly1305 by itself. All computing is golang.org/x/crypto's; here are the counters, which the standard exposes.
package chacha

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// keySize is the length of all keys here, in bytes.
const keySize = 32

var (
	lengths = generic.FixedLength(keySize)
	chacha  = []pkcs11.KeyType{pkcs11.CKK_CHACHA20}
	salsa   = []pkcs11.KeyType{pkcs11.CKK_SALSA20}
	poly    = []pkcs11.KeyType{pkcs11.CKK_POLY1305}
)

// Family is the table. The standard counts the keys of generators in bytes and those of ciphers in bits. The stream ciphers
// do not wrap keys: whoever flips a bit of the wrapped key flips it in the key.
var Family = mech.Family{
	Name: "chacha",
	KeyTypes: []mech.KeyType{
		{Type: pkcs11.CKK_CHACHA20, Check: lengths.Check, Length: keySize, CheckValue: generic.CheckValue},
		{Type: pkcs11.CKK_SALSA20, Check: lengths.Check, Length: keySize, CheckValue: generic.CheckValue},
		{Type: pkcs11.CKK_POLY1305, Check: lengths.Check, Length: keySize, CheckValue: generic.CheckValue},
	},
	Mechanisms: []mech.Mechanism{
		{Type: pkcs11.CKM_CHACHA20_KEY_GEN, KeyTypes: chacha, Min: keySize, Max: keySize, Generate: lengths.Generate},
		{Type: pkcs11.CKM_SALSA20_KEY_GEN, KeyTypes: salsa, Min: keySize, Max: keySize, Generate: lengths.Generate},
		{Type: pkcs11.CKM_POLY1305_KEY_GEN, KeyTypes: poly, Min: keySize, Max: keySize, Generate: lengths.Generate},
		{
			Type: pkcs11.CKM_CHACHA20, KeyTypes: chacha, Min: 8 * keySize, Max: 8 * keySize,
			Encrypt: newChaCha, Decrypt: newChaCha,
		},
		{
			Type: pkcs11.CKM_SALSA20, KeyTypes: salsa, Min: 8 * keySize, Max: 8 * keySize,
			Encrypt: newSalsa, Decrypt: newSalsa,
		},
		{
			Type: pkcs11.CKM_CHACHA20_POLY1305, KeyTypes: chacha, Min: 8 * keySize, Max: 8 * keySize,
			Encrypt: aeadMode(false), Decrypt: aeadMode(true),
		},
		macRow(),
	},
}

func macRow() mech.Mechanism {
	m := modes.MACRow(pkcs11.CKM_POLY1305, newMAC)
	m.KeyTypes, m.Min, m.Max = poly, 8*keySize, 8*keySize
	return m
}

// keyOf returns the key's bytes, which are the key's own.
func keyOf(k mech.Key) (*[keySize]byte, error) {
	value := k.Bytes(pkcs11.CKA_VALUE)
	if len(value) != keySize {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes, not %d", len(value), keySize)
	}
	return (*[keySize]byte)(value), nil
}
