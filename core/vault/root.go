package vault

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/argon2"

	"github.com/coffer-hsm/coffer/core/secret"
)

const (
	rootFormat = 0x01
	rootDomain = "coffer-root/1"

	kdfArgon2id = 0x01
	kdfPBKDF2   = 0x02 // over HMAC-SHA-256

	saltSize     = 16
	headerSize   = 1 + 1 + 4 + 4 + 1 + saltSize // up to and with the salt
	wrappedSize  = headerSize + nonceSize + RootSize + tagSize
	maxTime      = 64
	maxMemoryKiB = 1 << 20 // 1 GiB
	maxThreads   = 16
	maxWorkKiB   = 4 << 20 // passes times memory

	minIterations = 1000 // SP 800-132, 5.2
	maxIterations = 10_000_000
)

// KDF is the cost of what turns a PIN into the key that wraps the root: of Argon2id, or of PBKDF2-HMAC-SHA-256 where
// Iterations is not 0.
type KDF struct {
	Time      uint32 // passes over the memory, 1 to 64
	MemoryKiB uint32 // 8 for each thread to 1 GiB
	Threads   uint8  // lanes, 1 to 16

	Iterations uint32 // of PBKDF2, 1000 to 10,000,000; then the others are 0
}

// DefaultKDF is the second recommended option of RFC 9106, section 4.
var DefaultKDF = KDF{Time: 3, MemoryKiB: 64 << 10, Threads: 4}

// FIPSKDF is for FIPS mode, where Argon2id is not approved. The count is what OWASP recommends for HMAC-SHA-256.
var FIPSKDF = KDF{Iterations: 600_000}

// KDFFor returns the default, in FIPS mode or out of it.
func KDFFor(fips bool) KDF {
	if fips {
		return FIPSKDF
	}
	return DefaultKDF
}

// check keeps a hostile file from making us allocate or compute without bound.
func (k KDF) check() error {
	switch {
	case k.Iterations != 0:
		if k != (KDF{Iterations: k.Iterations}) || k.Iterations < minIterations || k.Iterations > maxIterations {
			return fmt.Errorf("%w: %d iterations", ErrKDF, k.Iterations)
		}
		return nil
	case k.Time < 1 || k.Time > maxTime,
		k.Threads < 1 || k.Threads > maxThreads,
		k.MemoryKiB < 8*uint32(k.Threads) || k.MemoryKiB > maxMemoryKiB,
		uint64(k.Time)*uint64(k.MemoryKiB) > maxWorkKiB:
		return fmt.Errorf("%w: %d passes, %d KiB, %d threads", ErrKDF, k.Time, k.MemoryKiB, k.Threads)
	}
	return nil
}

// WrapRoot encrypts root under a key derived from pin. The label, for instance a user's, is bound in. Root and pin stay
// the caller's. Errors: ErrRoot for a root of another length, ErrKDF for a cost out of bounds.
func WrapRoot(root *secret.Bytes, pin []byte, kdf KDF, l Label) ([]byte, error) {
	defer kdf.giveBack()
	return wrap(root, pin, kdf, l)
}

func wrap(root *secret.Bytes, pin []byte, kdf KDF, l Label) ([]byte, error) {
	if root.Len() != RootSize {
		return nil, fmt.Errorf("%w, this one has %d", ErrRoot, root.Len())
	}
	if err := kdf.check(); err != nil {
		return nil, err
	}
	blob := make([]byte, headerSize, wrappedSize)
	kdf.putHeader(blob)
	if _, err := rand.Read(blob[11:headerSize]); err != nil {
		return nil, fmt.Errorf("vault: random bytes: %w", err)
	}
	key, err := kdf.derive(pin, blob[11:headerSize])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(blob, nil, root.Expose(), l.rootAAD(blob)), nil
}

// UnwrapRoot returns the root from a blob that WrapRoot made with the same pin and label. It takes as long and as much
// memory as the blob says, within the bounds of KDF. Errors: ErrWrongPIN when the blob does not authenticate, for
// whatever cause; ErrSealVersion for a later format or derivation; ErrSealBroken for a malformed blob.
func UnwrapRoot(blob, pin []byte, l Label) (*secret.Bytes, error) {
	root, kdf, err := unwrap(blob, pin, l)
	kdf.giveBack()
	return root, err
}

func unwrap(blob, pin []byte, l Label) (*secret.Bytes, KDF, error) {
	kdf, err := parseHeader(blob)
	if err != nil {
		return nil, KDF{}, err
	}
	header := blob[:headerSize]
	key, err := kdf.derive(pin, header[11:])
	if err != nil {
		return nil, kdf, err
	}
	defer secret.Wipe(key)
	aead, err := gcm(key)
	if err != nil {
		return nil, kdf, err
	}
	root, err := aead.Open(nil, nil, blob[headerSize:], l.rootAAD(header))
	if err != nil {
		return nil, kdf, ErrWrongPIN
	}
	return secret.Take(root), kdf, nil
}

// parseHeader checks everything about a blob that can be checked without the PIN.
func parseHeader(blob []byte) (KDF, error) {
	if len(blob) >= 2 && (blob[0] > rootFormat || blob[0] == rootFormat && blob[1] > kdfPBKDF2) {
		return KDF{}, fmt.Errorf("%w: root format %d, derivation %d", ErrSealVersion, blob[0], blob[1])
	}
	if len(blob) != wrappedSize || blob[0] != rootFormat || blob[1] < kdfArgon2id {
		return KDF{}, fmt.Errorf("%w: wrapped root of %d bytes, %d expected", ErrSealBroken, len(blob), wrappedSize)
	}
	kdf := KDF{
		Time:      binary.BigEndian.Uint32(blob[2:]),
		MemoryKiB: binary.BigEndian.Uint32(blob[6:]),
		Threads:   blob[10],
	}
	if blob[1] == kdfPBKDF2 {
		kdf.Iterations, kdf.Time = kdf.Time, 0 // none is refused as no passes are
	}
	if err := kdf.check(); err != nil {
		return KDF{}, fmt.Errorf("%w: %w", ErrSealBroken, err)
	}
	return kdf, nil
}

// putHeader writes which derivation it is, and its cost.
func (k KDF) putHeader(blob []byte) {
	blob[0], blob[1] = rootFormat, kdfArgon2id
	first := k.Time
	if k.Iterations != 0 {
		blob[1], first = kdfPBKDF2, k.Iterations
	}
	binary.BigEndian.PutUint32(blob[2:], first)
	binary.BigEndian.PutUint32(blob[6:], k.MemoryKiB)
	blob[10] = k.Threads
}

// derive turns a PIN into a key. PBKDF2 is the standard library's, which is part of its FIPS module and takes the PIN as a
// string: a copy that cannot be wiped.
func (k KDF) derive(pin, salt []byte) ([]byte, error) {
	if k.Iterations != 0 {
		return pbkdf2.Key(sha256.New, string(pin), salt, int(k.Iterations), 32)
	}
	return argon2.IDKey(pin, salt, k.Time, k.MemoryKiB, k.Threads, 32), nil
}

// returnFrom is the memory cost, in KiB, from which the memory is given back at once: the next collection of a small heap
// may be far, and the application's process would carry the 64 MiB of one login until then.
const returnFrom = 16 << 10

// giveBack returns the memory of a derivation to the system.
func (k KDF) giveBack() {
	if k.MemoryKiB >= returnFrom {
		debug.FreeOSMemory()
	}
}
