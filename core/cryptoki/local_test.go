package cryptoki

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/index"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// objectTable is the objects of a slot alone, with sessions that own them.
type objectTable struct {
	handles
	last     atomic.Uint64
	sessions [20]*session
}

func newObjectTable() *objectTable {
	t := &objectTable{}
	t.handles.last = &t.last
	t.local.index = index.New[*object]()
	for i := range t.sessions {
		t.sessions[i] = &session{numbered: numbered[session]{handle: SessionHandle(i + 1)}}
	}
	return t
}

func (t *objectTable) make(owner int, label string) *object {
	id := fmt.Sprintf("%s of %d", label, owner)
	return t.handles.session(&fakeObject{id, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}}, t.sessions[owner], nil)
}

// TestSessionObjectsAreFoundUntilTheyAreGone compares with a plain list, over many more objects than may wait.
func TestSessionObjectsAreFoundUntilTheyAreGone(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0)).IntN
	x := newObjectTable()
	var want []*object
	for i := range 20_000 {
		switch n := draw(100); {
		case n < 55:
			want = append(want, x.make(draw(len(x.sessions)), fmt.Sprint("key ", i)))
		case n < 95 && len(want) > 0:
			at := draw(len(want))
			o := want[at]
			want = slices.Delete(want, at, at+1)
			x.remove(o)
			x.remove(o) // two threads may
		case n < 97 && len(want) > 0:
			o := want[draw(len(want))]
			label := fmt.Sprint("other ", i)
			o.far().(*fakeObject).template = pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}
			x.local.changed(o)
			require.Equal(t, []*object{o}, x.local.find(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}, nil))
		case n < 98:
			owner := x.sessions[draw(len(x.sessions))]
			own := slices.DeleteFunc(slices.Clone(want), func(o *object) bool { return o.owner != owner })
			require.ElementsMatch(t, own, x.local.of(owner))
			for _, o := range own {
				x.remove(o)
			}
			require.Empty(t, x.local.of(owner))
			want = slices.DeleteFunc(want, func(o *object) bool { return o.owner == owner })
		default:
			require.True(t, slices.Equal(want, x.local.find(nil, nil)), "oldest first") // none may be nil or empty
		}
	}
}

// TestWhatIsThereIsFound: no search that begins after an object was made misses it, whatever others do meanwhile.
func TestWhatIsThereIsFound(t *testing.T) {
	x := newObjectTable()
	var threads sync.WaitGroup
	for thread := range 8 {
		threads.Go(func() {
			for i := range 300 {
				label := fmt.Sprintf("key %d of thread %d", i, thread)
				o := x.make(thread%4, label)
				found := x.local.find(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}, nil)
				if len(found) != 1 || found[0] != o {
					t.Errorf("%d found", len(found))
				}
				if x.remove(o); i%3 == 0 {
					x.make(thread%4, label+" stays")
				}
				if len(x.local.find(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}, nil)) != 0 {
					t.Error("what is gone was found")
				}
			}
		})
	}
	threads.Wait()
	require.Len(t, x.local.find(nil, nil), 800)
}

// TestObjectsOfOneUseAreNeverIndexed: who makes and destroys keys costs nobody who searches a thing, and no thread another.
func TestObjectsOfOneUseAreNeverIndexed(t *testing.T) {
	x := newObjectTable()
	for range 1000 {
		x.remove(x.make(3, "key"))
		require.Zero(t, x.local.index.Len())
	}
	for range 3 * mostWaiting {
		x.make(3, "key")
	}
	require.LessOrEqual(t, len(x.local.shard(4).waiting), mostWaiting)
}
