// Package tally counts how long things take, for a monitoring system to fetch: two atomic additions for each, and no lock.
package tally

import (
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of the buckets, ascending; what takes longer is in one more.
var Bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram is how often something took how long. The zero value is ready, and may be used by many goroutines at once.
type Histogram struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts one that took d.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Durations is what a Histogram has counted.
type Durations struct {
	Counts [len(Bounds) + 1]uint64 // in each bucket alone
	Count  uint64                  // of all
	Sum    time.Duration
}

// Read returns what was counted. Of what is counted at this moment the sum may lack or have more than the counts.
func (h *Histogram) Read() (d Durations) {
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
		d.Count += d.Counts[i]
	}
	d.Sum = time.Duration(h.sum.Load())
	return d
}

// Plus returns what both have counted.
func (d Durations) Plus(more Durations) Durations {
	for i, n := range more.Counts {
		d.Counts[i] += n
	}
	d.Count += more.Count
	d.Sum += more.Sum
	return d
}
