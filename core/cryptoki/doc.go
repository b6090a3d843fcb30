// Package cryptoki is the PKCS #11 machine over hsm.HSM: slots, sessions, handles, login state, find cursors, running
// operations and the two-call size rule. It has one method for each function of the standard, under the standard's name
// without "C_" and with its arguments in the standard's order; one file for each of its chapters.
//
// What a session is, is decided here. What a key may do, is decided behind hsm.HSM and nowhere here.
//
// All methods may be called from many goroutines at once, C_Finalize among them. Calls in one session take turns. The way
// to a key (session, handle, login) takes no lock that two sessions share, and neither does a session's coming or going
// while there are others (census). Locks are taken in the order slot.use, session.mu, slot.loginMu, slot.mu, kept.mu,
// pending.mu, and last that of a shard of numbers.
//
// A caller may bring memory for output along in Out.Bytes, with length 0: output that it has room for goes there, and
// what Out.Bytes has at the end may be either that or new. Whatever it is, is the caller's to wipe, up to its capacity.
package cryptoki
