package member

import "time"

// Timing is how fast a cluster notices and acts. The zero value stands for the defaults, which suit machines that reach
// each other within 50 ms; all nodes must have the same.
type Timing struct {
	Lease     time.Duration // a node that nobody has heard of for that long is not alive: whole seconds
	Heartbeat time.Duration // of the store's leader
	Election  time.Duration // without a heartbeat for that long, the voters elect another
	Tick      time.Duration // between two looks at what is to be done

	noSync bool // for tests: the store does not wait for the disk
}

var defaultTiming = Timing{Lease: 3 * time.Second, Heartbeat: 100 * time.Millisecond, Election: time.Second, Tick: time.Second}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct{ v, def *time.Duration }{
		{&t.Lease, &defaultTiming.Lease}, {&t.Heartbeat, &defaultTiming.Heartbeat},
		{&t.Election, &defaultTiming.Election}, {&t.Tick, &defaultTiming.Tick},
	} {
		if *d.v <= 0 {
			*d.v = *d.def
		}
	}
	t.Lease = max(t.Lease.Round(time.Second), time.Second)
	return t
}
