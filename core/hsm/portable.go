package hsm

import (
	"context"
	"errors"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Portable is an HSM whose credentials, session objects and running operations can leave its process, sealed, and go on
// in any other process that holds the same root key: what a node serves. Whoever carries the sealed forms can neither
// read nor change them.
type Portable interface {
	HSM

	// SealCredential returns a credential for its holder to keep, good from now for the token's credential lifetime.
	// OpenCredential gives back the credential if holder is the one that it was made for (Caller.Holder at its login):
	// CKR_USER_NOT_LOGGED_IN for one that is forged, another holder's, of another token, of an epoch that is over or
	// expired.
	SealCredential(cred Credential) ([]byte, error)
	OpenCredential(sealed []byte, holder string) (Credential, error)

	// TokenObject names a token object; whether it is there shows when it is used.
	TokenObject(id string, private bool) Object
	// SealObject returns a session object, and what Object.Attribute answers of it, for its owner to keep. OpenObject
	// gives it back, or CKR_OBJECT_HANDLE_INVALID. The caller may not change the returned object's head. An object that
	// was made or changed here is given to Discard once it is sealed; the sealed form stays good.
	SealObject(o Object) (sealed []byte, head pkcs11.Template, err error)
	OpenObject(sealed []byte) (Object, error)

	// Describe tells what the near side must know of an operation to answer for sizes by itself.
	Describe(op Operation) Description
	// SealOperation returns the state of an operation between two parts; OpenOperation goes on from it in a fresh
	// operation that Begin would make with the same arguments. CKR_STATE_UNSAVEABLE for an operation whose
	// Description.Resumable is false, CKR_SAVED_STATE_INVALID for a state that is not of these arguments.
	SealOperation(op Operation) ([]byte, error)
	OpenOperation(ctx context.Context, cred Credential, kind OpKind, m pkcs11.Mechanism, key Object, sealed []byte) (Operation, error)

	// ResumeDigest returns a digest that goes on from a state that the near side has reached by itself: what the hash's
	// encoding.BinaryMarshaler gives. FinishDigest and VerifyDigest end a signature or verification over a digest that the
	// near side has made (Description.Hash).
	ResumeDigest(ctx context.Context, cred Credential, m pkcs11.Mechanism, state []byte) (Operation, error)
	FinishDigest(ctx context.Context, op Operation, dst, digest []byte) ([]byte, error)
	VerifyDigest(ctx context.Context, op Operation, digest, signature []byte) error

	// May answers nil where the caller's role may do what an action names, else CKR_USER_NOT_LOGGED_IN.
	May(cred Credential, a ClusterAction) error
	// Revision is the store's revision that this process has taken in; Await returns once that is at least revision.
	Revision() int64
	Await(ctx context.Context, revision int64) error
	// Digest is a hash over all objects that this process holds in memory, for comparing copies, with the revision that it
	// is of and the number of those that the caller may see. Holds answers, for each identity, whether the token object is in
	// memory.
	Digest(ctx context.Context, cred Credential) (sum []byte, objects int, revision int64, err error)
	Holds(ids []string) []bool
}

// ClusterAction is what only some roles may do to a cluster.
type ClusterAction uint8

// The actions.
const (
	ManageCluster ClusterAction = iota // add, remove and drain members
)

// Description is what Begin learns of an operation for the near side. The zero Description is of an operation in one part
// with output of unknown size.
type Description struct {
	Shape Shape
	// Hash names what the near side may do by itself: the operation is a digest, or it signs or verifies the digest of
	// its data (crypto.Hash.String(), "SHA-256"); empty where the data itself must come.
	Hash string
	// Parts says that Update works; Resumable, that the state can be sealed between parts. Of an operation with Parts
	// that is not Resumable the near side keeps the data until the end.
	Parts, Resumable bool
	MustAuthenticate bool
}

// Shape is how much output a cipher gives for how much input. Of a signature only the finish counts: a constant.
type Shape struct {
	// Of pending+n bytes of input in total, Update gives all whole blocks, but for the last byte's if Hold is set. Block 0:
	// all output comes at the end.
	Block int
	Hold  bool
	// Finish gives (total+Add) rounded down to Align, plus Post, and never less than 0. Align 0: just Post. Exact says
	// that it is no mere upper bound.
	Add, Align, Post int
	Exact            bool
}

// UpdateLen is Operation.UpdateLen with pending bytes taken and not yet given out.
func (s Shape) UpdateLen(pending, n int) int {
	total := pending + n
	if s.Hold && total > 0 {
		total--
	}
	if s.Block == 0 {
		return 0
	}
	return total - total%s.Block
}

// FinishLen is Operation.FinishLen with pending bytes taken and not yet given out.
func (s Shape) FinishLen(pending, n int) (size int, exact bool) {
	if s.Align > 0 {
		total := pending + n + s.Add
		size = total - total%s.Align
	}
	return max(size+s.Post, 0), s.Exact
}

// Caller is what a node knows of a request beside its arguments; it travels in the context.
type Caller struct {
	// Holder is who the transport says is calling: a certificate's name, a local user. Empty: nobody in particular.
	Holder string
	// Operation is the caller's own name for a request that changes something, the same when it is sent again: 16 random
	// bytes as a string, or empty. It is committed together with the change, so that sending it twice does it once.
	Operation string
}

type callerKey struct{}

// WithCaller returns a context that carries c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns what WithCaller has put in, or the zero Caller.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// ErrExpired is the cause of CKR_USER_NOT_LOGGED_IN for a credential whose time is over by this process's clock. Another
// process's clock may say otherwise.
var ErrExpired = errors.New("the login has expired")
