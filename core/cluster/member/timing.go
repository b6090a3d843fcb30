package member

import "time"

// Timing is how fast a cluster notices and acts. The zero value stands for the defaults, which suit machines that reach
// each other within 20 ms. All nodes should have the same; what a node claims it tells the others.
type Timing struct {
	// Lease is after how long without renewal the store forgets that a node is alive: whole seconds.
	Lease time.Duration
	// Claim is for how long a node believes that the others know it to be alive, from when it sent a renewal; it is
	// renewed five times in that. It must be shorter than Lease. A change waits that long for a node that died, so it
	// is short; it is longer than an election, so that one does not stop anybody from answering.
	Claim     time.Duration
	Heartbeat time.Duration // of the store's leader
	Election  time.Duration // without a heartbeat for that long and up to twice that, the voters elect another
	Tick      time.Duration // between two looks at what is to be done
	// Alone is after how long without a quorum a voter that was started serves what its own copy holds: long enough for a
	// cluster that is started as a whole.
	Alone time.Duration

	noSync bool // for tests: the store does not wait for the disk
}

var defaultTiming = Timing{
	Lease:     3 * time.Second,
	Claim:     750 * time.Millisecond,
	Heartbeat: 30 * time.Millisecond,
	Election:  300 * time.Millisecond,
	Tick:      time.Second,
	Alone:     15 * time.Second,
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct{ v, def *time.Duration }{
		{&t.Lease, &defaultTiming.Lease}, {&t.Claim, &defaultTiming.Claim}, {&t.Heartbeat, &defaultTiming.Heartbeat},
		{&t.Election, &defaultTiming.Election}, {&t.Tick, &defaultTiming.Tick},
		{&t.Alone, &defaultTiming.Alone},
	} {
		if *d.v <= 0 {
			*d.v = *d.def
		}
	}
	t.Lease = max(t.Lease.Round(time.Second), time.Second)
	t.Claim = min(t.Claim, t.Lease-t.Lease/10)
	return t
}
