package cryptoki

import "sync"

// table is a typed sync.Map: what is only read takes no lock.
type table[K comparable, V comparable] struct{ m sync.Map }

func (t *table[K, V]) load(k K) (v V, ok bool) {
	x, ok := t.m.Load(k)
	if !ok {
		return v, false
	}
	return x.(V), true
}

func (t *table[K, V]) store(k K, v V) { t.m.Store(k, v) }

func (t *table[K, V]) loadOrStore(k K, v V) (V, bool) {
	x, loaded := t.m.LoadOrStore(k, v)
	return x.(V), loaded
}

func (t *table[K, V]) delete(k K) { t.m.Delete(k) }

// deleteExactly removes k only while v is what it stands for.
func (t *table[K, V]) deleteExactly(k K, v V) { t.m.CompareAndDelete(k, v) }

func (t *table[K, V]) each(f func(K, V)) {
	t.m.Range(func(k, v any) bool {
		f(k.(K), v.(V))
		return true
	})
}
