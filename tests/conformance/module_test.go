// Package conformance is one suite for every stack that shows a PKCS #11 face: the engine in memory, the engine on
// SQLite, the built library by dlopen, and those to come.
//
// What a mechanism must withstand comes from its row in the registry, never from a test of its own: mechanism_test.go
// walks over the registry, recipe_test.go says how to make a key and valid parameters for a family. What has no row
// (sessions, logins, objects, the faults known of other modules) is written out in chapters, one file each.
//
// A test gets a stack from each. What a stack cannot show is listed, with the reason, in skips_test.go and nowhere else.
package conformance

import (
	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Short names for what every test speaks of.
type (
	session = cryptoki.SessionHandle
	handle  = cryptoki.ObjectHandle
	T       = pkcs11.Template
	mech    = pkcs11.Mechanism
	out     = pkcs11.Out
)

// Module is the PKCS #11 face of a stack, typed: the methods of cryptoki.Library.
type Module interface {
	general
	sessions
	objects
	ciphers
	signatures
	keys
	version3
}

type general interface {
	Initialize(args *cryptoki.InitArgs) error
	Finalize(reserved bool) error
	GetInfo() (pkcs11.Info, error)
	GetSlotList(tokenPresent bool) ([]cryptoki.SlotID, error)
	GetSlotInfo(id cryptoki.SlotID) (pkcs11.SlotInfo, error)
	GetTokenInfo(id cryptoki.SlotID) (pkcs11.TokenInfo, error)
	GetMechanismList(id cryptoki.SlotID) ([]pkcs11.MechanismType, error)
	GetMechanismInfo(id cryptoki.SlotID, m pkcs11.MechanismType) (pkcs11.MechanismInfo, error)
	InitToken(id cryptoki.SlotID, soPIN []byte, label string) error
	InitPIN(h session, pin []byte) error
	SetPIN(h session, oldPIN, newPIN []byte) error
}

type sessions interface {
	OpenSession(id cryptoki.SlotID, flags pkcs11.Flags) (session, error)
	CloseSession(h session) error
	CloseAllSessions(id cryptoki.SlotID) error
	GetSessionInfo(h session) (pkcs11.SessionInfo, error)
	GetOperationState(h session, state *out) error
	SetOperationState(h session, state []byte, encryption, authentication handle) error
	Login(h session, user pkcs11.UserType, pin []byte) error
	Logout(h session) error
}

type objects interface {
	CreateObject(h session, template T) (handle, error)
	CopyObject(h session, o handle, template T) (handle, error)
	DestroyObject(h session, o handle) error
	GetObjectSize(h session, o handle) (uint, error)
	GetAttributeValue(h session, o handle, types []pkcs11.AttributeType) ([]hsm.Value, error)
	SetAttributeValue(h session, o handle, template T) error
	FindObjectsInit(h session, template T) error
	FindObjects(h session, max int) ([]handle, error)
	FindObjectsFinal(h session) error
}

type ciphers interface {
	EncryptInit(h session, m *mech, key handle) error
	Encrypt(h session, data []byte, encrypted *out) error
	EncryptUpdate(h session, part []byte, encrypted *out) error
	EncryptFinal(h session, encrypted *out) error
	DecryptInit(h session, m *mech, key handle) error
	Decrypt(h session, encrypted []byte, data *out) error
	DecryptUpdate(h session, part []byte, data *out) error
	DecryptFinal(h session, data *out) error
	DigestInit(h session, m *mech) error
	Digest(h session, data []byte, digest *out) error
	DigestUpdate(h session, part []byte) error
	DigestKey(h session, key handle) error
	DigestFinal(h session, digest *out) error
	DigestEncryptUpdate(h session, part []byte, encrypted *out) error
	DecryptDigestUpdate(h session, part []byte, data *out) error
	SignEncryptUpdate(h session, part []byte, encrypted *out) error
	DecryptVerifyUpdate(h session, part []byte, data *out) error
}

type signatures interface {
	SignInit(h session, m *mech, key handle) error
	Sign(h session, data []byte, signature *out) error
	SignUpdate(h session, part []byte) error
	SignFinal(h session, signature *out) error
	SignRecoverInit(h session, m *mech, key handle) error
	SignRecover(h session, data []byte, signature *out) error
	VerifyInit(h session, m *mech, key handle) error
	Verify(h session, data, signature []byte) error
	VerifyUpdate(h session, part []byte) error
	VerifyFinal(h session, signature []byte) error
	VerifyRecoverInit(h session, m *mech, key handle) error
	VerifyRecover(h session, signature []byte, data *out) error
}

type keys interface {
	GenerateKey(h session, m *mech, template T) (handle, error)
	GenerateKeyPair(h session, m *mech, public, private T) (pub, priv handle, err error)
	WrapKey(h session, m *mech, wrapping, key handle, wrapped *out) error
	UnwrapKey(h session, m *mech, unwrapping handle, wrapped []byte, template T) (handle, error)
	DeriveKey(h session, m *mech, base handle, template T) (handle, error)
	SeedRandom(h session, seed []byte) error
	GenerateRandom(h session, p []byte) error
}

// version3 is what came after 2.40.
type version3 interface {
	LoginUser(h session, user pkcs11.UserType, pin, name []byte) error
	SessionCancel(h session, flags pkcs11.Flags) error
	VerifySignatureInit(h session, m *mech, key handle, signature []byte) error
	VerifySignature(h session, data []byte) error
	VerifySignatureUpdate(h session, part []byte) error
	VerifySignatureFinal(h session) error
	messageCiphers
	messageSignatures
	encapsulators
	authenticators
	asynchronous
}

type messageCiphers interface {
	MessageEncryptInit(h session, m *mech, key handle) error
	EncryptMessage(h session, parameter any, associated, plaintext []byte, ciphertext *out) error
	EncryptMessageBegin(h session, parameter any, associated []byte) error
	EncryptMessageNext(h session, parameter any, part []byte, ciphertext *out, flags pkcs11.Flags) error
	MessageEncryptFinal(h session) error
	MessageDecryptInit(h session, m *mech, key handle) error
	DecryptMessage(h session, parameter any, associated, ciphertext []byte, plaintext *out) error
	DecryptMessageBegin(h session, parameter any, associated []byte) error
	DecryptMessageNext(h session, parameter any, part []byte, plaintext *out, flags pkcs11.Flags) error
	MessageDecryptFinal(h session) error
}

type messageSignatures interface {
	MessageSignInit(h session, m *mech, key handle) error
	SignMessage(h session, parameter any, data []byte, signature *out) error
	SignMessageBegin(h session, parameter any) error
	SignMessageNext(h session, parameter any, part []byte, signature *out) error
	MessageSignFinal(h session) error
	MessageVerifyInit(h session, m *mech, key handle) error
	VerifyMessage(h session, parameter any, data, signature []byte) error
	VerifyMessageBegin(h session, parameter any) error
	VerifyMessageNext(h session, parameter any, part, signature []byte) error
	MessageVerifyFinal(h session) error
}
