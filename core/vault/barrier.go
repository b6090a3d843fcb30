// Package vault turns plaintext records into sealed blobs and back: the key hierarchy of docs/storage-format.md, and no
// input or output. Above it is plaintext, below it ciphertext.
//
// The caller owns every secret.Bytes that it hands in or is handed out. A Barrier may be used by several goroutines at
// once, Destroy included.
//
// What Go's AES keeps of a key schedule cannot be reached and is left to the garbage collector; every other temporary
// is wiped.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/coffer-hsm/coffer/core/secret"
)

// The ways in which a blob does not open.
var (
	ErrSealBroken  = errors.New("vault: sealed data is damaged or belongs elsewhere")
	ErrSealVersion = errors.New("vault: sealed data has an unknown format")
	ErrWrongPIN    = errors.New("vault: wrong PIN")
	ErrSealed      = errors.New("vault: the barrier is closed") // used after Destroy
	ErrRoot        = errors.New("vault: a root key has 32 bytes")
	ErrKDF         = errors.New("vault: key derivation cost out of bounds")
)

// RootSize is the length of a root key in bytes.
const RootSize = 32

const (
	sealFormat = 0x01
	nonceSize  = 12
	tagSize    = 16
	// Overhead is by how many bytes a sealed record is longer than its plaintext.
	Overhead = 1 + nonceSize + tagSize

	barrierSalt  = "coffer/barrier/1"
	recordDomain = "coffer/record/1"
)

// NewRoot returns RootSize random bytes.
func NewRoot() (*secret.Bytes, error) {
	root := secret.New(RootSize)
	if _, err := rand.Read(root.Expose()); err != nil {
		return nil, fmt.Errorf("vault: random bytes: %w", err)
	}
	return root, nil
}

// Barrier seals the records of one token under keys derived from its root.
type Barrier struct {
	token string

	mu  sync.RWMutex
	key *secret.Bytes // the token key; nil after Destroy
}

// NewBarrier derives the token key from root, which it does not keep. Token is the token's identity; blobs sealed for
// another one do not open. A root of another length is ErrRoot.
func NewBarrier(root *secret.Bytes, token string) (*Barrier, error) {
	if root.Len() != RootSize {
		return nil, fmt.Errorf("%w, this one has %d", ErrRoot, root.Len())
	}
	prk, err := hkdf.Extract(sha256.New, root.Expose(), []byte(barrierSalt))
	if err != nil {
		return nil, fmt.Errorf("vault: HKDF-Extract: %w", err)
	}
	return &Barrier{token: token, key: secret.Take(prk)}, nil
}

// Seal encrypts plaintext for the record that l names; the blob is Overhead bytes longer. The plaintext stays the
// caller's.
func (b *Barrier) Seal(l Label, plaintext []byte) ([]byte, error) {
	aead, err := b.aead(l)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1, Overhead+len(plaintext))
	out[0] = sealFormat
	return aead.Seal(out, nil, plaintext, l.recordAAD(b.token)), nil
}

// Open returns the plaintext of a blob that Seal made with the same label, token and root. The caller wipes it.
// Errors: ErrSealBroken, ErrSealVersion, ErrSealed.
func (b *Barrier) Open(l Label, sealed []byte) ([]byte, error) {
	if len(sealed) > 0 && sealed[0] > sealFormat {
		return nil, fmt.Errorf("%w: %d, known up to %d", ErrSealVersion, sealed[0], sealFormat)
	}
	if len(sealed) < Overhead || sealed[0] != sealFormat {
		return nil, fmt.Errorf("%w: %s has %d bytes, at least %d expected", ErrSealBroken, l, len(sealed), Overhead)
	}
	aead, err := b.aead(l)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed[1:], l.recordAAD(b.token))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrSealBroken, l)
	}
	return plaintext, nil
}

// Destroy wipes the token key; Seal and Open then answer ErrSealed. It waits for calls that are using it.
func (b *Barrier) Destroy() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.key.Zero()
	b.key = nil
}

// aead returns the cipher of one record.
func (b *Barrier) aead(l Label) (cipher.AEAD, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.key == nil {
		return nil, ErrSealed
	}
	key, err := hkdf.Expand(sha256.New, b.key.Expose(), l.recordInfo(b.token), 32)
	if err != nil {
		return nil, fmt.Errorf("vault: HKDF-Expand: %w", err)
	}
	defer secret.Wipe(key)
	return gcm(key)
}

// gcm returns AES-GCM that chooses its own nonce and puts it in front of the ciphertext (SP 800-38D, 8.2.2).
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("vault: AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("vault: GCM: %w", err)
	}
	return aead, nil
}
