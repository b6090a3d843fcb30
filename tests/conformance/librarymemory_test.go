package conformance

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// What goes to the library in C's layout. The memory is Go's, pinned until the call is over.

const ulong = 8 // CK_ULONG and pointers on 64-bit Unix

// cStruct builds a C struct of CK_ULONGs and pointers.
type cStruct struct {
	b    []byte
	pin  *runtime.Pinner
	back *[]func() // what is done with memory that the call has filled
}

// room appends a pointer to n bytes that the call fills.
func (s *cStruct) room(n int, then func(b []byte)) *cStruct {
	b := make([]byte, n)
	*s.back = append(*s.back, func() { then(b) })
	return s.pointer(b)
}

// in is a struct in other memory.
func (s *cStruct) in() *cStruct { return &cStruct{pin: s.pin, back: s.back} }

// flags appends CK_BBOOLs, and what fills them up to a CK_ULONG.
func (s *cStruct) flags(list ...bool) *cStruct {
	var b [ulong]byte
	for i, v := range list {
		if v {
			b[i] = 1
		}
	}
	return s.array(b[:])
}

func (s *cStruct) ulong(n uint) *cStruct {
	s.b = binary.NativeEndian.AppendUint64(s.b, uint64(n))
	return s
}

// pointer appends the address of b; NULL if it is empty.
func (s *cStruct) pointer(b []byte) *cStruct {
	if len(b) == 0 {
		return s.ulong(0)
	}
	return s.ulong(s.addressOf(b))
}

// addressOf is where b lies; it stays there until the call is over.
func (s *cStruct) addressOf(b []byte) uint {
	s.pin.Pin(&b[0])
	return uint(uintptr(unsafe.Pointer(&b[0])))
}

func (s *cStruct) array(b []byte) *cStruct {
	s.b = append(s.b, b...)
	return s
}

// rawParameter is a parameter that the typed ones cannot express.
type rawParameter func(s *cStruct) *cStruct

