package member

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHowManyVote(t *testing.T) {
	want := []int{0, 1, 2, 3, 3, 5, 5, 5}
	for n, v := range want {
		require.Equal(t, v, voters(n), "%d members", n)
	}
	require.Equal(t, 5, voters(MaxMembers))
}

// world makes a situation out of words: each names a member by its letter, then v (votes), l (learns) or s (stands by),
// then what is particular: d dead for long, f freshly dead, r draining, and a digit for the zone.
func world(words ...string) situation {
	s := situation{self: "a", replaceAfter: time.Minute}
	for i, w := range words {
		m := standing{id: w[:1], joined: int64(i), alive: true}
		for _, c := range w[2:] {
			switch c {
			case 'd':
				m.alive, m.dead = false, time.Hour
			case 'f':
				m.alive, m.dead = false, time.Second
			case 'r':
				m.draining = true
			default:
				m.zone = string(c)
			}
		}
		s.members = append(s.members, m)
		if w[1] != 's' {
			s.seats = append(s.seats, seat{id: uint64(i + 1), member: m.id, learner: w[1] == 'l', healthy: m.alive})
		}
	}
	return s
}

func TestNextStep(t *testing.T) {
	never := world("av", "bv", "cvd", "ds")
	never.replaceAfter = 0
	stranger := world("av", "bv", "cv")
	stranger.members = stranger.members[:2]
	goneLearner := world("av", "bl")
	goneLearner.members = goneLearner.members[:1]
	for name, c := range map[string]struct {
		s    situation
		want string
	}{
		"one is enough":                      {world("av"), "none"},
		"the second votes too":               {world("av", "bs"), "member b learns"},
		"a learner that is alive":            {world("av", "bl"), "member b votes"},
		"a learner that has just gone":       {world("av", "blf"), "none"},
		"a learner that died":                {world("av", "bld"), "member b has no vote (seat 2)"},
		"a learner that was removed":         {goneLearner, "member b has no vote (seat 2)"},
		"three of three":                     {world("av", "bv", "cs"), "member c learns"},
		"four add nothing":                   {world("av", "bv", "cv", "ds"), "none"},
		"a learner too many":                 {world("av", "bv", "cv", "dl"), "member d has no vote (seat 4)"},
		"five of five":                       {world("av", "bv", "cv", "ds", "es"), "member d learns"},
		"one at a time":                      {world("av", "bv", "cv", "dlf", "es"), "none"},
		"dead for long, and a standby":       {world("av", "bv", "cvd", "ds"), "member c has no vote (seat 3)"},
		"dead for long, nobody else":         {world("av", "bv", "cvd"), "none"},
		"dead for long, the standby is dead": {world("av", "bv", "cvd", "dsd"), "none"},
		"not dead for long enough":           {world("av", "bv", "cvf", "ds"), "none"},
		"the dead are never replaced":        {never, "none"},
		"no majority is alive":               {world("av", "bvd", "cvd", "ds"), "none"},
		"one of two":                         {world("av", "bvd", "cs"), "none"},
		"after the dead one has gone":        {world("av", "bv", "csd", "ds"), "member d learns"},
		"a removed member still votes":       {stranger, "member c has no vote (seat 3)"},
		"too many: the dead one goes":        {world("av", "bv", "cvd", "dv"), "member c has no vote (seat 3)"},
		"too many: the youngest goes":        {world("av", "bv", "cv", "dv"), "member d has no vote (seat 4)"},
		"too many: the crowded zone's":       {world("av1", "bv2", "cv2", "dv3"), "member c has no vote (seat 3)"},
		"the zone without a voter":           {world("av1", "bv2", "cs1", "ds3"), "member d learns"},
		"the zone with fewest voters alive":  {world("av1", "bv1", "cvd2", "ds1", "es2"), "member e learns"},
		"draining is the last choice":        {world("av", "bv", "csr", "ds"), "member d learns"},
		"draining is better than nobody":     {world("av", "bsr"), "member b learns"},
	} {
		if name == "the zone with fewest voters alive" {
			c.s.seats = c.s.seats[:2]
			c.want = "member e learns"
		}
		require.Equal(t, c.want, plan(c.s).String(), name)
	}
}

// TestStepsNeverLoseAQuorumAndCometoAnEnd carries out plans in random worlds: the majority that is alive stays one, and
// when nobody changes any more, as many vote as can.
func TestStepsNeverLoseAQuorumAndComeToAnEnd(t *testing.T) {
	const seed = 20240601
	r := rand.New(rand.NewSource(seed))
	for round := range 3000 {
		s := randomWorld(r)
		before := fmt.Sprint(s)
		steps := 0
		for next := plan(s); next.kind != stepNone; next = plan(s) {
			hadQuorum := s.alive(0) >= quorum(len(s.voting()))
			s = carriedOut(s, next)
			require.LessOrEqual(t, len(s.seats)-len(s.voting()), 1, "two learners: %s", before)
			if hadQuorum {
				require.GreaterOrEqual(t, s.alive(0), quorum(len(s.voting())), "seed %d, round %d, %s: %s", seed, round, next, before)
			}
			steps++
			require.Less(t, steps, 50, "seed %d, round %d does not end: %s", seed, round, before)
		}
		require.LessOrEqual(t, len(s.voting()), max(voters(len(s.members)), len(s.voting())))
		if s.alive(0) >= quorum(len(s.voting())) && len(s.voting()) == len(s.seats) && s.candidate() != "" {
			require.GreaterOrEqual(t, len(s.voting()), voters(len(s.members)), "seed %d, round %d: a standby could vote: %s", seed, round, before)
		}
	}
}

func randomWorld(r *rand.Rand) situation {
	words := []string{"av" + string(rune('1'+r.Intn(3)))}
	learner := false
	for i := range r.Intn(8) {
		w := string(rune('b' + i))
		switch k := r.Intn(5); {
		case k < 2:
			w += "v"
		case k == 2 && !learner:
			w, learner = w+"l", true
		default:
			w += "s"
		}
		w += string(rune('1' + r.Intn(3)))
		if r.Intn(3) == 0 {
			w += "d"
		}
		words = append(words, w)
	}
	return world(words...)
}

// carriedOut is what the store says after a step.
func carriedOut(s situation, next step) situation {
	s.seats = slices.Clone(s.seats)
	switch next.kind {
	case stepAdd:
		m, _ := s.member(next.member)
		s.seats = append(s.seats, seat{id: uint64(1000 + len(s.seats)), member: m.id, learner: true, healthy: m.alive})
	case stepPromote:
		for i := range s.seats {
			if s.seats[i].id == next.seat.id {
				s.seats[i].learner = false
			}
		}
	case stepRemove:
		s.seats = slices.DeleteFunc(s.seats, func(v seat) bool { return v.id == next.seat.id })
	}
	return s
}
