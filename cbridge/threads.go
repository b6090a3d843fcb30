package main

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

// perProcessor is how many processors Go has for each that the process may use, unless GOMAXPROCS is set. A thread of the
// application keeps one of Go's while the kernel has put it aside in the middle of a call, and for a while when it has left the
// library; with no more than the machine's, the others would wait for it, and a processor be idle.
const perProcessor = 4

// serveThreads makes ready for callers that are threads of the application: more of them may be in the library than there are
// processors, and RSA signatures of theirs are done together where they are that many.
func serveThreads() {
	before := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(perProcessor * before)
	}
	kernel.Together(yieldThread, 2*min(before, runtime.NumCPU()))
}

// yieldThread lets other threads of the application have the processor, and tells how long the process has computed meanwhile.
// Go's own way would not: to it each has a processor of its own already.
func yieldThread() time.Duration {
	before := computed()
	unix.RawSyscallNoError(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return computed() - before
}

// computed is the time of processors that the process has used.
func computed() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
