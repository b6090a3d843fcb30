package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/coffer-hsm/coffer/core/store"
)

// The table of token objects in memory. All of it wants mu.

// take puts a record into the table. A private one is passed over while nobody is logged in: unlock comes back for it.
// One that cannot be read is left where it is, in the store, and reported; it does not take the token down.
func (e *Engine) take(id string, rec store.Record) {
	head, v, err := e.read(id, rec)
	if err != nil {
		e.drop(id)
		e.log(fmt.Errorf("object %s cannot be read: %w", id, err))
		return
	}
	if head == nil {
		e.drop(id)
		return
	}
	n, known := e.objects.Get(id)
	if known && n.private != head.private { // no object changes so; whoever put the record there shall gain nothing
		e.drop(id)
		known = false
	}
	if known {
		v.share(n.current.Load())
		n.replace(v)
	} else {
		n = &entry{id: id, token: true, private: head.private}
		n.current.Store(v)
	}
	e.objects.Put(id, uint64(rec.Created), v.head.Get, n)
}

// read decodes a record and opens its head; nil for a private object that is locked, and for an object that was written
// before the token and so belongs to one that was erased.
func (e *Engine) read(id string, rec store.Record) (*record, *version, error) {
	if v := e.view.Load(); v == nil || rec.Modified < v.tokenRevision {
		return nil, nil, nil
	}
	r, err := parseRecord(rec.Value)
	if err == nil && r.node != (e.node != nil) { // the flags are not sealed
		err = fmt.Errorf("%w: object record of a token of another kind", store.ErrDamaged)
	}
	if err != nil {
		return nil, nil, err
	}
	b, err := e.barrier(r.private)
	if err != nil {
		return nil, nil, nil
	}
	head, err := openHead(b, &e.heads, id, r)
	if err != nil {
		return nil, nil, err
	}
	// A copy of its own: the whole record would stay in memory with its part.
	v := newVersion(head, bytes.Clone(r.secret), nil)
	v.counter, v.revision = r.counter, rec.Modified
	if e.node != nil {
		r.private = head.Private()
		v.sum = sha256.Sum256(rec.Value)
	}
	return &r, v, nil
}

// drop removes an object from the table and ends its entry.
func (e *Engine) drop(id string) {
	if n, known := e.objects.Get(id); known {
		e.objects.Remove(id)
		n.replace(nil)
	}
}

// forgetObjects drops those that which picks.
func (e *Engine) forgetObjects(which func(*entry) bool) {
	var ids []string
	for _, n := range e.objects.Candidates(nil) {
		if which(n) {
			ids = append(ids, n.id)
		}
	}
	for _, id := range ids {
		e.drop(id)
	}
}

// takePrivate reads the private objects, once they have been unlocked.
func (e *Engine) takePrivate(ctx context.Context) error {
	o := e.open.Load()
	if o == nil {
		return errNoToken
	}
	recs, _, err := o.store.List(ctx, objectPrefix)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if r, err := parseRecord(rec.Value); err == nil && r.private {
			e.take(rec.Key[len(objectPrefix):], rec)
		}
	}
	return nil
}
