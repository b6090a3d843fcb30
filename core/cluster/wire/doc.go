// Package wire is the protocol between Coffer's library and its nodes: the messages and the service (coffer.proto, of
// which coffer.pb.go and coffer_grpc.pb.go are generated), and the way between the messages and the types of packages
// pkcs11 and hsm. docs/wire-format.md describes it for those who write another client or judge its security.
//
// What begins with From makes a message and cannot meet anything hostile. What begins with To takes a message from
// someone who may lie: it checks every number, length, nesting and type, and what it returns without an error is what the
// decoder of C arguments could have made too. All of it may be called from many goroutines at once.
//
// A value in the result shares memory with the message or value that it was made from, but for the parameter of a
// mechanism, which is copied because an operation keeps it.
package wire

// Versions of the protocol. Client and node speak the lower of the two that they have as their newest; who has nothing
// in common with the other says so and stops.
const (
	Protocol    = 1 // the newest that this package speaks
	MinProtocol = 1 // the oldest
)

// Limits of the protocol. Both sides hold to them in what they send and refuse what exceeds them.
const (
	MaxMessage  = 32 << 20 // bytes of one message
	MaxPart     = 1 << 20  // bytes of an Update's data that a client sends in one Step
	MaxGathered = 16 << 20 // bytes that a client keeps for an operation that is done in one go

	MaxAttributes = 1024    // attributes of a template, those of the templates inside it included
	MaxNumbers    = 4096    // numbers of a list that is an attribute's value
	MaxText       = 300     // bytes of a Failure's text
	MaxDepth      = 4       // templates inside templates; an attribute of the object itself is at depth 1
	MaxElements   = 1 << 18 // fields and numbers of a request, those of the messages inside it included; see Codec
)
