package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// compared is the last digest of the token objects in memory, which holds until something is committed: who asks again and
// again has nothing computed anew.
type compared struct {
	mu              sync.Mutex
	known           bool
	revision        int64
	sum             []byte
	public, private int // objects
}

// copied is a token object as it was at one revision.
type copied struct {
	of  *entry
	was *version
}

// lookEach is how many objects are hashed between two looks whether anybody still waits.
const lookEach = 1024

// Digest hashes the token objects in memory, in the order of their identities: for each the identity, the version counter,
// the revision and the hash of its sealed record. Nodes at the same revision with the same objects give the same sum. It is
// keyed, so that who may not see private objects cannot compare it with one of his own making; only those that the caller
// may see are counted. Others wait while the objects are listed, and not while they are hashed, but for who asks for a digest too.
func (e *Engine) Digest(ctx context.Context, cred hsm.Credential) (sum []byte, objects int, revision int64, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, 0, 0, errNotNode
	}
	role, err := e.role(cred)
	if err != nil {
		return nil, 0, 0, err
	}
	d := &e.compared
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := e.compare(ctx, d); err != nil {
		return nil, 0, 0, err
	}
	if role.May(auth.ReadPublic) {
		objects += d.public
	}
	if role.May(auth.ReadPrivate) {
		objects += d.private
	}
	return slices.Clone(d.sum), objects, d.revision, nil
}

// compare makes d that of now. The caller holds d's lock.
func (e *Engine) compare(ctx context.Context, d *compared) error {
	all, revision, err := e.copies(d)
	if err != nil || d.known && d.revision == revision {
		return err
	}
	d.known = false
	slices.SortFunc(all, func(a, b copied) int { return strings.Compare(a.of.id, b.of.id) })
	h := sha256.New()
	var b []byte
	var counts [2]int
	for i, c := range all {
		if i%lookEach == 0 && ctx.Err() != nil {
			return pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "nobody waits for the digest any more: %w", ctx.Err())
		}
		counts[pick(c.of.private, 1, 0)]++
		b = append(b[:0], c.of.id...)
		b = binary.BigEndian.AppendUint32(b, c.was.counter)
		b = binary.BigEndian.AppendUint64(b, uint64(c.was.revision))
		b = append(b, c.was.sum[:]...)
		h.Write(b)
	}
	name, err := e.node.cluster.Name("digest", hex.EncodeToString(h.Sum(nil)))
	if err != nil {
		return err
	}
	if d.sum, err = hex.DecodeString(name); err != nil {
		return err
	}
	d.known, d.revision, d.public, d.private = true, revision, counts[0], counts[1]
	return nil
}

// copies lists the token objects as they are now, and the revision; none if that is d's already.
func (e *Engine) copies(d *compared) (all []copied, revision int64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refreshLocked(); err != nil && !errors.Is(err, errNoToken) {
		return nil, 0, err
	}
	if d.known && d.revision == e.revision {
		return nil, e.revision, nil
	}
	entries := e.objects.Candidates(nil)
	all = make([]copied, 0, len(entries))
	for _, n := range entries {
		if v := n.current.Load(); v != nil {
			all = append(all, copied{n, v})
		}
	}
	return all, e.revision, nil
}
