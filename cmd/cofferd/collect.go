package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage there may be before the collector runs. A node holds many small objects for long, so that the heap may
// grow by a third; but what each request leaves behind is next to nothing, and with a heap of a few megabytes the collector
// would run forty times a second under load, and take a sixth of the processor.
const (
	collectAt   = 35       // percent of what is alive
	leastGrowth = 48 << 20 // bytes
)

// paceCollector sets the collector's percentage now and after each of its runs.
func paceCollector() {
	now := collectAt
	debug.SetGCPercent(now)
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var pace func(*[16]byte)
	pace = func(sentinel *[16]byte) {
		metrics.Read(alive)
		if p := percentFor(alive[0].Value.Uint64()); p != now {
			now = p
			debug.SetGCPercent(p)
		}
		runtime.SetFinalizer(sentinel, pace) // found dead by the next run
	}
	runtime.SetFinalizer(new([16]byte), pace)
}

// percentFor is what lets a heap of which so many bytes are alive grow as much as it may, in steps of a tenth, so that it
// seldom changes.
func percentFor(alive uint64) int {
	percent := uint64(leastGrowth) * 100 / max(alive, 1<<20)
	return int(max(percent-percent%10, collectAt))
}
