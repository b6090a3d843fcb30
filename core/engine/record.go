package engine

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// An object's record (docs/storage-format.md, "Object records"): a format byte, flags, the version counter, and the two
// sealed parts. The counter is bound into the head's seal; the secret part never changes and has a label of its own, so
// that neither part opens in the other's place.
const (
	recordFormat = 1
	flagPrivate  = 1
	flagNode     = 2 // sealed by a node: whether it is private is not said
)

func headLabel(id string, counter uint32) vault.Label {
	return vault.Label{Kind: "object-head", ID: id, Version: counter}
}

func secretLabel(id string) vault.Label {
	return vault.Label{Kind: "object-secret", ID: id, Version: 1}
}

// record is a decoded, still sealed record.
type record struct {
	private bool
	node    bool
	counter uint32
	head    []byte
	secret  []byte // nil: the object has no secret part
}

func (r record) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(recordFormat)
	var flags uint8
	if r.private {
		flags |= flagPrivate
	}
	if r.node {
		flags = flagNode
	}
	b.AddUint8(flags)
	b.AddUint32(r.counter)
	for _, part := range [][]byte{r.head, r.secret} {
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(part) })
	}
	return b.Bytes()
}

func parseRecord(b []byte) (record, error) {
	var r record
	var format, flags uint8
	s := cryptobyte.String(b)
	if !s.ReadUint8(&format) {
		return r, fmt.Errorf("%w: empty object record", store.ErrDamaged)
	}
	if format != recordFormat {
		return r, fmt.Errorf("%w: object record of format %d, this build knows %d", store.ErrVersion, format, recordFormat)
	}
	ok := s.ReadUint8(&flags) && s.ReadUint32(&r.counter)
	for _, part := range []*[]byte{&r.head, &r.secret} {
		var n uint32
		ok = ok && s.ReadUint32(&n) && uint64(n) <= uint64(len(s)) && s.ReadBytes(part, int(n))
	}
	if !ok || len(s) != 0 || flags > flagNode || len(r.head) == 0 {
		return r, fmt.Errorf("%w: object record", store.ErrDamaged)
	}
	if len(r.secret) == 0 {
		r.secret = nil
	}
	r.private, r.node = flags == flagPrivate, flags == flagNode
	return r, nil
}

// sealHead seals an object's head under b.
func sealHead(b *vault.Barrier, o *object.Object, counter uint32) ([]byte, error) {
	plain, err := object.Marshal(o.Attributes())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	return b.Seal(headLabel(o.ID(), counter), plain)
}

// sealSecret seals the secret part; nil for an object that has none.
func sealSecret(b *vault.Barrier, id string, t pkcs11.Template) ([]byte, error) {
	if len(t) == 0 {
		return nil, nil
	}
	plain, err := object.Marshal(t)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	return b.Seal(secretLabel(id), plain)
}

// openHead opens a record's head. It shares with pool's others what it has in common with them, and keeps id's memory.
func openHead(b *vault.Barrier, pool *object.Pool, id string, r record) (*object.Object, error) {
	plain, err := b.Open(headLabel(id, r.counter), r.head)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain) // a private data object's value is here
	t, err := object.Unmarshal(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: object %s: %v", store.ErrDamaged, id, err)
	}
	o, err := pool.Load(id, t)
	if err != nil {
		return nil, err
	}
	// The key of public objects is no secret, so who may write the file may have made this head.
	if o.ID() != id || !r.node && o.Private() != r.private || !o.Token() {
		return nil, fmt.Errorf("%w: object %s: the head is another object's", store.ErrDamaged, id)
	}
	return o, nil
}
