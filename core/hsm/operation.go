package hsm

import (
	"context"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// OpKind says what a running operation does.
type OpKind uint8

// The kinds of operation; a session of the standard's 3.x runs one of each at once.
const (
	OpEncrypt OpKind = iota
	OpDecrypt
	OpDigest
	OpSign
	OpVerify
	OpSignRecover
	OpVerifyRecover
	NumOpKinds
)

func (k OpKind) String() string {
	return [...]string{"encrypt", "decrypt", "digest", "sign", "verify", "sign-recover", "verify-recover"}[k]
}

// Reuser is what an HSM has whose operations' memory can serve the next one.
type Reuser interface {
	// BeginIn is HSM.Begin in the memory of an operation that has been closed, and that nobody else has: if it succeeds, the
	// caller has given it away. Any operation may be given, and nil, where there is none.
	BeginIn(ctx context.Context, used Operation, cred Credential, kind OpKind, m pkcs11.Mechanism, key Object) (Operation, error)
}

// InPlacer is what an Operation has that may write the output of a one-shot call over its input.
type InPlacer interface {
	// InPlace says that Finish, called now, may be given a dst that is empty, begins where part does and has room for all
	// of the output.
	InPlace() bool
}

// Operation is one running operation. It lives on the near side; a remote one carries its sealed state with each call.
// It is used by one goroutine at a time. After any error but Authenticate's, and after Finish or Verify, only Close may
// be called.
//
// A one-shot call is Finish (or Verify) with all the data and no Update before it.
type Operation interface {
	// UpdateLen is how many bytes Update returns, exactly, for n more bytes of input; 0 for digests and signatures.
	UpdateLen(n int) int
	// Update takes a part and appends the output to dst. CKR_FUNCTION_NOT_SUPPORTED where the mechanism works in one
	// part only.
	Update(ctx context.Context, dst, part []byte) ([]byte, error)

	// FinishLen is an upper bound of what Finish returns when n more bytes come with it. exact says that it is no
	// mere bound: then a shorter buffer is refused beforehand, without ending the operation.
	FinishLen(n int) (size int, exact bool)
	// Finish takes the last part, which may be empty, and appends the rest of the output to dst.
	Finish(ctx context.Context, dst, part []byte) ([]byte, error)

	// Verify ends a verification: CKR_OK, CKR_SIGNATURE_INVALID or CKR_SIGNATURE_LEN_RANGE.
	Verify(ctx context.Context, part, signature []byte) error

	// DigestKey feeds a secret key's value into a digest. PKCS#11 v3.2, C_DigestKey.
	DigestKey(ctx context.Context, cred Credential, key Object) error

	// MustAuthenticate says that the key is CKA_ALWAYS_AUTHENTICATE and that nothing but Authenticate is allowed yet.
	MustAuthenticate() bool
	// Authenticate checks the user's PIN for this operation; a wrong one leaves the operation as it was. PKCS#11 v3.2,
	// C_Login with CKU_CONTEXT_SPECIFIC.
	Authenticate(ctx context.Context, pin []byte) error

	// Close wipes the operation's state. It may be called more than once.
	Close()
}
