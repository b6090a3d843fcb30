package pkcs11

import "reflect"

// WrapParams is the parameter of C_WrapKey and C_UnwrapKey for an AEAD that may make the vector itself. Byte slices are the
// parameter's own; what is written into the vector is what the caller gets back.
//
// C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated take a MessageParams in its place, which has the tag apart. Either
// way the mechanism's row wraps and unwraps under the parameter that Whole gives, so it needs nothing but Wrap and Unwrap.
type WrapParams interface {
	// Vector is that of MessageParams.
	Vector() (iv []byte, fixed, generator uint)
	// Whole is the mechanism's parameter for C_Encrypt under the same vector: the tag follows the wrapped key. What it
	// holds is its own.
	Whole() any
}

// GCMWrapParams is CK_GCM_WRAP_PARAMS.
type GCMWrapParams struct {
	IV          []byte
	IVFixedBits uint
	IVGenerator uint
	AAD         []byte
	TagBits     uint
}

// wrapKinds are the parameters by the mechanisms that take them.
var wrapKinds = map[MechanismType]WrapParams{CKM_AES_GCM: (*GCMWrapParams)(nil)}

// ForWrapping returns the mechanism's parameter if it is one for wrapping keys with this mechanism; nil for all else, such
// as what C_EncryptInit takes.
func (m Mechanism) ForWrapping() WrapParams {
	v := reflect.ValueOf(m.Params)
	if want, has := wrapKinds[m.Type]; !has || !v.IsValid() || v.Type() != reflect.TypeOf(want) || v.IsNil() {
		return nil
	}
	return m.Params.(WrapParams)
}

// Vector implements WrapParams.
func (p *GCMWrapParams) Vector() (iv []byte, fixed, generator uint) {
	return p.IV, p.IVFixedBits, p.IVGenerator
}

// Whole implements WrapParams.
func (p *GCMWrapParams) Whole() any {
	return &GCMParams{IV: own(p.IV), IVBits: uint(len(p.IV)) * 8, AAD: own(p.AAD), TagBits: p.TagBits}
}
