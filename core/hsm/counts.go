package hsm

// Counts is how much there is in an HSM, for who watches it. It names nothing.
type Counts struct {
	TokenObjects   int // that this process holds
	SessionObjects int // that were opened lately and are kept for the next request
	Users, Locked  int // users with a PIN, and those of them that too many wrong ones have locked
}

// Counter is what an HSM has that knows its Counts without asking anybody.
type Counter interface{ Counts() Counts }