func cParameter(params any, s *cStruct) *cStruct {
	switch p := params.(type) {
	case nil:
		return nil
	case ck.IV:
		return s.array(p)
	case ck.MACGeneralParams:
		return s.ulong(uint(p))
	case *ck.GCMMessageParams:
		return s.pointer(p.IV).ulong(uint(len(p.IV))).ulong(p.IVFixedBits).ulong(p.IVGenerator).pointer(p.Tag).ulong(p.TagBits)
	case *ck.CCMMessageParams:
		return s.ulong(p.DataLen).pointer(p.Nonce).ulong(uint(len(p.Nonce))).ulong(p.NonceFixedBits).ulong(p.NonceGenerator).
			pointer(p.MAC).ulong(p.MACLen)
	case *ck.Poly1305MessageParams:
		return s.pointer(p.Nonce).ulong(uint(len(p.Nonce))).pointer(p.Tag)
	case *ck.GCMWrapParams:
		return s.pointer(p.IV).ulong(uint(len(p.IV))).ulong(p.IVFixedBits).ulong(p.IVGenerator).
			pointer(p.AAD).ulong(uint(len(p.AAD))).ulong(p.TagBits)
	case *ck.GCMParams:
		return s.pointer(p.IV).ulong(uint(len(p.IV))).ulong(p.IVBits).pointer(p.AAD).ulong(uint(len(p.AAD))).ulong(p.TagBits)
	case *ck.CCMParams:
		return s.ulong(p.DataLen).pointer(p.Nonce).ulong(uint(len(p.Nonce))).pointer(p.AAD).ulong(uint(len(p.AAD))).ulong(p.MACLen)
	case *ck.ChaCha20Params:
		return s.pointer(p.BlockCounter).ulong(uint(len(p.BlockCounter)) * 8).pointer(p.Nonce).ulong(uint(len(p.Nonce)) * 8)
	case *ck.Salsa20Params:
		return s.pointer(p.BlockCounter).pointer(p.Nonce).ulong(uint(len(p.Nonce)) * 8)
	case *ck.Poly1305Params:
		length := uint(len(p.Nonce)) // in bytes, as NSS has it; that of XChaCha20 in bits, as the standard's text does
		if length > 12 {
			length *= 8
		}
		return s.pointer(p.Nonce).ulong(length).pointer(p.AAD).ulong(uint(len(p.AAD)))
	case *ck.CTRParams:
		return s.ulong(p.CounterBits).array(p.CB[:])
	case *ck.OAEPParams:
		return s.ulong(uint(p.HashAlg)).ulong(uint(p.MGF)).ulong(uint(p.Source)).pointer(p.SourceData).ulong(uint(len(p.SourceData)))
	case *ck.PSSParams:
		return s.ulong(uint(p.HashAlg)).ulong(uint(p.MGF)).ulong(p.SaltLen)
	case *ck.ECDH1DeriveParams:
		return s.ulong(uint(p.KDF)).ulong(uint(len(p.SharedData))).pointer(p.SharedData).
			ulong(uint(len(p.PublicData))).pointer(p.PublicData)
	case *ck.ECDHAESKeyWrapParams:
		return s.ulong(p.AESKeyBits).ulong(uint(p.KDF)).ulong(uint(len(p.SharedData))).pointer(p.SharedData)
	case *ck.X942DH1DeriveParams:
		return s.ulong(p.KDF).ulong(uint(len(p.OtherInfo))).pointer(p.OtherInfo).
			ulong(uint(len(p.PublicData))).pointer(p.PublicData)
	case *ck.RSAAESKeyWrapParams:
		return s.ulong(p.AESKeyBits).pointer(cParameter(p.OAEP, s.in()).b)
	case *ck.EdDSAParams:
		var flag uint
		if p.PhFlag {
			flag = 1
		}
		return s.ulong(flag).ulong(uint(len(p.ContextData))).pointer(p.ContextData)
	case *ck.SignContextParams:
		return s.ulong(uint(p.Hedge)).pointer(p.Context).ulong(uint(len(p.Context)))
	case *ck.HashSignContextParams:
		return s.ulong(uint(p.Hedge)).pointer(p.Context).ulong(uint(len(p.Context))).ulong(uint(p.Hash))
	case *ck.KeyDerivationString:
		return s.pointer(p.Data).ulong(uint(len(p.Data)))
	case *ck.DESCBCEncryptDataParams:
		return s.array(p.IV[:]).pointer(p.Data).ulong(uint(len(p.Data)))
	case *ck.AESCBCEncryptDataParams:
		return s.array(p.IV[:]).pointer(p.Data).ulong(uint(len(p.Data)))
	case ck.Handle:
		return s.ulong(uint(p))
	case *ck.HKDFParams:
		return s.flags(p.Extract, p.Expand).ulong(uint(p.Hash)).ulong(p.SaltType).pointer(p.Salt).ulong(uint(len(p.Salt))).
			ulong(uint(p.SaltKey)).pointer(p.Info).ulong(uint(len(p.Info)))
	case *ck.SP800108KDFParams:
		return s.ulong(uint(p.PRF)).ulong(uint(len(p.Data))).pointer(cPRFData(p.Data, s)).
			ulong(uint(len(p.More))).pointer(cDerivedKeys(p.More, s))
	case *ck.SP800108FeedbackParams:
		return s.ulong(uint(p.PRF)).ulong(uint(len(p.Data))).pointer(cPRFData(p.Data, s)).ulong(uint(len(p.IV))).pointer(p.IV).
			ulong(uint(len(p.More))).pointer(cDerivedKeys(p.More, s))
	case *ck.PBKD2Params:
		return s.ulong(p.SaltSource).pointer(p.Salt).ulong(uint(len(p.Salt))).ulong(p.Iterations).ulong(p.PRF).pointer(p.PRFData).
			ulong(uint(len(p.PRFData))).pointer(p.Password).ulong(uint(len(p.Password)))
	case *ck.TLS12MasterKeyDeriveParams:
		return s.random(p.Random).output(&p.Version, 2).ulong(uint(p.Hash))
	case *ck.TLS12ExtendedMasterKeyDeriveParams:
		return s.ulong(uint(p.Hash)).pointer(p.SessionHash).ulong(uint(len(p.SessionHash))).output(&p.Version, 2)
	case *ck.TLS12KeyMatParams:
		return s.ulong(p.MACBits).ulong(p.KeyBits).ulong(p.IVBits).flags(p.Export).random(p.Random).
			pointer(cKeyMatOut(p.Made, int(p.IVBits/8), s)).ulong(uint(p.Hash))
	case *ck.TLSKDFParams:
		return s.ulong(uint(p.Hash)).pointer(p.Label).ulong(uint(len(p.Label))).random(p.Random).pointer(p.Context).ulong(uint(len(p.Context)))
	case *ck.TLSMACParams:
		return s.ulong(uint(p.Hash)).ulong(p.Length).ulong(p.Side)
	case *ck.IKE2PRFPlusParams:
		return s.ulong(uint(p.PRF)).flags(p.HasSeedKey).ulong(uint(p.SeedKey)).pointer(p.SeedData).ulong(uint(len(p.SeedData)))
	case *ck.IKEPRFParams:
		return s.ulong(uint(p.PRF)).flags(p.DataAsKey, p.Rekey).pointer(p.Ni).ulong(uint(len(p.Ni))).pointer(p.Nr).ulong(uint(len(p.Nr))).ulong(uint(p.NewKey))
	case *ck.IKE1PRFParams:
		return s.ulong(uint(p.PRF)).flags(p.HasPrevKey).ulong(uint(p.KeyGXY)).ulong(uint(p.PrevKey)).pointer(p.CKYi).ulong(uint(len(p.CKYi))).
			pointer(p.CKYr).ulong(uint(len(p.CKYr))).array([]byte{p.KeyNumber, 0, 0, 0, 0, 0, 0, 0})
	case *ck.IKE1ExtendedParams:
		return s.ulong(uint(p.PRF)).flags(p.HasKeyGXY).ulong(uint(p.KeyGXY)).pointer(p.ExtraData).ulong(uint(len(p.ExtraData)))
	case rawParameter:
		return p(s)
	}
	panic(fmt.Sprintf("no C form for a parameter of type %T", params))
}

