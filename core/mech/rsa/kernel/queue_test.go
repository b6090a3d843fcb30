package kernel

import (
	"bytes"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"
)

// find has operations find each other until the end of the test.
func find(t *testing.T, s *size, yield func() time.Duration, crowd int) {
	t.Helper()
	Together(yield, crowd)
	s.queue.trusted.Store(trust) // as if it had paid before
	s.queue.pausing.Store(0)
	t.Cleanup(func() {
		together.Store(nil)
		s.queue.trusted.Store(0)
		if waiting, begun := len(s.queue.waiting), s.queue.begun.Load(); waiting != 0 || begun != 0 {
			t.Errorf("at the end %d wait, and %d are under way", waiting, begun)
		}
	})
}

// answer is what one operation came to.
type answer struct {
	out      []byte
	err      error
	panicked bool
}

func answerOf(k *Key, in *big.Int) (a answer) {
	defer func() { a.panicked = recover() != nil }()
	a.out, a.err = k.Private(nil, in.Bytes())
	return a
}

// fill has a full batch done: three operations are let wait, and the fourth takes them along. The last of keys is its.
func fill(t *testing.T, s *size, keys [perBatch]*Key, in *big.Int) (answers [perBatch]answer) {
	t.Helper()
	waits, leave := make(chan struct{}, perBatch), make(chan struct{})
	find(t, s, func() time.Duration { waits <- struct{}{}; <-leave; return 0 }, 0)
	var wg sync.WaitGroup
	for i, k := range keys[:perBatch-1] {
		wg.Go(func() { answers[i] = answerOf(k, in) })
		<-waits
	}
	answers[perBatch-1] = answerOf(keys[perBatch-1], in)
	close(leave)
	wg.Wait()
	return answers
}

// TestAFaultIsItsOwnersAlone: one member of a batch has a wrong exponent. It has no result, and the others have theirs.
func TestAFaultIsItsOwnersAlone(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		in := big.NewInt(12345)
		for wrong := range perBatch {
			var keys [perBatch]*Key
			for i := range keys {
				keys[i] = newTestKey(t, testKeys(t, 2*s.bits)[i%2])
			}
			keys[wrong].dP[len(keys[wrong].dP)-1] ^= 1
			before := s.queue.work.Load()
			for i, a := range fill(t, s, keys, in) {
				want := slow(testKeys(t, 2*s.bits)[i%2], in)
				switch {
				case i == wrong && (!errors.Is(a.err, ErrFault) || len(a.out) != 0):
					t.Errorf("member %d, which is wrong: %x, %v", i, a.out, a.err)
				case i != wrong && (a.err != nil || !bytes.Equal(a.out, want)):
					t.Errorf("member %d beside %d: %x, %v", i, wrong, a.out, a.err)
				}
			}
			if s.queue.work.Load() != before+2 {
				t.Error("no batch was done")
			}
		}
	})
}

// TestAPanicLeavesNobodyWaiting: when a batch does not come to an end, the others do theirs themselves.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		whole := s.wide
		s.wide = &wide{digits: whole.digits, pickAsm: whole.pickAsm, asm: func(_, _, _, _ *uint64, _ int) { panic("the test's") }}
		defer func() { s.wide = whole }()
		k, in := newTestKey(t, testKey(t, 2*s.bits)), big.NewInt(777)
		for i, a := range fill(t, s, [perBatch]*Key{k, k, k, k}, in) {
			if leads := i == perBatch-1; a.panicked != leads || !leads && (a.err != nil || !bytes.Equal(a.out, slow(testKey(t, 2*s.bits), in))) {
				t.Errorf("member %d: panic %v, %x, %v", i, a.panicked, a.out, a.err)
			}
		}
	})
}

// TestFewThreadsDoNotLook: below the crowd nobody offers the processor.
func TestFewThreadsDoNotLook(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		find(t, s, func() time.Duration { t.Error("an offer"); return 0 }, 5)
		k := newTestKey(t, testKey(t, 2*s.bits))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 20 {
					if a := answerOf(k, big.NewInt(int64(2+i))); a.err != nil || a.panicked {
						t.Error(a.err, a.panicked)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestOffersEndWhereOthersUseThem: when the process has worked for long meanwhile, and no batch was done, nobody looks for a while.
func TestOffersEndWhereOthersUseThem(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		offers := 0
		find(t, s, func() time.Duration { offers++; return time.Hour }, worth)
		q := &s.queue
		answerOf(newTestKey(t, testKey(t, 2*s.bits)), big.NewInt(2)) // alone, to see how long that takes
		q.begun.Add(worth)                                           // as if there were so many
		defer q.begun.Add(-worth)
		k := newTestKey(t, testKey(t, 2*s.bits))
		for range pause {
			if a := answerOf(k, big.NewInt(2)); a.err != nil {
				t.Fatal(a.err)
			}
		}
		if offers != 1 {
			t.Errorf("%d offers in %d operations", offers, pause)
		}
		if answerOf(k, big.NewInt(2)); offers != 2 {
			t.Errorf("%d offers when the pause is over", offers)
		}
		q.pausing.Store(0)
	})
}

// TestWaitingCostsNoMemory: what an operation needs to wait for others is there from the one before.
func TestWaitingCostsNoMemory(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		find(t, s, func() time.Duration { return 0 }, 0)
		k, in, out := newTestKey(t, testKey(t, 2*s.bits)), []byte{2}, make([]byte, 0, s.bits/4)
		least := 1.
		for range 50 { // with -race the pool forgets some of what it was given
			s.queue.trusted.Store(trust)
			least = min(least, testing.AllocsPerRun(1, func() { k.Private(out, in) }))
		}
		if least > 0 {
			t.Errorf("%v allocations", least)
		}
	})
}
