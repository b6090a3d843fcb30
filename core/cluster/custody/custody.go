// Package custody is how a node's root key lies on its disk, and how it is opened when the daemon starts: by a key file, a
// passphrase, some of several people's shares, a credential of systemd's, or a key in another PKCS #11 module.
//
// What lies on the disk is bound to the cluster and the member: on another node it does not open.
package custody

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/vault"
)

// Binding is whose root key it is.
type Binding struct{ Cluster, Member string }

func (b Binding) label() vault.Label {
	return vault.Label{Kind: "node-root", ID: b.Cluster + "/" + b.Member, Version: 1}
}

// Method is a way to keep the key that opens the root. Names go into the sealed file.
type Method interface {
	// name is at most 16 letters.
	name() string
	// wrap makes a new key, and what is kept of it beside the sealed root.
	wrap(ctx context.Context, b Binding) (key *secret.Bytes, kept []byte, err error)
	// unwrap gives the key again.
	unwrap(ctx context.Context, b Binding, kept []byte) (*secret.Bytes, error)
	// guessable says that the key is what a person has thought of.
	guessable() bool
}

// What can be wrong with a sealed root.
var (
	ErrMethod  = errors.New("the root key on this disk was sealed by another method")
	ErrDamaged = errors.New("the sealed root key is damaged, or of a later version")
	ErrKey     = errors.New("this does not open the root key")
)

const (
	format  = 1
	maxKept = 1 << 16
)

// derivation is how a key becomes the one that seals the root: a random one needs nothing slow, a passphrase does. In FIPS
// mode both are by PBKDF2.
func derivation(guessable, fips bool) vault.KDF {
	switch {
	case guessable:
		return vault.KDFFor(fips)
	case fips:
		return vault.KDF{Iterations: 1000}
	}
	return vault.KDF{Time: 1, MemoryKiB: 8, Threads: 1}
}

// Seal returns what may lie on the disk. The root stays the caller's.
func Seal(ctx context.Context, root *secret.Bytes, b Binding, m Method) ([]byte, error) {
	key, kept, err := m.wrap(ctx, b)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	blob, err := vault.WrapRoot(root, key.Expose(), derivation(m.guessable(), fips140.Enabled()), b.label())
	if err != nil {
		return nil, err
	}
	return envelope{m.name(), kept, blob}.marshal()
}

// Unseal returns the root, which is the caller's to wipe. ErrMethod, ErrDamaged, ErrKey, and what the method meets.
func Unseal(ctx context.Context, sealed []byte, b Binding, m Method) (*secret.Bytes, error) {
	e, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	if e.method != m.name() {
		return nil, fmt.Errorf("%w: %q, and the configuration says %q; correct [unseal] in the node's configuration", ErrMethod, e.method, m.name())
	}
	key, err := m.unwrap(ctx, b, e.kept)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	root, err := vault.UnwrapRoot(e.blob, key.Expose(), b.label())
	switch {
	case errors.Is(err, vault.ErrWrongPIN):
		return nil, fmt.Errorf("%w; it is another node's, or the %s is not the one that it was sealed with", ErrKey, m.name())
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return root, nil
}

// Rewrap seals a root anew by another method, or by the same one with a new key: the root is in memory only. What was
// sealed before still opens by the old method until its file is destroyed.
func Rewrap(ctx context.Context, sealed []byte, b Binding, from, to Method) ([]byte, error) {
	root, err := Unseal(ctx, sealed, b, from)
	if err != nil {
		return nil, err
	}
	defer root.Zero()
	return Seal(ctx, root, b, to)
}

// MethodOf returns the name of the method by which a root is sealed: "file", "passphrase", "shares", "credential" or
// "pkcs11". ErrDamaged.
func MethodOf(sealed []byte) (string, error) {
	e, err := parse(sealed)
	return e.method, err
}

// envelope is what lies on the disk.
type envelope struct {
	method string
	kept   []byte // the method's own
	blob   []byte // the root, wrapped
}

func (e envelope) marshal() ([]byte, error) {
	var out cryptobyte.Builder
	out.AddUint8(format)
	out.AddUint8LengthPrefixed(func(o *cryptobyte.Builder) { o.AddBytes([]byte(e.method)) })
	out.AddUint24LengthPrefixed(func(o *cryptobyte.Builder) { o.AddBytes(e.kept) })
	out.AddUint24LengthPrefixed(func(o *cryptobyte.Builder) { o.AddBytes(e.blob) })
	return out.Bytes()
}

func parse(sealed []byte) (e envelope, err error) {
	s := cryptobyte.String(sealed)
	var version uint8
	var name, kept, blob cryptobyte.String
	if s.ReadUint8(&version) && version > format {
		return e, fmt.Errorf("%w: it has version %d, and this program knows %d; use the program that wrote it", ErrDamaged, version, format)
	}
	if version != format || !s.ReadUint8LengthPrefixed(&name) || !s.ReadUint24LengthPrefixed(&kept) ||
		!s.ReadUint24LengthPrefixed(&blob) || !s.Empty() || len(kept) > maxKept {
		return e, fmt.Errorf("%w; put it back from a backup, or zeroize this node and have it join again", ErrDamaged)
	}
	return envelope{string(name), kept, blob}, nil
}

// keySize is the length in bytes of keys that are made here.
const keySize = 32

func newKey() *secret.Bytes {
	k := secret.New(keySize)
	rand.Read(k.Expose())
	return k
}
