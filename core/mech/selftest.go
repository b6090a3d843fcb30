package mech

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// SelfTest is a known answer, or a pair of keys that has to fit together, that is computed once before the rows that it
// covers are used for the first time. What it finds holds for as long as it lives: a computer that has failed once is
// not asked again. It may be used by many goroutines; those that come while it runs wait for it.
type SelfTest struct {
	Name   string
	Source string // where the answer is from: a file below core/mech; empty for a pair of keys
	run    func() error

	passed atomic.Bool // what the way of every operation looks at
	once   sync.Once
	err    error
}

// NewSelfTest returns a test that has not run. One that panics has failed.
func NewSelfTest(name, source string, run func() error) *SelfTest {
	return &SelfTest{Name: name, Source: source, run: run}
}

// Passed runs the test if it has not run yet: nil, or CKR_DEVICE_ERROR for ever.
func (s *SelfTest) Passed() error {
	if s.passed.Load() {
		return nil
	}
	s.once.Do(func() {
		if err := s.guarded(); err != nil {
			s.err = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the self-test %s has failed: %v", s.Name, err)
			return
		}
		s.passed.Store(true)
	})
	return s.err
}

func (s *SelfTest) guarded() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return s.run()
}

// Ready says whether the row may be used: it runs those of its self-tests that have not run in this process.
func (m *Mechanism) Ready() error {
	for _, s := range m.SelfTests {
		if err := s.Passed(); err != nil {
			return err
		}
	}
	return nil
}
