package node

import "sync"

// holders share a node. None has all of it, however many streams he opens and however slowly he reads what he asked for: some
// room and some streams are always left for others.
type holders struct {
	mu   sync.Mutex
	list map[string]*holder // those that have streams
}

// holder is what one of them has.
type holder struct {
	bytes   *room // of his requests and replies
	streams int
}

// kept is what is there for other nodes beside the n that clients share: a node that cannot ask another what it has taken in has
// it counted as dead, and no client may bring that about.
func kept(n int) int { return (n + 7) / 8 }

// share is the most of n that one holder may have.
func share(n int) int { return n - n/4 }

// enter counts a stream of a holder's; false if he has too many.
func (h *holders) enter(name string, l Limits) (*holder, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := h.list[name]
	if who == nil {
		who = &holder{bytes: newRoom(share(l.Bytes))}
		h.list[name] = who
	}
	if who.streams == share(l.Streams) {
		return nil, false
	}
	who.streams++
	return who, true
}

// leave is called when a stream has given back all that it has taken.
func (h *holders) leave(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := h.list[name]
	if who.streams--; who.streams == 0 {
		delete(h.list, name)
	}
}
