package faults

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// verb is what an operation does to the register that a key's name is: the set of the objects with that label.
type verb uint8

const (
	create  verb = iota // id joins the set
	find                // answers the set
	use                 // answers whether id is in the set
	destroy             // id leaves the set; answers whether it was there
)

func (v verb) String() string { return [...]string{"create", "find", "use", "destroy"}[v] }

// operation is one call of a worker with what came of it. Times are nanoseconds since the history began.
type operation struct {
	worker int
	verb   verb
	name   string
	id     string   // CKA_UNIQUE_ID; of a create whose outcome is unknown, what a find has shown later, or empty
	try    string   // of a create: the CKA_ID that it was asked to set
	found  []string // of find, in ascending order
	there  bool     // of use and destroy

	call, ret int64
	unknown   bool // the call has ended in an error that leaves open what it did
	// stale: the answer may be from a node without a quorum (see worker.mayBeStale).
	stale bool
	err   error
}

// history is what all workers have done.
type history struct {
	began time.Time
	mu    sync.Mutex
	list  []*operation
	// shown leads from a CKA_ID to the object that was found with it.
	shown map[string]string
}

func newHistory() *history { return &history{began: time.Now(), shown: map[string]string{}} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) begin(worker int, v verb, name, id string) *operation {
	return &operation{worker: worker, verb: v, name: name, id: id, call: h.now()}
}

// end records an operation.
func (h *history) end(o *operation) {
	o.ret = h.now()
	slices.Sort(o.found)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, o)
}

// appeared records which object the create with that CKA_ID has made.
func (h *history) appeared(try, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown[try] = id
}

// complete gives the creates whose outcome was unknown what was seen of them.
func (h *history) complete() {
	for _, o := range h.list {
		if o.verb == create && o.unknown {
			o.id = h.shown[o.try]
		}
	}
}

// fates tells of each object by what was answered: whether it must be there at the end, or must not. Objects of which
// neither holds, since their last destroy has an unknown outcome, are in none of the two.
func (h *history) fates() (alive, gone map[string]string) {
	alive, gone = map[string]string{}, map[string]string{}
	for _, o := range h.list {
		if o.verb == create && !o.unknown {
			alive[o.id] = o.name
		}
	}
	for _, o := range h.list {
		if o.verb != destroy {
			continue
		}
		delete(alive, o.id)
		if !o.unknown {
			gone[o.id] = o.name
		}
	}
	return alive, gone
}

// set is a state of the register, as a string so that == compares: identities in ascending order, each with a space after.
type set string

func setOf(ids []string) set {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(id + " ")
	}
	return set(b.String())
}

func (s set) has(id string) bool { return strings.Contains(string(s), id+" ") }

func (s set) with(id string) set {
	ids := append(strings.Fields(string(s)), id)
	slices.Sort(ids)
	return setOf(ids)
}

func (s set) without(id string) set { return set(strings.Replace(string(s), id+" ", "", 1)) }

// step says whether the register may answer o in state s, and what state follows.
func step(s set, o *operation) (bool, set) {
	switch o.verb {
	case create:
		return true, s.with(o.id)
	case find:
		return s == setOf(o.found), s
	case use:
		return s.has(o.id) == o.there, s
	}
	// An unknown destroy may have come too late.
	return o.unknown || s.has(o.id) == o.there, s.without(o.id)
}

// checked is the part of the history that linearizability is asked of. Left out are reads with an error, which say nothing;
// creates with an error of which nobody ever saw an object, which may as well never have been done; and reads that an
// isolated node may have answered: a node without a quorum serves the keys that it holds, by design, and may not have
// heard of changes.
func (h *history) checked() []*operation {
	var list []*operation
	for _, o := range h.list {
		reads := o.verb == find || o.verb == use
		if reads && (o.unknown || o.stale) || o.verb == create && o.id == "" {
			continue
		}
		list = append(list, o)
	}
	return list
}
