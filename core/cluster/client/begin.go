package client

import (
	"context"
	"sync"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// beginCache remembers what nodes have said of operations that may be, so that an Init that is repeated costs no round
// trip. It is no authority: each step of an operation is checked again by the node that does it. An answer is good for
// as long as nothing is known to have changed, and for a second at most; a refusal is not kept.
type beginCache struct {
	mu   sync.Mutex
	said map[beginKey]begun
}

// beginKey is all that the answer depends on.
type beginKey struct {
	cred      *credential
	kind      hsm.OpKind
	mechanism uint64
	parameter string
	id        string
	form      *form // of a session object
}

type begun struct {
	what     hsm.Description
	at       int64
	revision int64
}

const maxBegun = 256

func (b *beginCache) get(k beginKey, now, revision int64) (hsm.Description, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.said[k]
	// What a node says of a digest depends on no key, no user and no record.
	if !ok || k.kind != hsm.OpDigest && (e.revision != revision || now-e.at >= cacheTime) {
		return hsm.Description{}, false
	}
	return e.what, true
}

func (b *beginCache) put(k beginKey, e begun) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.said == nil {
		b.said = map[beginKey]begun{}
	}
	if _, there := b.said[k]; !there && len(b.said) >= maxBegun {
		b.makeRoom(e.at)
	}
	b.said[k] = e
}

// makeRoom removes what is too old, or else any one.
func (b *beginCache) makeRoom(now int64) {
	for k, e := range b.said {
		if now-e.at >= cacheTime {
			delete(b.said, k)
		}
	}
	for k := range b.said {
		if len(b.said) < maxBegun {
			return
		}
		delete(b.said, k)
	}
}

// forget removes what was said to a credential that has ended.
func (b *beginCache) forget(cred *credential) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.said {
		if k.cred == cred {
			delete(b.said, k)
		}
	}
}

// likeness is what the answer to Begin depends on of a parameter: messages that differ in their vectors alone are asked for
// once.
func likeness(m pkcs11.Mechanism, how *wire.Mechanism) (string, error) {
	if p, ok := m.Params.(interface{ Alike() any }); ok && how.Kind != "" {
		var err error
		if how, err = wire.FromMechanism(pkcs11.Mechanism{Type: m.Type, Params: p.Alike()}); err != nil {
			return "", err
		}
	}
	if how.Kind == "" {
		return "", nil
	}
	return how.Kind + "\x00" + string(how.Parameter), nil
}

// Begin starts an operation. PKCS#11 v3.2, C_EncryptInit and its siblings.
func (c *Client) Begin(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) (hsm.Operation, error) {
	if kind >= hsm.NumOpKinds {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "operation of kind %d", uint8(kind))
	}
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	how, err := wire.FromMechanism(m)
	if err != nil {
		return nil, err
	}
	op := running{client: c, cred: k, kind: kind, mechanism: how}
	lookup := beginKey{kind: kind, mechanism: how.Type}
	if lookup.parameter, err = likeness(m, how); err != nil {
		return nil, err
	}
	if kind != hsm.OpDigest {
		o, f, err := c.formOf(key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		op.key, op.private = f.wire, o.private
		lookup.cred, lookup.id = k, o.id
		if !o.token {
			lookup.form = f
		}
	}
	revision := c.seen.Load()
	now := c.now()
	if d, ok := c.begins.get(lookup, now, revision); ok {
		return op.start(d), nil
	}
	r, err := c.do(ctx, stepping, k, &wire.Request{Body: &wire.Request_Begin{Begin: &wire.Begin{Kind: uint32(kind), Mechanism: how, Key: op.key}}})
	if err != nil {
		return nil, err
	}
	if r.GetBegun() == nil {
		return nil, unexpected(r)
	}
	d, err := wire.ToDescription(r.GetBegun())
	if err != nil {
		return nil, err
	}
	// The answer is of the state that its reply names: if another reply has come with a later one, it is not kept for long.
	c.begins.put(lookup, begun{what: d, at: now, revision: max(revision, r.GetRevision())})
	return op.start(d), nil
}
