package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// NodeOptions are what an engine needs to hold a token by itself, for callers on other machines.
type NodeOptions struct {
	// Root is the root key, the same on all nodes of a cluster. The engine makes its own copy.
	Root *secret.Bytes
	// Serial is the token's serial number, 16 hex digits: the cluster's, the same as long as it lives.
	Serial string
	// Model is what C_GetTokenInfo answers, at most 16 bytes; empty: "Coffer cluster".
	Model string
	// CredentialLifetime is how long a login goes on without being renewed; 0: 30 minutes.
	CredentialLifetime time.Duration
	// Settle returns once all that was committed up to a revision is on every node: an answer that rests on a change must
	// not be undone by the next node's. It is cheap where that is known. nil: there are no others.
	Settle func(ctx context.Context, revision int64) error
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

const (
	clusterModel      = "Coffer cluster"
	credentialDefault = 30 * time.Minute

	// loginsAtOnce bounds the memory that checking PINs takes: 64 MiB each.
	loginsAtOnce = 2

	// Of session objects and credentials, opened ones are kept for the next request.
	sessionObjectsKept = 4096
	credentialsKept    = 4096

	incarnationSize = 16
)

// node is what the engine of a node has that an embedded one has not. Its methods that end something may be called on nil.
type node struct {
	opts    NodeOptions
	root    *secret.Bytes
	cluster *vault.Barrier // of all that outlives C_InitToken
	none    *objectKeys    // while there is no token

	keys        atomic.Pointer[objectKeys]
	sessions    *cache[kept]
	credentials *cache[*credential]
}

// objectKeys seal what belongs to one life of the token.
type objectKeys struct {
	life    string
	barrier *vault.Barrier
}

func newNode(o *NodeOptions) (*node, error) {
	if len(o.Serial) != 16 || strings.Trim(o.Serial, "0123456789ABCDEFabcdef") != "" {
		return nil, fmt.Errorf("engine: the serial %q of a node has 16 hex digits", o.Serial)
	}
	n := &node{opts: *o, sessions: newCache(sessionObjectsKept, kept.release), credentials: newCache[*credential](credentialsKept, nil)}
	if n.opts.Model == "" {
		n.opts.Model = clusterModel
	}
	if n.opts.CredentialLifetime <= 0 {
		n.opts.CredentialLifetime = credentialDefault
	}
	if n.opts.Now == nil {
		n.opts.Now = time.Now
	}
	var err error
	if n.cluster, err = vault.NewBarrier(o.Root, o.Serial); err != nil {
		return nil, err
	}
	n.root = o.Root.Clone()
	if n.none, err = n.objectKeys(""); err != nil {
		return nil, err
	}
	n.keys.Store(n.none)
	return n, nil
}

func (n *node) objectKeys(life string) (*objectKeys, error) {
	b, err := vault.NewBarrier(n.root, n.opts.Serial+"/"+life)
	return &objectKeys{life, b}, err
}

// unseal derives the barrier of a token's objects.
func (n *node) unseal(h header) (*vault.Barrier, error) {
	k, err := n.objectKeys(h.life)
	if err != nil {
		return nil, err
	}
	n.keys.Store(k)
	return k.barrier, nil
}

// forget ends what belongs to the token that was there; its barrier is the engine's to destroy.
func (n *node) forget() {
	if n == nil {
		return
	}
	n.keys.Store(n.none)
	n.sessions.purge()
	n.credentials.purge()
}

func (n *node) close() {
	if n == nil {
		return
	}
	n.root.Zero()
	n.cluster.Destroy()
	n.none.barrier.Destroy()
}

func (n *node) now() int64 { return n.opts.Now().Unix() }

// nodeHeader is the token's record on a node.
type nodeHeader struct {
	Format      int    `json:"format"`
	Serial      string `json:"serial"`
	Label       string `json:"label"`
	Incarnation string `json:"incarnation"`
	Activated   bool   `json:"activated"`
}

const nodeHeaderFormat = 2

var tokenLabel = vault.Label{Kind: "token", Version: 1}

func newIncarnation() string {
	b := make([]byte, incarnationSize)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newHeader is the header of a token that begins.
func (n *node) newHeader(label string, dormant bool) header {
	h := header{Serial: n.opts.Serial, Label: strings.TrimRight(label, " "), life: newIncarnation(), dormant: dormant}
	h.identity = h.Serial + "/" + h.life
	return h
}

func (n *node) sealHeader(h header) (store.Op, error) {
	plain, err := json.Marshal(nodeHeader{nodeHeaderFormat, h.Serial, h.Label, h.life, !h.dormant})
	if err != nil {
		return store.Op{}, err
	}
	sealed, err := n.cluster.Seal(tokenLabel, plain)
	return store.Op{Key: tokenKey, Value: sealed}, err
}

func (n *node) openHeader(sealed []byte) (header, error) {
	plain, err := n.cluster.Open(tokenLabel, sealed)
	if err != nil {
		return header{}, fmt.Errorf("the token's record does not open: it is damaged, or the root key or serial is another cluster's: %w", err)
	}
	var h nodeHeader
	if err := json.Unmarshal(plain, &h); err != nil {
		return header{}, fmt.Errorf("%w: token record: %v", store.ErrDamaged, err)
	}
	if h.Format != nodeHeaderFormat {
		return header{}, fmt.Errorf("%w: token record of format %d, this build knows %d", store.ErrVersion, h.Format, nodeHeaderFormat)
	}
	if h.Serial != n.opts.Serial || len(h.Incarnation) != 2*incarnationSize {
		return header{}, fmt.Errorf("%w: token record out of range", store.ErrDamaged)
	}
	return header{Serial: h.Serial, Label: h.Label, identity: h.Serial + "/" + h.Incarnation, life: h.Incarnation, dormant: !h.Activated}, nil
}

// newToken makes the records of a token without objects.
func (n *node) newToken(soPIN []byte, kdf vault.KDF, h header, so auth.Account) ([]store.Op, error) {
	head, err := n.sealHeader(h)
	if err != nil {
		return nil, err
	}
	verifier, err := vault.NewVerifier(soPIN, kdf, pinLabel(so, h))
	if err != nil {
		return nil, err
	}
	user, err := n.sealUser(h, so.Record, &auth.User{Epoch: 1, Root: verifier, Type: so.User, Role: so.Role.String()})
	if err != nil {
		return nil, err
	}
	kept, err := n.sealPromise(true)
	return []store.Op{head, {Key: so.Record, Value: user}, kept}, err
}

// userRecord is the key of a user's record: it tells who has the root, and nobody else, whose it is.
func (n *node) userRecord(user pkcs11.UserType, name string) (string, error) {
	tag, err := n.cluster.Name("user", fmt.Sprintf("%d:%s", user, name))
	return userPrefix + tag, err
}

func userLabel(h header, key string) vault.Label {
	return vault.Label{Kind: "user", ID: key + "@" + h.life, Version: 1}
}

func (n *node) sealUser(h header, key string, u *auth.User) ([]byte, error) {
	plain, err := u.MarshalSealed()
	if err != nil {
		return nil, err
	}
	return n.cluster.Seal(userLabel(h, key), plain)
}

func (n *node) openUser(h header, rec store.Record) (userView, error) {
	plain, err := n.cluster.Open(userLabel(h, rec.Key), rec.Value)
	if err != nil {
		return userView{}, fmt.Errorf("the user's record %s does not open: %w", rec.Key, err)
	}
	u, account, role, err := auth.OpenUser(plain)
	if err != nil {
		return userView{}, fmt.Errorf("%w: %s: %w", store.ErrDamaged, rec.Key, err)
	}
	if u.Name != "" {
		account = account.Named(u.Name, rec.Key)
	}
	return userView{u, account, role, rec.Modified}, nil
}

// portable blobs: a random part of the label in front, so that each has a key of its own.
const blobID = 16

// sealBlob seals what leaves the node; more is what the blob is bound to besides.
func sealBlob(b *vault.Barrier, kind, more string, plain []byte) ([]byte, error) {
	id := make([]byte, blobID)
	rand.Read(id)
	sealed, err := b.Seal(vault.Label{Kind: kind, ID: hex.EncodeToString(id) + more, Version: 1}, plain)
	if err != nil {
		return nil, err
	}
	return append(id, sealed...), nil
}

func openBlob(b *vault.Barrier, kind, more string, blob []byte) ([]byte, error) {
	if len(blob) < blobID {
		return nil, fmt.Errorf("%w: %s of %d bytes", vault.ErrSealBroken, kind, len(blob))
	}
	return b.Open(vault.Label{Kind: kind, ID: hex.EncodeToString(blob[:blobID]) + more, Version: 1}, blob[blobID:])
}

// joined puts strings together so that no two lists give the same bytes.
func joined(list ...[]byte) []byte {
	size := 0
	for _, s := range list {
		size += 4 + len(s)
	}
	out := make([]byte, 0, size)
	for _, s := range list {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}

// settleLimit bounds the asking of other nodes; who asks for longer is told to ask elsewhere before.
const settleLimit = 10 * time.Second

// settle returns once all nodes have what was committed up to a revision. It may be called on nil.
func (n *node) settle(revision int64) error {
	if n == nil || n.opts.Settle == nil || revision == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
	defer cancel()
	return n.opts.Settle(ctx, revision)
}
