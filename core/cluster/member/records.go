package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
)

// The kinds of record that a cluster keeps of itself, and the beginnings of their keys. Each is sealed under a barrier of
// the root key, with its kind and identity bound in.
const (
	kindMember      = "member"      // Record
	kindInvite      = "invite"      // invitation
	kindAuthority   = "authority"   // a certificate authority with its key
	kindRevoked     = "revoked"     // a certificate of the store's peers that counts no more: revocation
	kindCertificate = "certificate" // a client's: certificate
)

const recordVersion = 1

// Where things are in the store of a cluster, all below coffer/CLUSTER/.
const (
	prefixToken   = "token/"   // the engine's
	prefixCluster = "cluster/" // this package's
	prefixLive    = "live/"    // one key with a lease for each node that is alive
)

// Vote says what part a member has in the store.
type Vote string

// The parts.
const (
	Standby Vote = "standby" // a client of the store
	Learner Vote = "learner" // has a copy, does not vote yet
	Voter   Vote = "voter"
)

// Record is what the cluster keeps of a member. Addresses are host:port.
type Record struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Zone         string `json:"zone,omitempty"`
	Address      string `json:"address,omitempty"` // for clients and other nodes
	PeerAddress  string `json:"peer_address,omitempty"`
	StoreAddress string `json:"store_address,omitempty"`
	PeerSerial   string `json:"peer_serial,omitempty"` // of its certificate among the store's peers, in hex
	// FormerSerials are those of the certificates before that one, which may be good for a while yet, the newest first, with
	// blanks in between.
	FormerSerials string `json:"former_peer_serials,omitempty"`
	Vote          Vote   `json:"vote"`
	Draining      bool   `json:"draining,omitempty"`
	StoreFailed   bool   `json:"store_failed,omitempty"` // its copy of the store has stopped by itself; its next start clears it
	Version       string `json:"version,omitempty"`
	Policy        string `json:"policy,omitempty"` // digest of the policy in force
	Joined        int64  `json:"joined"`           // Unix seconds

	revision int64 // of the store
}

// maxFormerSerials bounds them. A certificate is renewed in the last third of its time, so that one at most is still good.
const maxFormerSerials = 4

// renewPeer puts another certificate in the place of the one that the member still uses.
func (r *Record) renewPeer(used, next string) {
	former := strings.Fields(r.FormerSerials)
	if !slices.Contains(former, used) {
		former = slices.Insert(former, 0, used)
	}
	r.PeerSerial, r.FormerSerials = next, strings.Join(former[:min(len(former), maxFormerSerials)], " ")
}

// peerSerials are those of all certificates by which the store's peers may know the member, the newest first.
func (r *Record) peerSerials() []string { return strings.Fields(r.PeerSerial + " " + r.FormerSerials) }

// invitation is what a cluster remembers of a token that it gave out. It is deleted with its use.
type invitation struct {
	Secret  []byte `json:"secret"` // what pki needs to check the proof
	Expires int64  `json:"expires"`
}

// revocation is of a certificate whose member was removed; it is forgotten when the certificate has expired. That of the
// newest has the member's identity for its own, the others that and their serial number.
type revocation struct {
	Serial  string `json:"serial"`
	Expires int64  `json:"expires"`
}

// records reads and writes what a cluster keeps of itself.
type records struct {
	store   store.Store
	barrier *vault.Barrier
	log     func(error)

	mu   sync.Mutex
	seen atomic.Pointer[seenMembers]
}

// seenMembers are the members as they were at a generation of the store, or later.
type seenMembers struct {
	generation uint64
	list       []Record // in order of joining; not to be changed
}

// newRecords derives the barrier from the root, which it does not keep.
func newRecords(s store.Store, root *secret.Bytes, cluster string, log func(error)) (*records, error) {
	b, err := vault.NewBarrier(root, "cluster/"+cluster)
	if err != nil {
		return nil, err
	}
	return &records{store: s, barrier: b, log: log}, nil
}

