package vault

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

const (
	nameDomain = "coffer/name/1"
	nameSize   = 16
)

// Name returns 32 hex digits that stand for id among those of its kind, always the same under one root and token. Who does
// not have the root can neither compute them nor tell what they stand for. ErrSealed after Destroy.
func (b *Barrier) Name(kind, id string) (string, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.key == nil {
		return "", ErrSealed
	}
	info := string(appendStrings(nil, nameDomain, b.token, kind, id))
	name, err := hkdf.Expand(sha256.New, b.key.Expose(), info, nameSize)
	if err != nil {
		return "", fmt.Errorf("vault: HKDF-Expand: %w", err)
	}
	return hex.EncodeToString(name), nil
}
