package sqlite

import (
	"context"
	"time"
)

// askEvery bounds how late a commit shows whose writer was killed before it could announce it.
const askEvery = 250 * time.Millisecond

// Changed implements store.Store. It reads the generation word, and asks the database itself when that was last done
// longer than askEvery ago, or each time if there is no such word.
//
// A timer says when it is time to ask again, because reading the clock takes longer than all the rest. It is set by asking,
// so a store that nobody looks at sets none.
func (s *Store) Changed() uint64 {
	if s.due.Load() || !s.sync.mapped() {
		s.ask()
	}
	// Words are random, so a sum that was seen before does not come back.
	return s.sync.word() + s.missed.Load()
}

// ask compares the database's revision with the one found the last time it was asked, not with what readers saw since:
// another user of this Store may not have seen it. So a change counts twice, once by the word and once here, which costs
// one look too many at most every askEvery.
func (s *Store) ask() {
	if s.sync.mapped() {
		if !s.asking.TryLock() {
			return // someone is asking
		}
	} else {
		s.asking.Lock()
	}
	defer s.asking.Unlock()
	revision, err := s.revision(context.Background())
	if err != nil || revision != s.found { // an error shows when the caller looks
		s.found = revision
		s.missed.Add(1)
	}
	if s.sync.mapped() {
		s.due.Store(false)
		time.AfterFunc(askEvery, func() { s.due.Store(true) })
	}
}
