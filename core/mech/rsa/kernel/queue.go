package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Four signatures at once take little longer than two one after the other. So who finds others wanting the same waits for
// them, as long as that pays: whether it does is learned by looking, now and then, whether somebody comes when the
// processor is offered to others first. Who comes while somebody waits,
// waits with him. Nobody waits for a clock: who has offered it once and was not taken along by
// another does what there is.

const (
	worth  = 3  // from so many on, they are done at once
	probes = 32 // one operation of so many looks whether others come, where that has not paid before
	trust  = 64 // operations after a look that paid
)

// together says that operations look for each other.
var together atomic.Bool

// Together has operations wait for each other from now on, so that several are done at once. It is for a process in which
// goroutines serve many callers. Where each caller is a thread of its own, as in a library that C programs load, waking one
// after the other costs more than is won.
func Together() { together.Store(true) }

// queue is of one size of keys.
type queue struct {
	mu      sync.Mutex
	waiting []*job
	some    atomic.Int32 // how many wait

	trusted atomic.Int32 // so many operations wait for others without looking whether that pays
	turn    atomic.Uint32
}

// job is one operation that others may do.
type job struct {
	member
	done  chan struct{}
	taken bool // guarded by the queue
}

// power sets w.x as Key.power does, together with others' if there are any.
func (k *Key) powerOf(w *scratch) {
	q, f := &k.size.queue, k.size.wide
	if f == nil || !together.Load() || q.some.Load() == 0 && q.trusted.Load() <= 0 && q.turn.Add(1)%probes != 0 {
		k.power(w)
		return
	}
	q.trusted.Add(-1)
	j := &job{member: member{k, w}}
	if others := q.enter(j); others != nil {
		f.lead(q, j, others)
		return
	}
	runtime.Gosched() // the others' chance to come
	others, mine := q.leave(j)
	switch {
	case !mine:
		<-j.done
	case len(others)+1 >= worth:
		f.lead(q, j, others)
	default:
		k.power(w)
	}
}

// enter returns those who make a full batch with j, or has it wait.
func (q *queue) enter(j *job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= perBatch-1 {
		return q.take()
	}
	j.done = make(chan struct{})
	q.waiting = append(q.waiting, j)
	q.some.Store(int32(len(q.waiting)))
	return nil
}

// leave takes j out of the queue, with those who make a batch worth it. mine is false if another has taken it.
func (q *queue) leave(j *job) (others []*job, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.taken {
		return nil, false
	}
	for i, other := range q.waiting {
		if other == j {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			q.some.Store(int32(len(q.waiting)))
			break
		}
	}
	j.taken = true
	if len(q.waiting)+1 >= worth {
		others = q.take()
	}
	return others, true
}

// take takes the first who wait; the lock is held.
func (q *queue) take() []*job {
	n := min(len(q.waiting), perBatch-1)
	others := append([]*job{}, q.waiting[:n]...)
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	q.some.Store(int32(len(q.waiting)))
	for _, j := range others {
		j.taken = true
	}
	return others
}

// lead does a batch and lets the others go on.
func (f *wide) lead(q *queue, j *job, others []*job) {
	q.trusted.Store(trust)
	members := append(make([]member, 0, perBatch), j.member)
	for _, o := range others {
		members = append(members, o.member)
	}
	f.power(members)
	for _, o := range others {
		close(o.done)
	}
}
