package node

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// journal is a log that no client can fill.
type journal struct {
	out     func(error)
	limit   *rate.Limiter
	dropped atomic.Int64
}

// Lines that may come at once, and in each second.
const (
	logBurst = 50
	logRate  = 5
)

func newJournal(out func(error)) *journal {
	return &journal{out: out, limit: rate.NewLimiter(logRate, logBurst)}
}

func (j *journal) printf(format string, args ...any) {
	switch {
	case j.out == nil:
	case !j.limit.Allow():
		j.dropped.Add(1)
	default:
		if n := j.dropped.Swap(0); n > 0 {
			j.out(fmt.Errorf("%d lines before this one were left out", n))
		}
		j.out(fmt.Errorf(format, args...))
	}
}