func key(kind, id string) string { return kind + "/" + id }

func label(kind, id string) vault.Label {
	return vault.Label{Kind: kind, ID: id, Version: recordVersion}
}

// put returns the operation that stores v.
func (r *records) put(kind, id string, v any) (store.Op, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return store.Op{}, err
	}
	defer secret.Wipe(plain)
	sealed, err := r.barrier.Seal(label(kind, id), plain)
	return store.Op{Key: key(kind, id), Value: sealed}, err
}

// open decodes a record into v.
func (r *records) open(kind string, rec store.Record, v any) error {
	plain, err := r.barrier.Open(label(kind, strings.TrimPrefix(rec.Key, kind+"/")), rec.Value)
	if err != nil {
		return err
	}
	defer secret.Wipe(plain)
	return json.Unmarshal(plain, v)
}

// get reads one record; store.ErrNotFound.
func (r *records) get(ctx context.Context, kind, id string, v any) (revision int64, err error) {
	rec, err := r.store.Get(ctx, key(kind, id))
	if err != nil {
		return 0, err
	}
	return rec.Modified, r.open(kind, rec, v)
}

// members returns the members in order of joining, and costs a comparison while nothing has changed. What it returns is
// not to be changed. A record that cannot be read is logged and left out.
func (r *records) members(ctx context.Context) ([]Record, error) {
	generation := r.store.Changed()
	if seen := r.seen.Load(); seen != nil && seen.generation == generation {
		return seen.list, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	recs, _, err := r.store.List(ctx, kindMember+"/")
	if err != nil {
		return nil, err
	}
	list := make([]Record, 0, len(recs))
	for _, rec := range recs {
		var m Record
		if err := r.open(kindMember, rec, &m); err != nil {
			r.log(fmt.Errorf("the record %s of the cluster cannot be read and is passed over: %w", rec.Key, err))
			continue
		}
		m.revision = rec.Modified
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Record) int {
		if a.Joined != b.Joined {
			return int(a.Joined - b.Joined)
		}
		return strings.Compare(a.ID, b.ID)
	})
	r.seen.Store(&seenMembers{generation, list})
	return list, nil
}

// member returns one of them; ok is false where there is none of that id.
func (r *records) member(ctx context.Context, id string) (m Record, ok bool, err error) {
	list, err := r.members(ctx)
	if err != nil {
		return Record{}, false, err
	}
	i := slices.IndexFunc(list, func(m Record) bool { return m.ID == id })
	if i < 0 {
		return Record{}, false, nil
	}
	return list[i], true, nil
}

// errGone is answered to a change of a member that is not there (any more).
var errGone = errors.New("no member of the cluster has that identity")

// change applies f to a member's record, again where somebody else changed it meanwhile. f returns false where there is
// nothing to change.
func (r *records) change(ctx context.Context, id string, f func(*Record) bool) error {
	for {
		var m Record
		revision, err := r.get(ctx, kindMember, id, &m)
		if errors.Is(err, store.ErrNotFound) {
			return errGone
		}
		if err != nil {
			return err
		}
		if !f(&m) {
			return nil
		}
		op, err := r.put(kindMember, id, m)
		if err != nil {
			return err
		}
		_, err = r.store.Commit(ctx, []store.Compare{{Key: op.Key, Modified: revision}}, []store.Op{op})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// every reads the records of one kind with their ids; one that cannot be read is logged and left out.
func every[T any](ctx context.Context, r *records, kind string) (map[string]T, error) {
	recs, _, err := r.store.List(ctx, kind+"/")
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(recs))
	for _, rec := range recs {
		var v T
		if err := r.open(kind, rec, &v); err != nil {
			r.log(fmt.Errorf("the record %s of the cluster cannot be read and is passed over: %w", rec.Key, err))
			continue
		}
		out[strings.TrimPrefix(rec.Key, kind+"/")] = v
	}
	return out, nil
}
