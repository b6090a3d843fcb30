package softhsm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/coffer-hsm/coffer/core/secret"
)

// The token's key is kept as salt, initialisation vector, and magic and key encrypted under a key made of the PIN.
const (
	saltLen    = 8
	keyLen     = 32
	iterations = 1500 // and the salt's last byte on top
	magic      = "RJR"
	sealedLen  = saltLen + aes.BlockSize + 3*aes.BlockSize
)

// Login opens the token with the user's PIN: ErrPIN, ErrNoPIN, ErrDamaged.
func (t *Token) Login(pin *secret.Bytes) error {
	switch {
	case len(t.user) == 0:
		return ErrNoPIN
	case len(t.user) != sealedLen:
		return fmt.Errorf("%w: the key under the PIN has %d bytes instead of %d", ErrDamaged, len(t.user), sealedLen)
	}
	under := keyOf(pin, t.user[:saltLen])
	defer under.Zero()
	b, err := decrypt(under, t.user[saltLen:])
	if err != nil {
		return ErrPIN // or the file is damaged; nobody can tell
	}
	defer secret.Wipe(b)
	if len(b) != len(magic)+keyLen || subtle.ConstantTimeCompare(b[:len(magic)], []byte(magic)) != 1 {
		return ErrPIN
	}
	t.key.Zero()
	t.key = secret.Copy(b[len(magic):])
	return nil
}

// keyOf makes a key of a PIN: SHA-256 over salt and PIN, and then over itself again and again. SoftHSM's sources call it
// RFC 4880; it is not what that says.
func keyOf(pin *secret.Bytes, salt []byte) *secret.Bytes {
	h := sha256.New()
	h.Write(salt)
	h.Write(pin.Expose())
	key := secret.New(keyLen)
	sum := key.Expose()
	h.Sum(sum[:0])
	for range iterations + int(salt[len(salt)-1]) - 1 {
		next := sha256.Sum256(sum)
		copy(sum, next[:])
		secret.Wipe(next[:])
	}
	return key
}

// decrypt opens AES-256-CBC with PKCS #7 padding; the initialisation vector comes first. Nothing protects it against
// change: who uses what comes out proves it by other means.
func decrypt(key *secret.Bytes, sealed []byte) ([]byte, error) {
	if key.Len() == 0 {
		return nil, fmt.Errorf("%w: without a login nothing private can be read", ErrPIN)
	}
	if len(sealed) < 2*aes.BlockSize || len(sealed)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no encrypted value", ErrDamaged, len(sealed))
	}
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, err
	}
	b := make([]byte, len(sealed)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(b, sealed[aes.BlockSize:])
	n := int(b[len(b)-1])
	good := n >= 1 && n <= aes.BlockSize
	for i := len(b) - min(max(n, 1), aes.BlockSize); i < len(b); i++ {
		good = good && int(b[i]) == n
	}
	if !good {
		secret.Wipe(b)
		return nil, fmt.Errorf("%w: the padding of an encrypted value is wrong", ErrDamaged)
	}
	return b[:len(b)-n], nil
}
