package member

import (
	"cmp"
	"slices"
	"time"
)

// voters is how many nodes vote in a cluster of that size. Two vote where there are two, so that whatever was
// acknowledged is on both; four add nothing to three.
func voters(members int) int {
	switch {
	case members >= 5:
		return 5
	case members >= 3:
		return 3
	}
	return members
}

// A seat is a member of the store's own cluster: one that votes, or a learner that takes in what there is until it may.
type seat struct {
	id      uint64 // the store's
	member  string // ours; empty where none of our members is at that address
	learner bool
	healthy bool // its node is alive and its store works
}

// A standing is what the plan needs of one of our members.
type standing struct {
	id       string
	zone     string
	joined   int64 // Unix seconds
	draining bool
	alive    bool
	dead     time.Duration // for how long nobody has heard of it; 0 while it is alive
}

// stepKind is one change of who votes.
type stepKind int

const (
	stepNone    stepKind = iota
	stepAdd              // take a member in as a learner
	stepPromote          // a learner becomes a voter, once it is in step
	stepRemove           // take a seat away
)

// step is what is to be done next, and why, in words for the log.
type step struct {
	kind   stepKind
	member string // of stepAdd
	seat   seat   // of the others
	why    string
}

// situation is all that plan looks at.
type situation struct {
	self         string // the member that carries the plan out: it is alive
	members      []standing
	seats        []seat
	replaceAfter time.Duration // 0: the dead keep their seats
}

// plan returns the next step towards the number of voters that the cluster is to have, none of them dead while another
// could take the seat. One step is taken at a time, and the next is planned from what the store then says. No step
// leaves a quorum that the voters who are alive do not reach.
//
// The order is: learners first, for there is one at most and it is on its way or in the way; seats of nobody; the dead;
// too many; too few.
func plan(s situation) step {
	if s.alive(0) < quorum(len(s.voting())) {
		return step{} // nothing can be agreed on
	}
	for _, rule := range []func(situation) step{learnerNext, strangerOut, deadOut, surplusOut, seatFree} {
		if next := rule(s); next.kind != stepNone {
			return next
		}
	}
	return step{}
}

// learnerNext promotes the learner, or takes it out where it has died, has gone, or is not needed any more.
func learnerNext(s situation) step {
	for _, l := range s.seats {
		if !l.learner {
			continue
		}
		m, known := s.member(l.member)
		switch {
		case !known:
			return step{kind: stepRemove, seat: l, why: "it is no member any more"}
		case m.dead > max(s.replaceAfter, deadLearner):
			return step{kind: stepRemove, seat: l, why: "it died before it was in step"}
		case !l.healthy:
			continue
		case len(s.voting()) >= voters(len(s.members)):
			return step{kind: stepRemove, seat: l, why: "there are enough voters without it"}
		case s.alive(0)+1 >= quorum(len(s.voting())+1):
			return step{kind: stepPromote, seat: l, why: "it is to vote"}
		}
	}
	return step{}
}

// deadLearner is how long a learner may be away where the dead are never replaced.
const deadLearner = time.Minute

// strangerOut takes away a voter that none of our members is: one that was removed.
func strangerOut(s situation) step {
	for _, v := range s.voting() {
		if _, known := s.member(v.member); !known && s.spares(v) {
			return step{kind: stepRemove, seat: v, why: "it is no member any more"}
		}
	}
	return step{}
}

// deadOut takes away a voter that has been dead for long, where a standby can take its place. The dead one goes first:
// a learner that was promoted beside it would raise the quorum while it is down.
func deadOut(s situation) step {
	if s.replaceAfter <= 0 || s.candidate() == "" {
		return step{}
	}
	for _, v := range s.voting() {
		if m, _ := s.member(v.member); m.dead >= s.replaceAfter && !v.healthy && s.spares(v) {
			return step{kind: stepRemove, seat: v, why: "it has been dead for " + m.dead.Round(time.Second).String()}
		}
	}
	return step{}
}

// surplusOut takes a vote away where more vote than are to: a dead one's, else one of the zone that has most, the
// youngest, and not the one that carries this out.
func surplusOut(s situation) step {
	seats := s.voting()
	if len(seats) <= voters(len(s.members)) {
		return step{}
	}
	crowd := s.zones()
	slices.SortFunc(seats, func(a, b seat) int {
		ma, _ := s.member(a.member)
		mb, _ := s.member(b.member)
		return cmp.Or(
			order(a.healthy, b.healthy),
			order(a.member == s.self, b.member == s.self),
			cmp.Compare(crowd[mb.zone], crowd[ma.zone]),
			cmp.Compare(mb.joined, ma.joined),
			cmp.Compare(a.member, b.member),
		)
	})
	for _, v := range seats {
		if v.member != s.self && s.spares(v) {
			return step{kind: stepRemove, seat: v, why: "fewer members need fewer votes"}
		}
	}
	return step{}
}

// seatFree takes a standby in where fewer vote than are to. One learner at a time.
func seatFree(s situation) step {
	if len(s.voting()) >= voters(len(s.members)) || len(s.voting()) < len(s.seats) {
		return step{}
	}
	if id := s.candidate(); id != "" {
		return step{kind: stepAdd, member: id, why: "a vote is free"}
	}
	return step{}
}

// candidate is the standby that should vote next: alive, of the zone with the fewest voters who are alive, the eldest.
// One that is draining is taken only where there is no other.
func (s situation) candidate() string {
	seated := map[string]bool{}
	for _, v := range s.seats {
		seated[v.member] = true
	}
	crowd := s.zones()
	var free []standing
	for _, m := range s.members {
		if m.alive && !seated[m.id] {
			free = append(free, m)
		}
	}
	if len(free) == 0 {
		return ""
	}
	return slices.MinFunc(free, func(a, b standing) int {
		return cmp.Or(
			order(a.draining, b.draining),
			cmp.Compare(crowd[a.zone], crowd[b.zone]),
			cmp.Compare(a.joined, b.joined),
			cmp.Compare(a.id, b.id),
		)
	}).id
}

// zones counts the voters who are alive in each zone.
func (s situation) zones() map[string]int {
	n := map[string]int{}
	for _, v := range s.voting() {
		if m, known := s.member(v.member); known && v.healthy {
			n[m.zone]++
		}
	}
	return n
}

func (s situation) member(id string) (standing, bool) {
	i := slices.IndexFunc(s.members, func(m standing) bool { return m.id == id })
	if i < 0 || id == "" {
		return standing{}, false
	}
	return s.members[i], true
}

// voting returns the seats that vote, in a slice of its own.
func (s situation) voting() []seat {
	return slices.DeleteFunc(slices.Clone(s.seats), func(v seat) bool { return v.learner })
}

// alive counts the voters who are, but for the one with that id.
func (s situation) alive(but uint64) int {
	n := 0
	for _, v := range s.voting() {
		if v.healthy && v.id != but {
			n++
		}
	}
	return n
}

// spares reports whether those who stay are a quorum of what there is without v, and of what there is now: the removal
// itself has to be agreed on.
func (s situation) spares(v seat) bool {
	n := len(s.voting())
	return n > 1 && s.alive(v.id) >= quorum(n-1) && s.alive(0) >= quorum(n)
}

func quorum(n int) int { return n/2 + 1 }

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
