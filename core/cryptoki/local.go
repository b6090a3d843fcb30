package cryptoki

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/index"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// localObjects is the session objects of a slot, by the session that they die with and by what they are searched for.
//
// Most of them are made for one use and are gone before anybody searches. So a new one waits, with the others of its
// session, until there is a search; only then is it put into the index, which all threads share.
type localObjects struct {
	index  *index.Index[*object]
	dirty  atomic.Uint64 // which shards may have objects that wait: a bit for each; it changes under the shard's mu
	shards [localShards]localShard
}

const (
	localShards = 16
	mostWaiting = 32 // in a shard, so that no search has much to do
)

// localShard has the objects of the sessions whose number is its own modulo localShards. Threads that work in sessions of
// their own hardly ever meet in one.
type localShard struct {
	mu      sync.Mutex // guards what its sessions own, what waits, and that no object of theirs is in the index that is not here
	waiting []*object

	_ [64]byte // another shard's lock is in another cache line
}

// local is what localObjects knows of an object. It is guarded by the shard's mu.
type local struct {
	owned int // its place among the objects of its session, and 1; 0 if it has gone
	waits int // its place among those that wait, and 1; 0 if it is in the index
}

func (t *localObjects) shard(owner SessionHandle) *localShard { return &t.shards[owner%localShards] }

// add takes a new object of a session in.
func (t *localObjects) add(o *object) {
	s := t.shard(o.owner.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	own := &o.owner.objects
	*own = append(*own, o)
	o.local.owned = len(*own)
	if len(s.waiting) == mostWaiting {
		t.settle(s)
	}
	s.waiting = append(s.waiting, o)
	o.local.waits = len(s.waiting)
	if bit := uint64(1) << (o.owner.handle % localShards); t.dirty.Load()&bit == 0 {
		t.dirty.Or(bit)
	}
}

// settle puts what waits into the index, in the order in which it was made: the index has less to sort so. The caller holds
// the shard's mu.
func (t *localObjects) settle(s *localShard) {
	slices.SortFunc(s.waiting, func(a, b *object) int { return cmp.Compare(a.handle, b.handle) })
	for i, o := range s.waiting {
		t.put(o)
		o.local.waits, s.waiting[i] = 0, nil
	}
	s.waiting = s.waiting[:0]
}

func (t *localObjects) put(o *object) {
	t.index.Put(o.far().ID(), uint64(o.handle), o.attribute, o)
}

// changed takes in new attribute values, unless the object has gone meanwhile.
func (t *localObjects) changed(o *object) {
	s := t.shard(o.owner.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.local.owned != 0 && o.local.waits == 0 {
		t.put(o)
	}
}

func (t *localObjects) remove(o *object) {
	s := t.shard(o.owner.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.local.owned == 0 {
		return
	}
	last := takeOut(&o.owner.objects, o.local.owned-1)
	last.local.owned, o.local.owned = o.local.owned, 0
	if o.local.waits == 0 {
		t.index.Remove(o.far().ID())
		return
	}
	last = takeOut(&s.waiting, o.local.waits-1)
	last.local.waits, o.local.waits = o.local.waits, 0
}

// takeOut takes the i-th out of a list and returns the last one, which has its place now.
func takeOut(list *[]*object, i int) *object {
	l := *list
	last := l[len(l)-1]
	l[i], l[len(l)-1] = last, nil
	*list = l[:len(l)-1]
	return last
}

// of returns the session objects that a session has made.
func (t *localObjects) of(owner *session) []*object {
	s := t.shard(owner.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*object(nil), owner.objects...)
}

// find returns the matching session objects that a login may see, oldest first.
func (t *localObjects) find(template pkcs11.Template, now *login) []*object {
	for dirty := t.dirty.Load(); dirty != 0; dirty &= dirty - 1 {
		t.settleAll(bits.TrailingZeros64(dirty))
	}
	candidates := t.index.Candidates(template)
	out := candidates[:0]
	for _, o := range candidates {
		if o.seen(now) && o.matches(template) {
			out = append(out, o)
		}
	}
	return out
}

// settleAll leaves nothing waiting in a shard. The bit falls last: who finds it down finds all in the index.
func (t *localObjects) settleAll(i int) {
	s := &t.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	t.settle(s)
	t.dirty.And(^(uint64(1) << i))
}

// matches compares attributes that are not sensitive; one that may not be read matches nothing, so that a search is no
// oracle for a key's value.
func (o *object) matches(template pkcs11.Template) bool {
	for _, want := range template {
		got, ok := o.attribute(want.Type)
		if !ok || !pkcs11.EqualValue(got, want.Value) {
			return false
		}
	}
	return true
}

func (o *object) attribute(t pkcs11.AttributeType) (any, bool) {
	switch t {
	case pkcs11.CKA_TOKEN:
		return o.far().Token(), true
	case pkcs11.CKA_PRIVATE:
		return o.far().Private(), true
	case pkcs11.CKA_UNIQUE_ID:
		return []byte(o.far().ID()), true
	}
	return o.far().Attribute(t)
}
