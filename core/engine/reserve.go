package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Keys with state (mech.Mechanism.Capacity). The state is CKA_HSS_KEYS_REMAINING in the object's record: the indices below
// capacity - remaining are used, or reserved by somebody. An engine reserves a block of them in a commit that asks for the
// record to be as it was read, and hands them out when the store has said that the commit is done. So an index goes to one
// engine, whatever processes and nodes there are; and to one signature, for a block is nowhere but in memory: what is left of it
// when the process ends is lost. When nobody can say whether a commit was done, the block is lost too, if there is one.
//
// This holds as long as the store does not go back. An older copy of it that is put back hands out the same indices again.

// reserved are the blocks of an engine. The zero value is ready.
type reserved struct {
	mu     sync.Mutex
	blocks map[string]*block // by the key's identity
}

// block is what an engine may hand out of a key: from next up to end, which does not belong to it.
type block struct {
	mu        sync.Mutex // held while the store is asked: one reservation for a key at a time
	next, end uint64
}

func (r *reserved) of(id string) *block {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocks == nil {
		r.blocks = map[string]*block{}
	}
	if r.blocks[id] == nil {
		r.blocks[id] = &block{}
	}
	return r.blocks[id]
}

func (r *reserved) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.blocks, id)
}

// blockSize is how many indices of a key with that many are reserved at once: a thousandth, and 256 at most. That is what a
// process that ends can cost.
func blockSize(capacity uint64) uint64 { return min(max(capacity/1024, 1), 256) }

// indexedOp is a signature that uses an index up.
type indexedOp struct {
	*signOp
	engine *Engine
	cred   hsm.Credential
	key    hsm.Object
}

func (o *indexedOp) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	signer, ok := o.signer.(mech.Indexed)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v has a capacity, and its signer takes no index", o.row.Type)
	}
	index, err := o.engine.index(ctx, o.cred, o.key, o.row)
	if err != nil {
		return nil, err
	}
	signer.UseIndex(index)
	return o.signOp.Finish(ctx, dst, part)
}

// index returns an index of the key that nobody was given before. CKR_KEY_EXHAUSTED when there is none.
func (e *Engine) index(ctx context.Context, cred hsm.Credential, key hsm.Object, row *mech.Mechanism) (index uint64, err error) {
	defer answer(&err)
	b := e.reserved.of(key.ID())
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.next == b.end {
		n, v, err := e.use(cred, key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			e.reserved.forget(key.ID())
			return 0, err
		}
		next, end, err := e.reserve(ctx, n, v, row)
		v.release()
		if errors.Is(err, store.ErrConflict) {
			continue // somebody else reserved or changed something: look again
		}
		if err != nil {
			return 0, err
		}
		b.next, b.end = next, end
	}
	index = b.next
	b.next++
	return index, nil
}

// reserve takes a block off the key's record.
func (e *Engine) reserve(ctx context.Context, n *entry, v *version, row *mech.Mechanism) (next, end uint64, err error) {
	// Using up a key is part of using it: nobody is asked whether the caller may write.
	if !n.token {
		return 0, 0, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a session object with state")
	}
	if _, err := e.secretOf(v); err != nil {
		return 0, 0, err
	}
	capacity, err := row.Capacity(v)
	if err != nil {
		return 0, 0, err
	}
	remaining, known := v.head.Uint(pkcs11.CKA_HSS_KEYS_REMAINING)
	if !known || uint64(remaining) > capacity {
		return 0, 0, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a key of %d signatures has %d left (known: %v)", capacity, remaining, known)
	}
	if remaining == 0 {
		return 0, 0, pkcs11.Errorf(pkcs11.CKR_KEY_EXHAUSTED, "all %d signatures of the key are made or reserved", capacity)
	}
	size := min(blockSize(capacity), uint64(remaining))
	head, err := object.Spend(v.head, uint(size))
	if err != nil {
		return 0, 0, err
	}
	view, err := e.tokenOf(v)
	if err != nil {
		return 0, 0, err
	}
	barrier, err := e.barrier(head.Private())
	if err != nil {
		return 0, 0, err
	}
	op, err := e.sealRecord(barrier, head, v.sealed, v.counter+1)
	if err != nil {
		return 0, 0, err
	}
	if err := e.commit(ctx, nil, doIt, view, []store.Compare{{Key: op.Key, Modified: v.revision}}, []store.Op{op}); err != nil {
		return 0, 0, err
	}
	next = capacity - uint64(remaining)
	return next, next + size, nil
}
