// Package index finds objects by the few attributes that applications look for, at a cost that does not depend on how
// many objects there are.
//
// An Index may be used by many goroutines at once. It holds no secrets: the indexed attributes are all public.
package index

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// attributes are the indexed ones beside CKA_UNIQUE_ID, which is the identity itself. A template that names none of them
// is answered from the list of all.
var attributes = [...]pkcs11.AttributeType{
	pkcs11.CKA_ID,
	pkcs11.CKA_LABEL,
	pkcs11.CKA_KEY_TYPE,
	pkcs11.CKA_CLASS,
}

// everything is the posting that holds all entries.
var everything = posting{}

// posting names a list: the entries in which attribute t has this value.
type posting struct {
	t     pkcs11.AttributeType
	value string
}

// encode gives a value's form in a posting; ok is false for a value of a form that no indexed attribute has.
func encode(v any) (s string, ok bool) {
	switch v := v.(type) {
	case []byte:
		return "b" + string(v), true
	case uint:
		b := [9]byte{'u'}
		binary.BigEndian.PutUint64(b[1:], uint64(v))
		return string(b[:]), true
	}
	return "", false
}

type entry[T any] struct {
	seq   uint64
	value T
	in    []posting
	dead  bool
}

// list is one posting's entries. Dead ones stay until they outnumber the living, and new ones are appended in whatever
// order they come and sorted when somebody reads: so neither costs a shift of the whole.
type list[T any] struct {
	entries  []*entry[T]
	dead     int
	unsorted bool
}

// Index maps identities (CKA_UNIQUE_ID) to values. The zero value is not ready; use New.
type Index[T any] struct {
	mu    sync.RWMutex
	byID  map[string]*entry[T]
	lists map[posting]*list[T]
}

// New returns an empty index.
func New[T any]() *Index[T] {
	return &Index[T]{byID: map[string]*entry[T]{}, lists: map[posting]*list[T]{}}
}

// Len is the number of entries.
func (x *Index[T]) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.byID)
}

// Get returns the value of an identity.
func (x *Index[T]) Get(id string) (v T, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.byID[id]
	if ok {
		v = e.value
	}
	return v, ok
}

// Put adds a value or replaces the one that id has. attr gives the value's attributes; it is asked before Put returns and
// not kept. Candidates come in the order of seq, which is the caller's: a number that grows with each new object and that
// an object keeps when it changes.
func (x *Index[T]) Put(id string, seq uint64, attr func(pkcs11.AttributeType) (any, bool), v T) {
	e := &entry[T]{seq: seq, value: v, in: append(make([]posting, 0, 1+len(attributes)), everything)}
	for _, t := range attributes {
		value, has := attr(t)
		if !has {
			continue
		}
		if s, ok := encode(value); ok {
			e.in = append(e.in, posting{t, s})
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.byID[id]; old != nil {
		if old.seq == seq && slices.Equal(old.in, e.in) {
			old.value = v
			return
		}
		x.drop(old)
	}
	x.byID[id] = e
	for _, p := range e.in {
		l := x.lists[p]
		if l == nil {
			l = &list[T]{}
			x.lists[p] = l
		}
		if n := len(l.entries); n > 0 && l.entries[n-1].seq > seq {
			l.unsorted = true
		}
		l.entries = append(l.entries, e)
	}
}

// Remove takes an identity out; it need not be there.
func (x *Index[T]) Remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		delete(x.byID, id)
		x.drop(e)
	}
}

// drop marks an entry dead in all its lists and sweeps those that have more dead than living.
func (x *Index[T]) drop(e *entry[T]) {
	e.dead = true
	for _, p := range e.in {
		l := x.lists[p]
		l.dead++
		switch {
		case l.dead == len(l.entries):
			delete(x.lists, p)
		case 2*l.dead > len(l.entries):
			l.entries = slices.DeleteFunc(l.entries, func(e *entry[T]) bool { return e.dead })
			l.entries = slices.Clip(l.entries)
			l.dead = 0
		}
	}
}

// Candidates returns the values that may match a template, in the order of their sequence numbers: all that share the
// indexed attribute that the fewest share. The caller still compares. The slice is the caller's; nil means none.
func (x *Index[T]) Candidates(t pkcs11.Template) []T {
	x.mu.RLock()
	l := x.smallest(t)
	if l != nil && l.unsorted {
		x.mu.RUnlock()
		x.sort(t)
		x.mu.RLock()
		l = x.smallest(t)
	}
	defer x.mu.RUnlock()
	if l == nil {
		return nil
	}
	if l.unsorted { // changed again in between: sort what is returned
		living := slices.DeleteFunc(slices.Clone(l.entries), func(e *entry[T]) bool { return e.dead })
		slices.SortStableFunc(living, bySeq)
		return values(living, len(living))
	}
	return values(l.entries, len(l.entries)-l.dead)
}

func values[T any](entries []*entry[T], living int) []T {
	out := make([]T, 0, living)
	for _, e := range entries {
		if !e.dead {
			out = append(out, e.value)
		}
	}
	return out
}

func bySeq[T any](a, b *entry[T]) int { return cmp.Compare(a.seq, b.seq) }

// smallest picks the list to read; nil if the template cannot match anything.
func (x *Index[T]) smallest(t pkcs11.Template) *list[T] {
	best := x.lists[everything]
	for i := range t {
		if t[i].Type == pkcs11.CKA_UNIQUE_ID {
			return x.one(t[i].Value)
		}
		if !slices.Contains(attributes[:], t[i].Type) {
			continue
		}
		s, _ := encode(t[i].Value) // a value of another form has no list
		l := x.lists[posting{t[i].Type, s}]
		if l == nil {
			return nil
		}
		if len(l.entries)-l.dead < len(best.entries)-best.dead {
			best = l
		}
	}
	return best
}

// one is the list of the entry with that identity; nil if there is none.
func (x *Index[T]) one(id any) *list[T] {
	b, _ := id.([]byte)
	if e := x.byID[string(b)]; e != nil {
		return &list[T]{entries: []*entry[T]{e}}
	}
	return nil
}

func (x *Index[T]) sort(t pkcs11.Template) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.smallest(t); l != nil && l.unsorted {
		slices.SortStableFunc(l.entries, bySeq)
		l.unsorted = false
	}
}
