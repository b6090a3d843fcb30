package etcd

import (
	"sync"
	"sync/atomic"
)

// entry is the last state of a key. There is one for each record, so it holds no more than it must; the value is the
// slice that the response was decoded into. Values are replaced and never written to: whoever holds the lock may take
// the slice along and copy from it later.
type entry struct {
	key        string
	value      []byte
	created    int64 // 0: a tombstone
	modified   int64
	prev, next *entry // in the order of modified, among the living or among the tombstones
	seen       uint64 // the number of the load that last met it; the follower's alone, not under the lock
}

// order is a list of entries, by rising modified.
type order struct {
	head, tail *entry
	n          int
}

func (o *order) push(e *entry) {
	e.prev, e.next = o.tail, nil
	if o.tail == nil {
		o.head = e
	} else {
		o.tail.next = e
	}
	o.tail = e
	o.n++
}

func (o *order) remove(e *entry) {
	if e.prev == nil {
		o.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		o.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	o.n--
}

// change is what became of a key; created is 0 for a deletion.
type change struct {
	key               string
	value             []byte
	created, modified int64
}

// mirror is the copy of the records. Only the follower (and Open before it) writes to it; the follower may therefore read
// the map and the lists without the lock.
type mirror struct {
	applied atomic.Int64  // written under mu
	changed atomic.Uint64 // written under mu

	mu         sync.RWMutex
	entries    map[string]*entry
	live, dead order
	compacted  int64         // deletions up to this revision are not known
	tombstones int           // bound of dead
	rounds     uint64        // loads begun; the follower's alone
	moved      chan struct{} // closed when applied rises, and replaced
}

func (m *mirror) init(tombstones int) {
	m.entries = map[string]*entry{}
	m.tombstones = tombstones
	m.moved = make(chan struct{})
}

// apply makes the changes, which are ordered by modified, and brings the mirror to the revision. What is not later than
// the mirror is passed over, so that nothing is undone by a response that comes twice or late.
func (m *mirror) apply(changes []change, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	applied := m.applied.Load()
	if revision <= applied {
		return
	}
	any := false
	for _, c := range changes {
		if c.modified > applied {
			m.put(c)
			any = true
		}
	}
	m.forget()
	m.moveTo(revision, any)
}

// begin fills an empty mirror, of whose deletions nothing is known.
func (m *mirror) begin(changes []change, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		m.put(c)
	}
	m.compacted = revision
	m.moveTo(revision, true)
}

// touch raises changed, so that nobody goes on with what he has without asking.
func (m *mirror) touch() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed.Add(1)
}

// put makes one change. The caller holds mu.
func (m *mirror) put(c change) {
	e := m.entries[c.key]
	if e == nil {
		e = &entry{key: c.key}
		m.entries[c.key] = e
	} else {
		m.orderOf(e).remove(e)
	}
	e.value, e.created, e.modified = c.value, c.created, c.modified
	m.orderOf(e).push(e)
}

func (m *mirror) orderOf(e *entry) *order {
	if e.created == 0 {
		return &m.dead
	}
	return &m.live
}

// forget drops the oldest tombstones when there are too many. The caller holds mu.
func (m *mirror) forget() {
	for m.dead.n > m.tombstones {
		e := m.dead.head
		m.compacted = max(m.compacted, e.modified)
		m.dead.remove(e)
		delete(m.entries, e.key)
	}
}

// moveTo sets the revision and wakes who waits for it. The caller holds mu.
func (m *mirror) moveTo(revision int64, changed bool) {
	if changed {
		m.changed.Add(1)
	}
	m.applied.Store(revision)
	close(m.moved)
	m.moved = make(chan struct{})
}

// next returns a channel that is closed when the mirror moves on.
func (m *mirror) next() <-chan struct{} {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.moved
}
