package kernel

import (
	"sync"
	"sync/atomic"
	"time"
)

// Four signatures at once take little longer than two one after the other. So who finds others wanting the same waits for
// them, as long as that pays. Who comes while somebody waits, waits with him. Nobody waits for a clock: who has
// offered the processor to others once and was not taken along by another does what there is.

const (
	worth  = 3   // from so many on, they are done at once
	probes = 32  // one operation of so many looks whether others come, where that has not paid before
	trust  = 64  // operations after a look that paid
	dear   = 20  // from so many operations' time on it is asked what an offer was used for
	pause  = 512 // operations after one that others have used for something else
)

// company is how operations find each other.
type company struct {
	yield func() (used time.Duration)
	crowd int32
}

// together says that operations look for each other, and how; nil if they do not.
var together atomic.Pointer[company]

// Together has operations wait for each other from now on, so that several are done at once. yield offers the processor to
// others, who may want the same, and returns when they have had it: how much of all processors' time the process has used
// meanwhile, or 0 if that is not known.
//
// crowd is how many operations must be under way for that. It is for callers that are threads: the kernel interrupts them
// in the middle of an operation, so that more of them are under way than there are processors when there are more callers
// than processors. Twice as many as processors is where a batch, which keeps one processor busy, begins to pay. With fewer
// nobody looks or waits, because an offer can be dear: Linux takes the rest of its turn from a thread that makes one. Where
// threads of the process with other work use it, no more are made for a while.
//
// With a crowd of 0 operations look for others now and then, and as long as that pays. It is for callers that are goroutines:
// they run until they have ended, and who comes next shows only when he is let in.
func Together(yield func() (used time.Duration), crowd int) {
	if crowd > 0 {
		crowd = max(crowd, worth)
	}
	together.Store(&company{yield: yield, crowd: int32(crowd)})
}

// Crowd is what Together was told; ok says whether operations wait for each other at all.
func Crowd() (crowd int, ok bool) {
	if c := together.Load(); c != nil {
		return int(c.crowd), true
	}
	return 0, false
}

// queue is of one size of keys.
type queue struct {
	begun atomic.Int32 // operations under way

	mu      sync.Mutex
	waiting []*job
	some    atomic.Int32 // how many wait

	trusted atomic.Int32 // goroutines: so many operations wait for others without looking whether that pays
	turn    atomic.Uint32

	pausing atomic.Int32 // threads: so many operations look for nobody
	work    atomic.Int64 // what was done: 1 for an operation alone, and 2, which is about as long, for a batch
	least   atomic.Int64 // the shortest time that one alone took, in nanoseconds; 0 before the first
}

// job is an operation that another may do.
type job struct {
	member
	done  chan bool // from who has taken it: it is done, or has to be done after all
	taken bool      // guarded by the queue
}

func newJob() *job { return &job{done: make(chan bool, 1)} }

// powerOf sets w.x as Key.power does, together with others' if there are any.
func (k *Key) powerOf(w *scratch) {
	q, f, c := &k.size.queue, k.size.wide, together.Load()
	if f == nil || c == nil {
		k.power(w)
		return
	}
	begun := q.begun.Add(1)
	defer q.begun.Add(-1)
	if !q.expects(c, begun) {
		k.alone(w)
		return
	}
	j := w.job
	j.member, j.taken = member{k, w}, false
	defer func() { j.member = member{} }()
	var room [perBatch]*job
	if jobs := q.enter(room[:0], j); jobs != nil {
		f.lead(q, jobs)
		return
	}
	q.offer(c)
	jobs := q.leave(room[:0], j)
	switch {
	case len(jobs) >= worth:
		f.lead(q, jobs)
	case len(jobs) == 1 || !<-j.done:
		k.alone(w)
	}
}

// alone is Key.power, and notes what it took.
func (k *Key) alone(w *scratch) {
	q, start := &k.size.queue, time.Now()
	k.power(w)
	if spent, least := int64(time.Since(start)), q.least.Load(); least == 0 || spent < least {
		q.least.Store(spent)
	}
	q.work.Add(1)
}

// expects tells whether an operation should look for others. begun is how many are under way, itself among them.
func (q *queue) expects(c *company, begun int32) bool {
	switch {
	case q.some.Load() > 0:
		return true
	case c.crowd > 0:
		return begun >= c.crowd && (q.pausing.Load() <= 0 || q.pausing.Add(-1) <= 0)
	case q.trusted.Load() > 0:
		q.trusted.Add(-1)
		return true
	}
	return q.turn.Add(1)%probes == 0
}

// offer lets others come. If the process has worked for long meanwhile and little of it was done here, it has something else to do.
func (q *queue) offer(c *company) {
	before := q.work.Load()
	used, least := c.yield(), time.Duration(q.least.Load())
	done := time.Duration(q.work.Load()-before) * least
	if c.crowd > 0 && least > 0 && used > dear*least && done < used/4 {
		q.pausing.Store(pause)
	}
}

// enter appends j and those who make a full batch with it to jobs, or returns nil and has it wait.
func (q *queue) enter(jobs []*job, j *job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= perBatch-1 {
		return q.take(append(jobs, j))
	}
	q.waiting = append(q.waiting, j)
	q.some.Store(int32(len(q.waiting)))
	return nil
}

// leave takes j out of the queue and appends it, with those who make a batch worth it, to jobs; nothing if another has taken it.
func (q *queue) leave(jobs []*job, j *job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.taken {
		return jobs
	}
	for i, other := range q.waiting {
		if other == j {
			q.keep(append(q.waiting[:i], q.waiting[i+1:]...))
			break
		}
	}
	if jobs = append(jobs, j); len(q.waiting)+1 < worth {
		return jobs
	}
	return q.take(jobs)
}

// take moves the first who wait to jobs, which has room for them; the lock is held.
func (q *queue) take(jobs []*job) []*job {
	n := min(len(q.waiting), perBatch-len(jobs))
	for _, j := range q.waiting[:n] {
		j.taken = true
		jobs = append(jobs, j)
	}
	q.keep(append(q.waiting[:0], q.waiting[n:]...))
	return jobs
}

// keep has those wait who are left, in the memory that there was; the lock is held.
func (q *queue) keep(left []*job) {
	clear(q.waiting[len(left):])
	q.waiting = left
	q.some.Store(int32(len(left)))
}

// lead does a batch, of which the first is the caller's own, and lets the others go on. If it does not come to an end they
// do theirs themselves.
func (f *wide) lead(q *queue, jobs []*job) {
	ended := false
	defer func() {
		for _, j := range jobs[1:] {
			j.done <- ended
		}
	}()
	var room [perBatch]member
	members := room[:0]
	for _, j := range jobs {
		members = append(members, j.member)
	}
	f.power(members)
	ended = true
	q.work.Add(2)
	q.trusted.Store(trust)
}
