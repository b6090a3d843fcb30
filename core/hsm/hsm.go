// Package hsm is the seam between the PKCS #11 machine (the near side, in the application's process) and what holds the
// keys (the far side: an engine in the same process, or a client of remote nodes).
//
// What a session is, is the near side's business alone. What a key may do, is the far side's alone. Every request is
// self-contained: it says who asks (a Credential), which objects are meant and what is wanted, so that any replica of a
// token can answer any request. All methods may be called from many goroutines at once.
//
// Errors carry return values of the standard (pkcs11.RVOf). Slices that a caller passes in are not kept, but for the
// parameter of a mechanism, which is the far side's from Begin until the operation ends. Slices that are returned are the
// caller's to change and to wipe.
package hsm

import (
	"context"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// HSM is one token.
type HSM interface {
	Admin
	Users
	Objects
	Keys
	States

	// Begin checks the key, the mechanism and the caller's right, and returns the running operation. The key is nil
	// for a digest. PKCS#11 v3.2, C_EncryptInit and its siblings.
	Begin(ctx context.Context, cred Credential, kind OpKind, m pkcs11.Mechanism, key Object) (Operation, error)

	// Random fills p. PKCS#11 v3.2, C_GenerateRandom.
	Random(ctx context.Context, p []byte) error
	// Seed mixes seed into the generator, or answers CKR_RANDOM_SEED_NOT_SUPPORTED. PKCS#11 v3.2, C_SeedRandom.
	Seed(ctx context.Context, seed []byte) error

	// Close gives up what the token holds in this process. Credentials and operations end.
	Close() error
}

// Admin is the life of the token and of its users.
type Admin interface {
	// Info describes the token as it is now; the session counts are the near side's to fill in.
	Info(ctx context.Context) (pkcs11.TokenInfo, error)
	// Mechanisms lists what the token can do, in ascending order.
	Mechanisms() []pkcs11.MechanismType
	// Mechanism describes one; ok is false where the token does not have it.
	Mechanism(t pkcs11.MechanismType) (info pkcs11.MechanismInfo, ok bool)

	// InitToken makes a new token, or, given the SO's PIN, erases the one that is there. PKCS#11 v3.2, C_InitToken.
	InitToken(ctx context.Context, soPIN []byte, label string) error
	// Login checks a PIN and returns what later requests carry. PKCS#11 v3.2, C_Login, C_LoginUser. The user name may
	// be empty: the token's own user of that type.
	Login(ctx context.Context, user pkcs11.UserType, name string, pin []byte) (Credential, error)
	// Logout ends a credential.
	Logout(ctx context.Context, cred Credential) error
	// InitPIN sets the normal user's PIN; cred must be the SO's. PKCS#11 v3.2, C_InitPIN.
	InitPIN(ctx context.Context, cred Credential, pin []byte) error
	// SetPIN replaces a user's own PIN and returns a fresh credential of that user, for all older ones have ended. The
	// user name may be empty, as in Login. PKCS#11 v3.2, C_SetPIN.
	SetPIN(ctx context.Context, user pkcs11.UserType, name string, oldPIN, newPIN []byte) (Credential, error)
}

// Limits is what decides whether a session may be opened; the numbers are those of CK_TOKEN_INFO.
type Limits struct {
	Sessions, RwSessions uint
	WriteProtected       bool
}

// Limiter is what an HSM has that knows its Limits without describing the whole token.
type Limiter interface {
	Limits(ctx context.Context) (Limits, error)
}

// Credential is the proof of a login. It is opaque to the near side, which stores it and hands it back; nil means that
// nobody is logged in.
type Credential interface {
	User() pkcs11.UserType
}

// Object names one object to the far side: a token object by its identity, or a session object by its value (a pointer
// in the same process, or a sealed blob that travels with each request).
type Object interface {
	// ID is CKA_UNIQUE_ID.
	ID() string
	// Token is CKA_TOKEN, Private is CKA_PRIVATE; neither ever changes.
	Token() bool
	Private() bool
	// Attribute gives an attribute of a session object that is not sensitive, for finding. A token object need not
	// answer.
	Attribute(t pkcs11.AttributeType) (value any, ok bool)
}

// Value is the answer for one attribute: a value, or why there is none (CKR_ATTRIBUTE_SENSITIVE,
// CKR_ATTRIBUTE_TYPE_INVALID).
type Value struct {
	Value any
	Err   error
	// Shared says that the value is the far side's own (Shower): it is read, never changed, wiped or kept.
	Shared bool
}

// Shower is what an HSM has that lives in the same process and has attributes at hand.
type Shower interface {
	// Show is Attributes into memory of the caller's: values has a place for each type.
	Show(ctx context.Context, cred Credential, o Object, types []pkcs11.AttributeType, values []Value) error
}

// Objects is the management of objects. PKCS#11 v3.2, section 5.7.
type Objects interface {
	Create(ctx context.Context, cred Credential, template pkcs11.Template) (Object, error)
	Copy(ctx context.Context, cred Credential, source Object, template pkcs11.Template) (Object, error)
	Destroy(ctx context.Context, cred Credential, o Object) error
	// Discard gives up a session object whose session has ended: nobody is asked, and it is no act of the user.
	Discard(o Object)
	Size(ctx context.Context, cred Credential, o Object) (uint, error)
	// Attributes answers for each type in order; err is for the object as a whole.
	Attributes(ctx context.Context, cred Credential, o Object, types []pkcs11.AttributeType) ([]Value, error)
	SetAttributes(ctx context.Context, cred Credential, o Object, template pkcs11.Template) error
	// Find returns the token objects that match and that the caller may see, oldest first. Session objects are matched
	// on the near side.
	Find(ctx context.Context, cred Credential, template pkcs11.Template) ([]Object, error)
}

// Keys is what makes keys and moves them. CKA_TOKEN in the template says whether a token or a session object results.
// PKCS#11 v3.2, section 5.18.
type Keys interface {
	GenerateKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, template pkcs11.Template) (Object, error)
	GenerateKeyPair(ctx context.Context, cred Credential, m pkcs11.Mechanism, public, private pkcs11.Template) (pub, priv Object, err error)
	WrapKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, wrapping, key Object) ([]byte, error)
	UnwrapKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, unwrapping Object, wrapped []byte, template pkcs11.Template) (Object, error)
	// DeriveKey makes one or several keys: all or none. named are the keys that the parameter names by handle
	// (pkcs11.Places); it is not changed.
	DeriveKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, base Object, named []Named, template pkcs11.Template) (Derived, error)

	// EncapsulateKey makes a secret key with a public one. room is how many bytes the caller has place for: where the
	// ciphertext is longer, nothing is made and only its length is said. PKCS#11 v3.2, C_EncapsulateKey.
	EncapsulateKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, public Object, template pkcs11.Template, room int) (Encapsulated, error)
	// DecapsulateKey makes the same key with the private one. PKCS#11 v3.2, C_DecapsulateKey.
	DecapsulateKey(ctx context.Context, cred Credential, m pkcs11.Mechanism, private Object, ciphertext []byte, template pkcs11.Template) (Object, error)
}

// Named is a key that a mechanism's parameter names.
type Named struct {
	Handle pkcs11.Handle
	Key    Object
}

// Derived is what a derivation has made.
type Derived struct {
	Key     Object   // nil where the parameter has a place for every key (pkcs11.Places.Instead)
	More    []Object // for the parameter's places, in their order; nil for a key that is not made
	Outputs [][]byte // in the order of the parameter's outputs
}

// Encapsulated is a new key and the ciphertext that carries it to whoever has the private key.
type Encapsulated struct {
	Key        Object // nil: there was no room for the ciphertext
	Ciphertext []byte
	Size       int // of the ciphertext, known without making it
}
