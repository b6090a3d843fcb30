package vault

import (
	"bytes"
	"crypto/sha256"
)

// StampSize is how much longer a stamped record is, in bytes.
const StampSize = sha256.Size

// Stamp puts the SHA-256 of a record in front of it. It is for the few records that must be readable before anybody has
// logged in and so cannot be sealed: damage is noticed. It proves nothing about who wrote the record.
func Stamp(record []byte) []byte {
	sum := sha256.Sum256(record)
	return append(sum[:], record...)
}

// Unstamp checks a stamped record and returns it without the stamp; ErrSealBroken if it is not what was stamped.
func Unstamp(stamped []byte) ([]byte, error) {
	if len(stamped) < StampSize {
		return nil, ErrSealBroken
	}
	sum := sha256.Sum256(stamped[StampSize:])
	if !bytes.Equal(sum[:], stamped[:StampSize]) {
		return nil, ErrSealBroken
	}
	return stamped[StampSize:], nil
}
