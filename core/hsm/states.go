package hsm

import (
	"context"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// States is how an operation goes on elsewhere in the near side: in another session, or twice. PKCS#11 v3.2,
// C_GetOperationState, C_SetOperationState.
//
// A state may be as secret as the data and the key. The near side wipes it, and seals what it hands to the application.
type States interface {
	// SaveOperation returns the state of an operation between two parts, which goes on as before.
	// CKR_STATE_UNSAVEABLE for one whose mechanism keeps what cannot be taken along, and for one whose key is
	// CKA_ALWAYS_AUTHENTICATE: one PIN is for one operation.
	SaveOperation(ctx context.Context, op Operation) ([]byte, error)
	// RestoreOperation goes on from a state in a fresh operation that Begin would make with the same arguments, and with
	// its errors. CKR_SAVED_STATE_INVALID for a state that is not of these arguments. The state is not kept.
	RestoreOperation(ctx context.Context, cred Credential, kind OpKind, m pkcs11.Mechanism, key Object, state []byte) (Operation, error)
}
