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

// numLists is in how many lists an entry can be: that of all, and one for each indexed attribute.
const numLists = 1 + len(attributes)

// posting names a list: "" that of all entries, else the entries in which an indexed attribute has one value. The first byte
// is the attribute's place among attributes, what follows is the value.
type posting string

const everything posting = ""

// encode gives the posting of a value of the i-th attribute; ok is false for a value of a form that no indexed attribute
// has.
func encode(i int, v any) (p posting, ok bool) {
	switch v := v.(type) {
	case []byte:
		var room [64]byte // what most values have, so that the posting is all that is allocated
		return posting(append(append(room[:0], byte(i), 'b'), v...)), true
	case uint:
		b := [2 + 8]byte{byte(i), 'u'}
		binary.BigEndian.PutUint64(b[2:], uint64(v))
		return posting(b[:]), true
	}
	return "", false
}

// entry is one value. There is one for each object, so it holds no more than it must.
type entry[T any] struct {
	seq   uint64
	value T
	in    [numLists]*list[T] // nil beyond those that it is in
	dead  bool
}

// list is one posting's entries. Dead ones stay until they outnumber the living, and new ones are appended in whatever
// order they come and sorted when somebody reads: so neither costs a shift of the whole.
type list[T any] struct {
	of       posting
	entries  []*entry[T]
	dead     int32
	unsorted bool
}

// living is how many entries are not dead.
func (l *list[T]) living() int { return len(l.entries) - int(l.dead) }

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
	in := postings(attr)
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.byID[id]; old != nil {
		if old.seq == seq && slices.Equal(old.postings(), in) {
			old.value = v
			return
		}
		x.drop(old)
	}
	e := &entry[T]{seq: seq, value: v}
	x.byID[id] = e
	for i, p := range in {
		l := x.lists[p]
		if l == nil {
			l = &list[T]{of: p}
			x.lists[p] = l
		}
		if n := len(l.entries); n > 0 && l.entries[n-1].seq > seq {
			l.unsorted = true
		}
		l.entries = append(l.entries, e)
		e.in[i] = l
	}
}

// postings names the lists that an entry of these attributes is in.
func postings(attr func(pkcs11.AttributeType) (any, bool)) []posting {
	in := append(make([]posting, 0, numLists), everything)
	for i, t := range attributes {
		if value, has := attr(t); has {
			if p, ok := encode(i, value); ok {
				in = append(in, p)
			}
		}
	}
	return in
}

func (e *entry[T]) postings() []posting {
	in := make([]posting, 0, numLists)
	for _, l := range e.in {
		if l != nil {
			in = append(in, l.of)
		}
	}
	return in
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
	for _, l := range e.in {
		if l == nil {
			break
		}
		l.dead++
		switch n := int(l.dead); {
		case n == len(l.entries):
			delete(x.lists, l.of)
		case 2*n > len(l.entries):
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
	return values(l.entries, l.living())
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
		at := slices.Index(attributes[:], t[i].Type)
		if at < 0 {
			continue
		}
		p, ok := encode(at, t[i].Value)
		l := x.lists[p]
		if !ok || l == nil { // a value of another form has no list
			return nil
		}
		if l.living() < best.living() {
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
