package node

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/cluster/tally"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Stats is what a Server does and has done since it was made, for a monitoring system. Its strings are of closed sets.
type Stats struct {
	Kinds            []Kind
	Running, Waiting int // requests that are not answered yet: in work, and in a queue
	Streams          int // that are open
	StreamsMost      int
	Opened           uint64            // streams
	Refused          map[string]uint64 // connections and streams, by why
	Bytes, BytesMost int               // that requests and replies hold
	HSM              hsm.Counts
}

// Kind is what was counted of one kind of request.
type Kind struct {
	Name string
	// Answers are how many had which answer, by the return value's name; CKR_OK is always there.
	Answers map[string]uint64
	Took    tally.Durations // from when a request was read until its reply was ready, whatever it was
}

// Stats reads the counts. It takes no lock that a request waits for for long.
func (s *Server) Stats() Stats {
	n := Stats{Streams: int(s.streams.Load()), StreamsMost: s.limits.Streams, Opened: s.ledger.streams.Load(), Refused: map[string]uint64{}}
	for i := range s.ledger.kinds {
		n.Kinds = append(n.Kinds, s.ledger.kinds[i].read(kindNames[i]))
	}
	for i, name := range refusalNames {
		n.Refused[name] = s.ledger.refused[i].Load()
	}
	for _, l := range s.lanes {
		n.Waiting += l.waiting()
	}
	n.Running = max(0, int(s.running.Load())-n.Waiting)
	n.Bytes, n.BytesMost = s.bytes.held()
	if c, ok := s.opts.HSM.(hsm.Counter); ok {
		n.HSM = c.Counts()
	}
	return n
}

func (k *kindCounts) read(name string) Kind {
	succeeded := k.succeeded.Read()
	out := Kind{Name: name, Answers: map[string]uint64{pkcs11.CKR_OK.String(): succeeded.Count}, Took: succeeded.Plus(k.failed.Read())}
	for i := range k.answers {
		if n := k.answers[i].Load(); n > 0 {
			out.Answers[answerNames[i]] = n
		}
	}
	return out
}

// KindNames, AnswerNames and RefusalNames are all that Stats may name.
func KindNames() []string    { return slices.Clone(kindNames) }
func AnswerNames() []string  { return slices.Clone(answerNames) }
func RefusalNames() []string { return slices.Clone(refusalNames[:]) }

// waiting is how many calls no worker has taken yet.
func (l *lane) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.turns {
		n += len(q.calls)
	}
	return n
}

// held is how much is taken, of how much.
func (r *room) held() (n, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size - r.free, r.size
}
