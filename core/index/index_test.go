package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// sample is an object to index: its number is its place in time.
type sample struct {
	seq   uint64
	attrs pkcs11.Template
}

func (s sample) id() string { return fmt.Sprintf("%032x", s.seq) }

func made(seq uint64, id, label string) sample {
	return sample{seq, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, uint(pkcs11.CKO_PRIVATE_KEY)),
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_EC)),
		pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, fmt.Sprintf("%032x", seq)),
		pkcs11.AttrString(pkcs11.CKA_ID, id),
		pkcs11.AttrString(pkcs11.CKA_LABEL, label),
	}}
}

func put(x *Index[uint64], s sample) { x.Put(s.id(), s.seq, s.attrs.Get, s.seq) }

func TestCandidatesComeFromTheSmallestList(t *testing.T) {
	x := New[uint64]()
	for i := range uint64(100) {
		put(x, made(i, fmt.Sprint("id", i), fmt.Sprint("label", i%10)))
	}
	class := pkcs11.AttrUlong(pkcs11.CKA_CLASS, uint(pkcs11.CKO_PRIVATE_KEY))
	require.Equal(t, []uint64{42}, x.Candidates(pkcs11.Template{class, pkcs11.AttrString(pkcs11.CKA_ID, "id42")}))
	require.Len(t, x.Candidates(pkcs11.Template{class, pkcs11.AttrString(pkcs11.CKA_LABEL, "label3")}), 10)
	require.Len(t, x.Candidates(pkcs11.Template{class}), 100)
	require.Len(t, x.Candidates(nil), 100)
	require.Len(t, x.Candidates(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true)}), 100)
	require.Nil(t, x.Candidates(pkcs11.Template{class, pkcs11.AttrString(pkcs11.CKA_ID, "none")}))
	require.Nil(t, x.Candidates(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, true)}), "a value of the wrong form")
	require.Nil(t, x.Candidates(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_ID, uint(0))}))
	require.Nil(t, New[uint64]().Candidates(nil))
}

func TestOrderIsTheSequenceNumbers(t *testing.T) {
	x := New[uint64]()
	for _, seq := range []uint64{5, 1, 9, 3} {
		put(x, made(seq, "k", "l"))
	}
	require.Equal(t, []uint64{1, 3, 5, 9}, x.Candidates(nil))
	s := made(1, "k", "renamed")
	put(x, s)
	require.Equal(t, []uint64{1, 3, 5, 9}, x.Candidates(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_ID, "k")}))
	require.Equal(t, []uint64{1}, x.Candidates(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "renamed")}))
	require.Equal(t, []uint64{3, 5, 9}, x.Candidates(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "l")}))
}

func TestPutReplacesAndRemoveForgets(t *testing.T) {
	x := New[string]()
	s := made(1, "k", "l")
	x.Put(s.id(), s.seq, s.attrs.Get, "old")
	x.Put(s.id(), s.seq, s.attrs.Get, "new")
	require.Equal(t, 1, x.Len())
	v, ok := x.Get(s.id())
	require.True(t, ok)
	require.Equal(t, "new", v)
	require.Equal(t, []string{"new"}, x.Candidates(nil))
	x.Remove(s.id())
	x.Remove(s.id())
	_, ok = x.Get(s.id())
	require.False(t, ok)
	require.Nil(t, x.Candidates(nil))
	require.Empty(t, x.lists)
}

// TestAgainstPlainScan does random changes and compares each answer with a scan.
func TestAgainstPlainScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	x, model := New[uint64](), map[uint64]sample{}
	name := func() string { return fmt.Sprint(rng.IntN(8)) }
	for range 5000 {
		seq := rng.Uint64N(60)
		if rng.IntN(3) == 0 {
			x.Remove(sample{seq: seq}.id())
			delete(model, seq)
		} else {
			s := made(seq, name(), name())
			put(x, s)
			model[seq] = s
		}
		want := pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_ID, name()), pkcs11.AttrString(pkcs11.CKA_LABEL, name())}[:rng.IntN(3)]
		got := x.Candidates(want)
		require.True(t, slices.IsSorted(got))
		for seq, s := range model {
			matches := true
			for _, a := range want {
				v, _ := s.attrs.Get(a.Type)
				matches = matches && pkcs11.EqualValue(v, a.Value)
			}
			if matches {
				require.Contains(t, got, seq)
			}
		}
		for _, seq := range got {
			require.Contains(t, model, seq)
		}
		require.Equal(t, len(model), x.Len())
	}
}

func TestManyReadersAndWriters(t *testing.T) {
	x := New[uint64]()
	var all sync.WaitGroup
	for w := range uint64(4) {
		all.Go(func() {
			for i := range uint64(500) {
				put(x, made(i*4+w, fmt.Sprint(i%7), "l"))
				got := x.Candidates(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_ID, fmt.Sprint(i%7))})
				if !slices.IsSorted(got) {
					t.Error("out of order")
				}
				if i%3 == 0 {
					x.Remove(fmt.Sprintf("%032x", i*4+w))
				}
			}
		})
	}
	all.Wait()
}

func filled(n int) *Index[uint64] {
	x := New[uint64]()
	for i := range n {
		put(x, made(uint64(i), fmt.Sprint("id", i), "l"))
	}
	return x
}

func BenchmarkCandidatesByID(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := filled(n)
			want := pkcs11.Template{
				pkcs11.AttrUlong(pkcs11.CKA_CLASS, uint(pkcs11.CKO_PRIVATE_KEY)),
				pkcs11.AttrString(pkcs11.CKA_ID, fmt.Sprint("id", n/2)),
			}
			b.ReportAllocs()
			for b.Loop() {
				if len(x.Candidates(want)) != 1 {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkPutRemove(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := filled(n)
			seq := uint64(n)
			for b.Loop() {
				s := made(seq, "new", "l")
				put(x, s)
				x.Remove(s.id())
				seq++
			}
		})
	}
}
