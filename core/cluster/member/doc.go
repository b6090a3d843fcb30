// Package member is a node's place in a cluster: how a cluster is made, how a machine joins one, who votes in the store,
// who is alive, and when what this node holds may be answered from.
//
// Create, Join, Recover and Zeroize are ceremonies on a state directory that no daemon is using; each is one call for one
// command. Open takes a state directory into service: it starts the store where this node has a copy, and the Member that
// it returns gives the engine its store (Member.Store) and implements node.Cluster. All methods of a Member may be called
// from many goroutines at once.
//
// Three promises are kept here, the reasons stand in the named files:
//
//   - when a change returns, every node that is known to be alive has taken it in (barrier.go);
//   - a node that is not known to be alive catches up before it answers, or says that it is isolated (alive.go);
//   - who votes changes by one step at a time, none of which can cost the quorum that there is (plan.go).
//
// What a cluster's nodes must know of each other lies sealed in the store, under a prefix of its own (records.go).
package member
