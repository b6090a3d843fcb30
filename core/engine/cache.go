package engine

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// cache keeps what was opened last, by the hash of its sealed form. It may be used by many goroutines at once.
type cache[V any] struct {
	most  int
	evict func(V) // told of each value that goes; may be nil

	mu    sync.Mutex
	items map[[sha256.Size]byte]*list.Element
	order list.List // the one used last in front
}

type cached[V any] struct {
	key   [sha256.Size]byte
	value V
}

func newCache[V any](most int, evict func(V)) *cache[V] {
	return &cache[V]{most: most, evict: evict, items: map[[sha256.Size]byte]*list.Element{}}
}

func (c *cache[V]) get(key [sha256.Size]byte) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	item, ok := c.items[key]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(item)
	return item.Value.(*cached[V]).value, true
}

// put takes over a value, in the place of the one that is there.
func (c *cache[V]) put(key [sha256.Size]byte, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.items[key]; ok {
		c.remove(old)
	}
	c.items[key] = c.order.PushFront(&cached[V]{key, v})
	for len(c.items) > c.most {
		c.remove(c.order.Back())
	}
}

func (c *cache[V]) drop(key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if item, ok := c.items[key]; ok {
		c.remove(item)
	}
}

func (c *cache[V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items)
}

func (c *cache[V]) purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

// remove takes an item out. The caller holds mu.
func (c *cache[V]) remove(item *list.Element) {
	gone := c.order.Remove(item).(*cached[V])
	delete(c.items, gone.key)
	if c.evict != nil {
		c.evict(gone.value)
	}
}
