package store

import (
	"fmt"
	"strings"
)

// Limits of every store, so that what one takes another takes too.
const (
	MaxKey   = 255     // bytes of a key
	MaxValue = 1 << 20 // bytes of a value
	MaxOps   = 128     // compares and ops of one commit together
)

// CheckKey returns ErrInvalid unless key has 1 to MaxKey bytes, each from '!' to '~'.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: empty key", ErrInvalid)
	}
	return CheckPrefix(key)
}

// CheckPrefix is CheckKey for a prefix, which may be empty.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrInvalid, len(prefix), MaxKey)
	}
	if i := strings.IndexFunc(prefix, func(r rune) bool { return r < '!' || r > '~' }); i >= 0 {
		return fmt.Errorf("%w: key %q has a character out of range at byte %d", ErrInvalid, prefix, i)
	}
	return nil
}

// Check returns ErrInvalid for a commit that is too large, or names a key that is none or is named twice among the
// compares or among the ops.
func Check(compares []Compare, ops []Op) error {
	if n := len(compares) + len(ops); n > MaxOps {
		return fmt.Errorf("%w: %d compares and ops, at most %d", ErrInvalid, n, MaxOps)
	}
	seen := make(map[string]bool, len(compares))
	for _, c := range compares {
		if err := checkOnce(seen, c.Key); err != nil {
			return err
		}
		if c.Modified < 0 {
			return fmt.Errorf("%w: compare of %s with revision %d", ErrInvalid, c.Key, c.Modified)
		}
	}
	clear(seen)
	for _, op := range ops {
		if err := checkOnce(seen, op.Key); err != nil {
			return err
		}
		if len(op.Value) > MaxValue {
			return fmt.Errorf("%w: value of %s has %d bytes, at most %d", ErrInvalid, op.Key, len(op.Value), MaxValue)
		}
		if op.Delete && op.Value != nil {
			return fmt.Errorf("%w: deletion of %s has a value", ErrInvalid, op.Key)
		}
	}
	return nil
}

func checkOnce(seen map[string]bool, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if seen[key] {
		return fmt.Errorf("%w: key %s named twice", ErrInvalid, key)
	}
	seen[key] = true
	return nil
}
