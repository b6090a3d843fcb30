package cryptoki

import (
	"sync"

	"github.com/coffer-hsm/coffer/core/index"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// localObjects is the session objects of a slot, by the session that they die with and by what they are searched for.
type localObjects struct {
	index *index.Index[*object]

	mu      sync.Mutex // guards byOwner, and that the index holds the same objects
	byOwner map[SessionHandle]map[ObjectHandle]*object
}

func newLocalObjects() localObjects {
	return localObjects{index: index.New[*object](), byOwner: map[SessionHandle]map[ObjectHandle]*object{}}
}

func (t *localObjects) add(o *object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byOwner[o.owner] == nil {
		t.byOwner[o.owner] = map[ObjectHandle]*object{}
	}
	t.byOwner[o.owner][o.handle] = o
	t.put(o)
}

func (t *localObjects) put(o *object) {
	t.index.Put(o.far().ID(), uint64(o.handle), o.attribute, o)
}

// changed takes in new attribute values, unless the object has gone meanwhile.
func (t *localObjects) changed(o *object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byOwner[o.owner][o.handle] == o {
		t.put(o)
	}
}

func (t *localObjects) remove(o *object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byOwner[o.owner][o.handle] != o {
		return
	}
	t.index.Remove(o.far().ID())
	delete(t.byOwner[o.owner], o.handle)
	if len(t.byOwner[o.owner]) == 0 {
		delete(t.byOwner, o.owner)
	}
}

// of returns the session objects that a session has made.
func (t *localObjects) of(owner SessionHandle) []*object {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*object
	for _, o := range t.byOwner[owner] {
		out = append(out, o)
	}
	return out
}

// find returns the matching session objects that a login may see, oldest first.
func (t *localObjects) find(template pkcs11.Template, now *login) []*object {
	candidates := t.index.Candidates(template)
	out := candidates[:0]
	for _, o := range candidates {
		if o.seen(now) && o.matches(template) {
			out = append(out, o)
		}
	}
	return out
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
