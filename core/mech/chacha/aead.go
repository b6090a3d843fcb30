package chacha

import (
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/poly1305" //nolint:staticcheck // the standard's mechanism is the bare authenticator

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// AEAD returns a key's ChaCha20-Poly1305 (RFC 8439) for nonces of 12 bytes, or XChaCha20-Poly1305 for ones of 24;
// CKR_MECHANISM_PARAM_INVALID for others. Its tags have 16 bytes. It may be used by many goroutines at once.
//
// Deviation: the standard also names a variant with nonces of 8 bytes, which no library that we rely on has.
func AEAD(k mech.Key, nonce int) (cipher.AEAD, error) {
	create := chacha20poly1305.New
	switch nonce {
	case chacha20poly1305.NonceSize:
	case chacha20poly1305.NonceSizeX:
		create = chacha20poly1305.NewX
	default:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a nonce of %d bytes; want 12 or 24", nonce)
	}
	key, err := keyOf(k)
	if err != nil {
		return nil, err
	}
	aead, err := create(key[:])
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "%w", err) // not in FIPS mode
	}
	return aead, nil
}

// aeadMost is how much one operation seals, in bytes: RFC 8439, 2.8.
const aeadMost = (1<<32 - 1) * blockSize

// aeadMode reads CK_SALSA20_CHACHA20_POLY1305_PARAMS.
func aeadMode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := modes.StructParam[pkcs11.Poly1305Params](param)
		if err != nil {
			return nil, err
		}
		aead, err := AEAD(k, len(p.Nonce))
		if err != nil {
			return nil, err
		}
		return modes.NewAEAD(aead, p.Nonce, p.AAD, -1, decrypt).AtMost(aeadMost), nil
	}
}

// mac is one operation of Poly1305. A key is good for one message only: two tags under one key give it away.
type mac struct {
	state *poly1305.MAC
	tag   [poly1305.TagSize]byte
}

func newMAC(k mech.Key, param any) (*mac, error) {
	if err := modes.NoParam(param); err != nil {
		return nil, err
	}
	key, err := keyOf(k)
	if err != nil {
		return nil, err
	}
	return &mac{state: poly1305.New(key)}, nil
}

func (m *mac) Size() int { return poly1305.TagSize }

func (m *mac) Update(part []byte) error {
	_, err := m.state.Write(part)
	return err
}

func (m *mac) Finish(dst, part []byte) ([]byte, error) {
	m.state.Write(part) //nolint:errcheck // never fails
	return m.state.Sum(dst), nil
}

func (m *mac) Verify(part, signature []byte) error {
	return modes.VerifyTag(poly1305.TagSize, signature, func() ([]byte, error) { return m.Finish(m.tag[:0], part) })
}

// Close wipes the tag and the state, in which the key is.
func (m *mac) Close() {
	clear(m.tag[:])
	*m.state = poly1305.MAC{}
}
