package conformance

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/coffer-hsm/coffer/core/mech/evidence"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// recorder remembers what was really executed on a stack: functions that succeeded, and pairs of a mechanism and a flag
// of CK_MECHANISM_INFO whose operation came to its end.
type recorder struct {
	stack string

	mu        sync.Mutex
	calls     int
	functions map[string]bool
	pairs     map[pair]bool
	active    map[running]pkcs11.MechanismType
}

type pair struct {
	mechanism pkcs11.MechanismType
	flag      pkcs11.Flags
}

type running struct {
	h    session
	flag pkcs11.Flags
}

var recorders = map[string]*recorder{}

func recorderOf(s *Stack) *recorder {
	r := recorders[s.Name]
	if r == nil {
		r = &recorder{stack: s.Name, functions: map[string]bool{}, pairs: map[pair]bool{}, active: map[running]pkcs11.MechanismType{}}
		recorders[s.Name] = r
	}
	return r
}

// over returns the module with the recorder in front.
func (r *recorder) over(m Module) Module { return &recorded{Module: m, r: r} }

// saw notes a call and its outcome.
func (r *recorder) saw(function string, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if err == nil {
		r.functions[function] = true
	}
	return err
}

// began notes that an operation has begun.
func (r *recorder) began(function string, h session, flag pkcs11.Flags, m *mech, err error) error {
	if err == nil && m != nil {
		r.mu.Lock()
		r.active[running{h, flag}] = m.Type
		r.mu.Unlock()
	}
	return r.saw(function, err)
}

// ended notes that an operation has come to its end, unless the call only asked for a length.
func (r *recorder) ended(function string, h session, flag pkcs11.Flags, o *out, err error) error {
	if err == nil && (o == nil || !o.Query) {
		r.mu.Lock()
		if m, ok := r.active[running{h, flag}]; ok {
			r.pairs[pair{m, flag}] = true
			delete(r.active, running{h, flag})
		}
		r.mu.Unlock()
	}
	return r.saw(function, err)
}

// did notes an operation of one call.
func (r *recorder) did(function string, flag pkcs11.Flags, m *mech, o *out, err error) error {
	if err == nil && m != nil && (o == nil || !o.Query) {
		r.mu.Lock()
		r.pairs[pair{m.Type, flag}] = true
		r.mu.Unlock()
	}
	return r.saw(function, err)
}

// executed reports whether a pair was executed.
func (r *recorder) executed(m pkcs11.MechanismType, flag pkcs11.Flags) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pairs[pair{m, flag}]
}

// report prints the counts of all stacks.
func report(w io.Writer) {
	for _, s := range stacks {
		r := recorders[s.Name]
		if r == nil {
			continue
		}
		mechanisms := map[pkcs11.MechanismType]bool{}
		for p := range r.pairs {
			mechanisms[p.mechanism] = true
		}
		fmt.Fprintf(w, "conformance: %-8s %d functions, %d mechanisms, %d pairs of mechanism and flag, in %d calls\n",
			s.Name+":", len(r.functions), len(mechanisms), len(r.pairs), r.calls)
	}
	// The families' own tests check them; core/mech/all proves that no mechanism is without.
	if n, err := evidence.Total("../../core/mech"); err != nil {
		fmt.Fprintln(w, "conformance: vectors:", err)
	} else {
		fmt.Fprintf(w, "conformance: vectors: %d known answers are checked by the tests of the families\n", n)
	}
}

// untouched lists the functions of a stack that no test has seen succeed.
func (r *recorder) untouched() []string {
	var left []string
	for _, f := range functionNames() {
		if !r.functions[f] {
			left = append(left, f)
		}
	}
	slices.Sort(left)
	return left
}
