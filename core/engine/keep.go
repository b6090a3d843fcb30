package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// origin says whether key material is our own making or has to be checked.
type origin int

const (
	ownMaterial origin = iota
	checkMaterial
	unwrappedMaterial // checked, and what is wrong with it is the wrapped key's fault and no attribute's
)

// finish completes an object with the material that a mechanism made; nil where it is all in the template. The material
// is wiped if nothing comes of it. The draft is done.
func (e *Engine) finish(c *call, draft *object.Draft, material pkcs11.Template, from origin) (fresh, error) {
	defer draft.Done()
	whole, err := e.complete(draft, material, from)
	if err != nil {
		wipeMaterial(draft, material)
		return fresh{}, err
	}
	head, secretPart, err := draft.Finish(c.id(), whole)
	if err != nil {
		wipeMaterial(draft, material)
		wipeMaterial(draft, whole)
		return fresh{}, err
	}
	f := newFresh(head, secretPart)
	f.ours = from == ownMaterial
	if err := e.admits(f.version); err != nil {
		wipe(secretPart)
		return fresh{}, err
	}
	return f, nil
}

// wipeMaterial wipes what is secret of an object's material: the rest may be the caller's bytes, or a curve's name.
func wipeMaterial(draft *object.Draft, material pkcs11.Template) {
	kt, _ := draft.KeyType()
	for i, a := range material {
		if object.SecretAttribute(draft.Class(), kt, a.Type) {
			wipe(material[i : i+1])
		}
	}
}

// finishOne finishes an object and keeps it.
func (e *Engine) finishOne(ctx context.Context, c *call, draft *object.Draft, material pkcs11.Template, from origin) (hsm.Object, error) {
	f, err := e.finish(c, draft, material, from)
	if err != nil {
		return nil, err
	}
	return e.keepOne(ctx, c, f)
}

func (e *Engine) keepOne(ctx context.Context, c *call, f fresh) (hsm.Object, error) {
	if !f.head.Token() {
		return e.sessionEntry(f), nil
	}
	list, err := e.keep(ctx, c, f)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func newID() string {
	var b [16]byte
	var digits [2 * len(b)]byte
	rand.Read(b[:])
	hex.Encode(digits[:], b[:])
	return string(digits[:])
}

// fresh is an object that is about to be kept, in its first version.
type fresh struct {
	*version
	entry *entry // of a session object
	ours  bool   // generated here, just now
}

// newFresh takes over a head and a secret part. A session object's entry and version live and end together, most of them,
// and are in one piece of memory.
func newFresh(head *object.Object, secretPart pkcs11.Template) fresh {
	if head.Token() {
		return fresh{version: newVersion(head, nil, secretPart)}
	}
	both := new(struct {
		entry
		versionMemory
	})
	both.entry.id, both.entry.private = head.ID(), head.Private()
	return fresh{version: both.versionMemory.init(head, nil, secretPart), entry: &both.entry}
}

// keep stores new objects, all or none: token objects in one transaction, session objects in the caller's hands. The
// secret parts are its own; what is not kept is wiped. Of a request that is sent again, what the first has made is the answer.
func (e *Engine) keep(ctx context.Context, c *call, list ...fresh) (out []hsm.Object, err error) {
	defer func() {
		if err != nil {
			for _, f := range list {
				wipe(f.secret)
			}
		}
	}()
	out = make([]hsm.Object, len(list))
	var cmps []store.Compare
	var ops []store.Op
	var changes []change
	var v *view // of before sealing: what was sealed for a token that is gone meanwhile must not get into the new one
	for i, f := range list {
		if !f.head.Token() {
			out[i] = e.sessionEntry(f)
			continue
		}
		if v == nil {
			if v, err = e.now(); err != nil {
				return nil, err
			}
		}
		op, err := e.sealNew(f)
		wipe(f.secret)
		if err != nil {
			return nil, err
		}
		cmps = append(cmps, store.Compare{Key: op.Key})
		ops = append(ops, op)
		changes = append(changes, change{after: f.head, ours: f.ours})
	}
	if len(ops) == 0 {
		return out, nil
	}
	if err := e.recordSessions(c, out); err != nil {
		return nil, err
	}
	err = e.commitNew(ctx, c, v, changes, cmps, ops)
	if err == nil {
		err = e.recallSessions(ctx, c, out)
	}
	if errors.Is(err, store.ErrConflict) {
		return nil, e.overtaken(v)
	}
	if err != nil {
		return nil, err
	}
	for i, f := range list {
		if !f.head.Token() {
			continue
		}
		n, ok := e.objects.Get(f.head.ID())
		if !ok { // could not be read again, or is gone or locked already: use will see
			n = &entry{id: f.head.ID(), token: true, private: f.head.Private()}
		}
		out[i] = n
	}
	return out, nil
}

// overtaken says why new objects met a conflict. Identities are random, so either the token is another than the view's, or
// our copy of the store has not taken in what they rest on.
func (e *Engine) overtaken(was *view) error {
	switch v, err := e.now(); {
	case err != nil:
		return err
	case v.tokenRevision != was.tokenRevision:
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the token was replaced at the same time")
	}
	return fmt.Errorf("%w: there is a change that this copy of the store has not taken in yet: send it again", store.ErrUnavailable)
}

// commitNew writes new objects, again if what bears on certificates has changed meanwhile. Who has to do so waits for his turn:
// many who try at once would only get into each other's way.
func (e *Engine) commitNew(ctx context.Context, c *call, v *view, changes []change, cmps []store.Compare, ops []store.Op) error {
	for waited := false; ; {
		now, err := e.now()
		if err != nil {
			return err
		}
		moreCmps, moreOps, err := e.promised(now, changes...)
		if err != nil {
			return c.unless(ctx, doIt, err)
		}
		err = e.commit(ctx, c, doIt, v, slices.Concat(cmps, moreCmps), slices.Concat(ops, moreOps))
		if !errors.Is(err, store.ErrConflict) || len(moreCmps) == 0 {
			return err
		}
		if next, unknown := e.now(); unknown != nil || next.promise.revision == now.promise.revision {
			return err
		}
		if waited {
			continue
		}
		select {
		case e.again <- struct{}{}:
			waited = true
			defer func() { <-e.again }()
		case <-ctx.Done():
			return pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "waiting to write a certificate or its key: %w", ctx.Err())
		}
	}
}

// sealNew seals a new token object.
func (e *Engine) sealNew(f fresh) (store.Op, error) {
	b, err := e.barrier(f.head.Private())
	if err != nil {
		return store.Op{}, err
	}
	sealed, err := sealSecret(b, f.head.ID(), f.secret)
	if err != nil {
		return store.Op{}, err
	}
	return e.sealRecord(b, f.head, sealed, 1)
}

// sealRecord makes an object's record: its head is sealed under the record's version, its secret part is sealed already.
func (e *Engine) sealRecord(b *vault.Barrier, head *object.Object, sealed []byte, counter uint32) (store.Op, error) {
	sealedHead, err := sealHead(b, head, counter)
	if err != nil {
		return store.Op{}, err
	}
	rec, err := record{private: head.Private(), node: e.node != nil, counter: counter, head: sealedHead, secret: sealed}.marshal()
	if len(rec) > store.MaxValue {
		return store.Op{}, pkcs11.Errorf(pkcs11.CKR_DEVICE_MEMORY, "the object takes %d bytes, at most %d", len(rec), store.MaxValue)
	}
	return store.Op{Key: objectPrefix + head.ID(), Value: rec}, err
}
