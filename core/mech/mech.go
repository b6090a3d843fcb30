// Package mech says what a mechanism is: a row of constructors. What C_GetMechanismInfo answers, what may be called with
// the mechanism and what the documentation lists, follow from which constructors the row has; nothing is said twice.
//
// Families of mechanisms are sub-packages, each a table of rows; package all puts them together. Rows hold no state and
// may be used by many goroutines at once; what their constructors return belongs to one operation.
package mech

import (
	"crypto"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Mechanism is one row. A nil constructor means that the mechanism cannot do that.
//
// Constructors check the parameter (its Go type first: CKR_MECHANISM_PARAM_INVALID) and the key's values. The engine has
// already checked the key's class, its type against KeyTypes, and what its attributes allow. A constructor must be safe
// to call with any parameter that the decoder can produce: nil, typed nil, wild numbers, slices of any length. It may keep
// the parameter, which nobody changes while the operation runs; and with an error it returns a nil interface.
type Mechanism struct {
	Type     pkcs11.MechanismType
	KeyTypes []pkcs11.KeyType // of the key that the operation uses; of the key that results, for generators
	Min, Max uint             // key sizes, in the unit that the standard's mechanism table names
	Flags    pkcs11.Flags     // what cannot be computed from the row: the CKF_EC_ flags
	OnePart  bool             // the standard knows no multi-part form
	Hash     crypto.Hash      // the hash of a digest, or what a signature hashes the data with first; 0 if none
	Legacy   bool             // broken or dead: offered only where the token's policy asks for it

	// SelfTests have to pass before the row is used; package selftest gives each row of a registry its own.
	SelfTests []*SelfTest

	// Digest's results are hashes of package hashes: hashes.AppendState and hashes.Resume take them between processes.
	// Return, which may be nil, takes back one that has been reset and that nobody uses any more.
	Digest  func(param any) (hash.Hash, error)
	Return  func(hash.Hash)
	Encrypt func(k Key, param any) (Cipher, error)
	Decrypt func(k Key, param any) (Cipher, error)
	Sign    func(k Key, param any) (Signer, error)
	Verify  func(k Key, param any) (Verifier, error)
	// Capacity is there if a private key can make so many signatures and no more, each with an index of its own. The
	// Signers are then Indexed, the engine gives each an index from 0 up to the capacity, no index twice, ever, and the
	// key's CKA_HSS_KEYS_REMAINING is the state: it falls by what was reserved before a signature is made.
	Capacity func(k Key) (uint64, error)
	// SignRecover and VerifyRecover give the data back from the signature; one part only.
	SignRecover   func(k Key, param any) (Cipher, error)
	VerifyRecover func(k Key, param any) (Cipher, error)

	// Generate makes a secret key's values (CKA_VALUE) from the template's wishes (CKA_VALUE_LEN). With Parameters, it makes
	// domain parameters instead, an object of class CKO_DOMAIN_PARAMETERS (CKA_PRIME ... from CKA_PRIME_BITS).
	Generate   func(param any, template pkcs11.Template) (pkcs11.Template, error)
	Parameters bool
	// GeneratePair makes both keys' values. The result holds key material and what follows from it (CKA_MODULUS,
	// CKA_EC_POINT ...), not policy attributes.
	GeneratePair func(param any, public, private pkcs11.Template) (pub, priv pkcs11.Template, err error)

	// Wrap and Unwrap work on the encoded key: the value of a secret key, the PKCS #8 PrivateKeyInfo of a private one.
	//
	// What a mechanism without padding unwraps may be longer than the key: zeros follow it, or, with KeyAtEnd, precede
	// it. The engine cuts it to CKA_VALUE_LEN, zeros alone. A private key has no such length: the mechanism is SecretOnly,
	// or it is Filled, so that up to seven zeros behind the key do not count, for DER says where it ends.
	Wrap       func(k Key, param any, plain []byte) ([]byte, error)
	Unwrap     func(k Key, param any, wrapped []byte) ([]byte, error)
	SecretOnly bool
	KeyAtEnd   bool
	Filled     bool

	// Derive returns the derived secret, size bytes of it; size 0 means that the template named no length and the
	// mechanism's natural one is wanted. CKR_TEMPLATE_INCOMPLETE where there is none.
	Derive func(k Key, param any, size int) ([]byte, error)
	// DeriveKeys is Derive for a mechanism that works with several keys, or makes several or other than secret ones. A row
	// has one of the two, at most. Plan says which keys it is to make; without it that is one secret key by the template
	// of the call and one by each template inside the parameter.
	DeriveKeys func(d *Derivation) (*Derived, error)
	Plan       func(param any, template pkcs11.Template) ([]Planned, error)
	// LengthWithType says that a template with a key type has a length too, unless the type has one of its own: the natural
	// length is for generic secrets that nobody has asked for by name.
	LengthWithType bool
	// OneWay says that nobody learns the keys from what is derived, so that its CKA_EXTRACTABLE need not follow theirs.
	OneWay bool
	// ByName says that a sensitive key must name the mechanism in its CKA_ALLOWED_MECHANISMS: what is derived is not secret.
	ByName bool

	// Encapsulate makes a secret for whoever holds the private key of k, size bytes of it (as in Derive), and the
	// ciphertext that carries it there. Decapsulate gets the secret back; of a ciphertext of the right length that was
	// made for another key it gives some other secret where the mechanism says so (FIPS 203, implicit rejection).
	// CiphertextLen is the ciphertext's length for that key, exactly.
	Encapsulate   func(k Key, param any, size int) (secret, ciphertext []byte, err error)
	Decapsulate   func(k Key, param any, ciphertext []byte, size int) (secret []byte, err error)
	CiphertextLen func(k Key, param any) (int, error)
}

// Key is a key as a mechanism sees it. Byte slices are the key's own: they are read, never changed and never kept beyond
// the operation.
type Key interface {
	Class() pkcs11.ObjectClass
	Type() pkcs11.KeyType
	// Bytes returns a byte-string attribute, secret ones included; nil where it is missing.
	Bytes(t pkcs11.AttributeType) []byte
	// Uint returns a numeric attribute.
	Uint(t pkcs11.AttributeType) (uint, bool)
	// Expanded returns the key in the form that computing needs (an *rsa.PrivateKey, a cipher.Block). build runs once
	// for each key and its result is kept with the key, for all mechanisms of the family: slot tells forms apart. An
	// error of build is returned and not kept. build must not call Expanded. A form that has a method Wipe is wiped when
	// the key is.
	Expanded(slot Slot, build func() (any, error)) (any, error)
}

// Kept returns what Expanded has kept with a key, or nil. Asking it first saves making build at each use.
func Kept(k Key, slot Slot) any {
	if k, ok := k.(interface{ Kept(Slot) any }); ok {
		return k.Kept(slot)
	}
	return nil
}

// Slot names an expanded form that a key keeps. A key has few of them, so the number is small and fixed.
type Slot uint8

// The expanded forms.
const (
	SlotMain   Slot = iota // private key, block cipher, HMAC key
	SlotPublic             // public half of a private key
	SlotAEAD               // GCM tables
	SlotECDH               // key-agreement form
	NumSlots
)

// Cipher encrypts or decrypts a stream of parts. Output never appears before its input; an AEAD's plaintext never
// before its tag is checked. dst is appended to and may not overlap src, but for InPlacer's.
type Cipher interface {
	// UpdateLen is how many bytes Update returns, exactly, for n more bytes of input.
	UpdateLen(n int) int
	Update(dst, src []byte) ([]byte, error)
	// FinishLen is an upper bound of what Finish returns when n more bytes come with it; exact where it is no mere bound.
	FinishLen(n int) (size int, exact bool)
	// Shape tells what UpdateLen and FinishLen compute, of a fresh Cipher.
	Shape() Shape
	// Finish takes the last part, which may be empty, and appends what remains. It ends the operation.
	Finish(dst, src []byte) ([]byte, error)
	// Close wipes the state. It may be called more than once.
	Close()
}

// InPlacer is what a Cipher has that may write its output over its input.
type InPlacer interface {
	// InPlace says that Finish, called now, may be given a dst that is empty, begins where src does and has room for all
	// of the output.
	InPlace() bool
}

// Renewer is what a Cipher, a Signer or a Verifier has that can begin once more after Close, with any key. Once it is closed
// it keeps nothing of the key that it had.
type Renewer interface {
	// Renew begins anew as the constructor does that it is from. After an error it is as closed as before.
	Renew(k Key, param any) error
}

// Shape is how much output, in bytes, a Cipher gives for how much input; hsm.Shape, which it becomes, says the same to
// whoever is far from the Cipher. total is what was taken and not yet given out, and the part that comes with the call.
type Shape struct {
	// Update gives the whole blocks of total, of total-1 if Hold is set; nothing if Block is 0.
	Block int
	Hold  bool
	// Finish gives total+Add, rounded down to a multiple of Align (nothing of it if that is 0), plus Post, and never less
	// than 0. Exact says that it is no mere upper bound.
	Add, Align, Post int
	Exact            bool
}

// Resumable is what a Cipher, a Signer or a Verifier has whose operation may go on in another process. (A digest's state
// is its hash's.) A state has a few hundred bytes at most and begins with a version; the family's package says what
// follows. Neither key nor parameter is in it, so whoever keeps it keeps also what they were, and sees to it that nobody
// changes it: a changed state is a state of other data, which Resume cannot tell.
type Resumable interface {
	// State returns all that Resume needs between two parts. It is as secret as the data and the key; the caller wipes it.
	// CKR_OPERATION_NOT_INITIALIZED once the operation has been closed.
	State() ([]byte, error)
	// Resume goes on from a state in a fresh operation with the same key and parameter; the state is not kept.
	// CKR_SAVED_STATE_INVALID, and the operation still fresh, for a state that cannot be; CKR_OPERATION_ACTIVE where the
	// operation has begun; CKR_OPERATION_NOT_INITIALIZED where it has been closed.
	Resume(state []byte) error
}

// Digested is what a Signer or Verifier has that hashes its data first, so that whoever has the data can do that: Hash
// names the hash, and 0 says that there is none and that the data itself must come. Signers have FinishDigest, verifiers
// VerifyDigest; see package hashes.
type Digested interface{ Hash() crypto.Hash }

// Signer makes a signature or a MAC.
type Signer interface {
	Update(part []byte) error
	// Size is the signature's length in bytes, exactly (for ECDSA: twice the order's length).
	Size() int
	// Finish takes the last part and appends the signature.
	Finish(dst, part []byte) ([]byte, error)
	Close()
}

// Indexed is what a Signer has whose row has a Capacity. UseIndex comes before Finish, which fails without it.
type Indexed interface{ UseIndex(index uint64) }

// Verifier checks a signature or a MAC. MACs are compared in constant time.
type Verifier interface {
	Update(part []byte) error
	// Verify takes the last part: nil, CKR_SIGNATURE_INVALID, or CKR_SIGNATURE_LEN_RANGE for a length that no
	// signature of this key has.
	Verify(part, signature []byte) error
	Close()
}

// Info computes what C_GetMechanismInfo answers.
func (m *Mechanism) Info() pkcs11.MechanismInfo {
	info := pkcs11.MechanismInfo{MinKeySize: m.Min, MaxKeySize: m.Max, Flags: m.Flags}
	for _, c := range constructors {
		if c.has(m) {
			info.Flags |= c.flag
		}
	}
	info.Flags |= m.messageFlags()
	return info
}
