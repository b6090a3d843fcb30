package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// step says which of a request's commits one is, in any run of it.
type step byte

// The steps.
const (
	countAttempt step = '0' // a PIN is going to be tried, or was wrong
	takeBack     step = '1' // it was right
	doIt         step = '2' // what the request is about
)

const (
	operationPrefix = "op/"
	operationSize   = 16
	objectDomain    = "coffer/object/1"
)

// call is a request that changes something and may be sent again (hsm.Caller.Operation). nil: one that will not.
type call struct {
	engine *Engine
	name   string // stands for the operation in the store
	made   uint32 // identities given out
	again  bool   // doIt had been done before
	result []byte // goes into the record of doIt: what the answer needs that is nowhere else
}

// call returns the request of ctx. It is bound to its caller, to the function and to what bind says: with another PIN, it
// is another request.
func (e *Engine) call(ctx context.Context, function string, bind ...[]byte) (*call, error) {
	if e.node == nil {
		return nil, nil
	}
	caller := hsm.CallerOf(ctx)
	if caller.Operation == "" {
		return nil, nil
	}
	if len(caller.Operation) != operationSize {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "an operation's name has %d bytes, this one %d", operationSize, len(caller.Operation))
	}
	what := joined(append([][]byte{[]byte(caller.Operation), []byte(caller.Holder), []byte(function)}, bind...)...)
	defer secret.Wipe(what)
	sum := sha256.Sum256(what)
	name, err := e.node.cluster.Name("operation", hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	return &call{engine: e, name: name}, nil
}

// id returns the identity of the next object that the request makes: the same when it is sent again.
func (c *call) id() string {
	if c == nil {
		return newID()
	}
	b := joined([]byte(objectDomain), []byte(c.name))
	b = binary.BigEndian.AppendUint32(b, c.made)
	c.made++
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func (c *call) key(s step) string { return operationPrefix + c.name + "." + string(s) }

func recordLabel(key string) vault.Label {
	return vault.Label{Kind: "operation-record", ID: key, Version: 1}
}

// mark adds the request's record to a commit, on the condition that it is not there yet.
func (c *call) mark(s step, cmps []store.Compare, ops []store.Op) ([]store.Compare, []store.Op, error) {
	if c == nil {
		return cmps, ops, nil
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(c.engine.node.now()))
	if s == doIt {
		plain = append(plain, c.result...)
	}
	key := c.key(s)
	sealed, err := c.engine.node.cluster.Seal(recordLabel(key), plain)
	if err != nil {
		return nil, nil, err
	}
	return append(slices.Clip(cmps), store.Compare{Key: key}), append(slices.Clip(ops), store.Op{Key: key, Value: sealed}), nil
}

// did reports whether a step has been committed, by whatever node: the store is asked, not our copy of it.
func (c *call) did(ctx context.Context, s step) (bool, error) {
	if c == nil {
		return false, nil
	}
	o := c.engine.open.Load()
	if o == nil {
		return false, nil
	}
	_, err := o.store.Commit(ctx, []store.Compare{{Key: c.key(s)}}, nil)
	if errors.Is(err, store.ErrConflict) {
		return true, nil
	}
	return false, err
}

// unless makes an error none if the step that it kept from being done has been done before. Where that cannot be told, the
// caller learns that the store does not answer, and asks again.
func (c *call) unless(ctx context.Context, s step, err error) error {
	if err == nil || c == nil {
		return err
	}
	done, unknown := c.did(ctx, s)
	if unknown != nil {
		return unknown // it may have been done: then err is no answer
	}
	if done {
		c.again = c.again || s == doIt
		return nil
	}
	return err
}

// before returns what a request that has been done before has left for its answer.
func (c *call) before(ctx context.Context) ([]byte, error) {
	o := c.engine.open.Load()
	if o == nil {
		return nil, errNoToken
	}
	rec, err := o.store.Get(ctx, c.key(doIt))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: this node has not yet seen what the request has done: send it again", store.ErrUnavailable)
	}
	if err != nil {
		return nil, err
	}
	plain, err := c.engine.node.cluster.Open(recordLabel(rec.Key), rec.Value)
	if err != nil {
		return nil, err
	}
	if len(plain) < 8 {
		return nil, fmt.Errorf("%w: operation record", store.ErrDamaged)
	}
	return plain[8:], nil
}

// SweepOperations removes the records of requests that were done up to a revision of the store. A request that is sent
// again after that is done again, so the revision is one from longer ago than any client goes on trying. It is no time of
// day: the clocks of the nodes that did the requests, and of the one that sweeps, may be wrong.
func (e *Engine) SweepOperations(ctx context.Context, through int64) (err error) {
	defer answer(&err)
	if e.node == nil {
		return nil
	}
	o := e.open.Load()
	if o == nil {
		return nil
	}
	recs, _, err := o.store.List(ctx, operationPrefix)
	if err != nil {
		return err
	}
	var old []store.Op
	for _, rec := range recs {
		if rec.Modified <= through {
			old = append(old, store.Op{Key: rec.Key, Delete: true})
		}
	}
	for batch := range slices.Chunk(old, sweepBatch) {
		if _, err := o.store.Commit(ctx, nil, batch); err != nil {
			return err
		}
	}
	return nil
}
