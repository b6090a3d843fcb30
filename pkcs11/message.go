package pkcs11

import "reflect"

// MessageParams is the parameter of one message of an AEAD: C_EncryptMessage, C_DecryptMessage and their siblings. Byte
// slices are the parameter's own; what is written into them is what the caller gets back.
//
// A new kind of such a parameter is one line in spec/mechanisms.txt and these methods. The machine does a message as the
// operation of the mechanism that Whole names, so the mechanism's row needs nothing but Encrypt and Decrypt.
type MessageParams interface {
	// Vector is the initialization vector or nonce, and how it is made for an encryption: of its bits the first fixed ones
	// are the caller's, the others the generator's (CKG_NO_GENERATE: the caller's too).
	Vector() (iv []byte, fixed, generator uint)
	// TagSpace is the place of the tag and how many bytes the tag has. The place is nil where the caller has given none,
	// which only calls without use for it may.
	TagSpace() (tag []byte, size int)
	// Whole is the mechanism's parameter for C_Encrypt and C_Decrypt under the same vector, for n bytes of data (n < 0: as
	// many as the message's parameter says, if it does), where the tag follows the ciphertext. What it holds is its own.
	Whole(associated []byte, n int) any
	// Sample is a parameter of this kind that the mechanism takes whatever the key, the place of the tag included.
	Sample() MessageParams
}

// NewMessage returns an empty parameter for a message of m; nil where messages have none.
func (m MechanismType) NewMessage() MessageParams {
	p, _ := m.MessageKind().newStruct().(MessageParams)
	return p
}

// TakesMessage reports whether p is what a message of m takes as its parameter.
func (m MechanismType) TakesMessage(p any) bool {
	want := m.MessageKind().newStruct()
	v := reflect.ValueOf(p)
	return want != nil && p != nil && v.Type() == reflect.TypeOf(want) && !v.IsNil()
}

var _ MessageParams = (*GCMMessageParams)(nil)

// Vector implements MessageParams.
func (p *GCMMessageParams) Vector() (iv []byte, fixed, generator uint) {
	return p.IV, p.IVFixedBits, p.IVGenerator
}

// TagSpace implements MessageParams.
func (p *GCMMessageParams) TagSpace() (tag []byte, size int) { return p.Tag, bitsToBytes(p.TagBits) }

// Whole implements MessageParams.
func (p *GCMMessageParams) Whole(associated []byte, _ int) any {
	return &GCMParams{IV: own(p.IV), IVBits: uint(len(p.IV)) * 8, AAD: own(associated), TagBits: p.TagBits}
}

// Sample implements MessageParams.
func (*GCMMessageParams) Sample() MessageParams {
	return &GCMMessageParams{IV: make([]byte, 12), Tag: make([]byte, 16), TagBits: 128}
}

// Alike is a parameter with which an operation has the same sizes and the same chance to begin, and that is the same for all
// of them: vector and associated data do not matter.
func (p *GCMParams) Alike() any {
	return &GCMParams{IV: make([]byte, min(len(p.IV), 1)), TagBits: p.TagBits}
}

// own copies bytes that outlive the call.
func own(b []byte) []byte { return append([]byte(nil), b...) }

// bitsToBytes is how many bytes n bits take; wild numbers stay wild.
func bitsToBytes(n uint) int { return int(min(n/8+min(n%8, 1), 1<<30)) }