func (s *cStruct) random(r ck.SSL3RandomData) *cStruct {
	return s.pointer(r.Client).ulong(uint(len(r.Client))).pointer(r.Server).ulong(uint(len(r.Server)))
}

// output is a pointer to memory for n bytes, if it is wanted.
func (s *cStruct) output(o *ck.Output, n int) *cStruct {
	if !o.Wanted {
		return s.ulong(0)
	}
	return s.room(max(n, 1), func(b []byte) { o.Bytes = b[:n] })
}

func cKeyMatOut(o *ck.SSL3KeyMatOut, iv int, s *cStruct) []byte {
	all := s.in().array(make([]byte, 4*ulong)).output(&o.ClientIV, iv).output(&o.ServerIV, iv)
	*s.back = append(*s.back, func() {
		for i, h := range []*ck.NewHandle{&o.ClientMAC, &o.ServerMAC, &o.ClientKey, &o.ServerKey} {
			*h = ck.NewHandle(binary.NativeEndian.Uint64(all.b[i*ulong:]))
		}
	})
	return all.b
}

func cPRFData(data []ck.PRFData, s *cStruct) []byte {
	all := s.in()
	for _, d := range data {
		b := d.Value
		switch {
		case d.Counter != nil:
			b = s.in().flags(d.Counter.LittleEndian).ulong(d.Counter.Bits).b
		case d.Length != nil:
			b = s.in().ulong(d.Length.Method).flags(d.Length.LittleEndian).ulong(d.Length.Bits).b
		case d.Type == ck.CK_SP800_108_KEY_HANDLE:
			b = s.in().ulong(uint(d.Key)).b
		}
		all.ulong(d.Type).pointer(b).ulong(uint(len(b)))
	}
	return all.b
}

func cDerivedKeys(list []ck.DerivedKey, s *cStruct) []byte {
	all := s.in()
	for i := range list {
		all.pointer(cValue(list[i].Template, s.pin)).ulong(uint(len(list[i].Template)))
		all.room(ulong, func(b []byte) { list[i].Key = ck.NewHandle(binary.NativeEndian.Uint64(b)) })
	}
	return all.b
}

func cValue(value any, pin *runtime.Pinner) []byte {
	s := &cStruct{pin: pin}
	switch v := value.(type) {
	case bool:
		if v {
			return []byte{1}
		}
		return []byte{0}
	case uint:
		return s.ulong(v).b
	case []byte:
		return v
	case []ck.MechanismType:
		for _, m := range v {
			s.ulong(uint(m))
		}
		return s.b
	case []uint:
		for _, n := range v {
			s.ulong(n)
		}
		return s.b
	case T:
		for _, a := range v {
			b := cValue(a.Value, pin)
			s.ulong(uint(a.Type)).pointer(b).ulong(uint(len(b)))
		}
		return s.b
	}
	panic(fmt.Sprintf("no C form for a value of type %T", value))
}

// goValue decodes a value that is no template.
func goValue(t ck.AttributeType, b []byte) any {
	kind, _ := t.Normalize().Kind()
	switch kind {
	case ck.KindBool:
		return len(b) == 1 && b[0] != 0
	case ck.KindUlong:
		if len(b) != ulong {
			return b
		}
		return uint(binary.NativeEndian.Uint64(b))
	case ck.KindMechanisms:
		list := make([]ck.MechanismType, len(b)/ulong)
		for i := range list {
			list[i] = ck.MechanismType(binary.NativeEndian.Uint64(b[i*ulong:]))
		}
		return list
	case ck.KindUlongs:
		list := make([]uint, len(b)/ulong)
		for i := range list {
			list[i] = uint(binary.NativeEndian.Uint64(b[i*ulong:]))
		}
		return list
	}
	if b == nil {
		b = []byte{}
	}
	return b
}
