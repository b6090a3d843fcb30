package main

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// address gives b's address as the application's pointer; b must be kept alive by the caller.
func address(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

// point writes the address of data and its length, cut to what there is, where a struct has a pointer and a length.
func point(at []byte, data []byte, length uint64) {
	binary.NativeEndian.PutUint64(at, uint64(address(data)))
	binary.NativeEndian.PutUint64(at[8:], min(length, uint64(len(data))))
}

// FuzzMechanism decodes parameters of every kind and length: no panic, no more memory than was given, and either an
// error with the standard's return value or a value of the kind's own type.
func FuzzMechanism(f *testing.F) {
	for _, t := range []pkcs11.MechanismType{
		pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_CTR, pkcs11.CKM_AES_CBC, pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKM_RSA_PKCS_PSS,
		pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKM_RSA_AES_KEY_WRAP, pkcs11.CKM_EDDSA, pkcs11.CKM_AES_CMAC_GENERAL,
		pkcs11.CKM_AES_ECB_ENCRYPT_DATA, pkcs11.CKM_AES_CBC_ENCRYPT_DATA, pkcs11.CKM_SHA256, pkcs11.CKM_AES_KEY_WRAP,
		pkcs11.CKM_CONCATENATE_BASE_AND_KEY, pkcs11.CKM_HKDF_DERIVE, pkcs11.CKM_SP800_108_COUNTER_KDF, pkcs11.CKM_SP800_108_FEEDBACK_KDF,
		pkcs11.CKM_PKCS5_PBKD2, pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_IKE1_PRF_DERIVE,
	} {
		f.Add(uint64(t), make([]byte, 48), []byte("inner bytes"), uint8(0))
		f.Add(uint64(t), make([]byte, 40), []byte{}, uint8(8))
		f.Add(uint64(t), []byte{1, 2, 3}, []byte{4}, uint8(16))
		f.Add(uint64(t), make([]byte, 72), make([]byte, 64), uint8(16))
	}
	f.Fuzz(func(t *testing.T, mechanism uint64, param, inner []byte, where uint8) {
		// Somewhere in the struct a pointer and a length that are right; elsewhere whatever the fuzzer says, which is
		// as wild as an application's own garbage.
		if at := int(where); at+16 <= len(param) {
			point(param[at:], inner, binary.NativeEndian.Uint64(param[at+8:]))
		}
		m := make([]byte, mechanismSize)
		binary.NativeEndian.PutUint64(m, mechanism)
		point(m[8:], param, uint64(len(param)))
		var rv uintptr
		func() {
			c := enter("EncryptInit", 1)
			defer c.leave(&rv)
			decoded := c.mechanism(address(m))
			if c.err == nil && decoded == nil {
				t.Error("neither a mechanism nor an error")
			}
		}()
		switch pkcs11.RV(rv) {
		case pkcs11.CKR_OK, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_ARGUMENTS_BAD,
			pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID: // of a template inside
		default:
			t.Errorf("%v", pkcs11.RV(rv))
		}
		runtime.KeepAlive(inner)
		runtime.KeepAlive(param)
		runtime.KeepAlive(m)
	})
}

// FuzzTemplate decodes arrays of CK_ATTRIBUTE with values of any length.
func FuzzTemplate(f *testing.F) {
	f.Add(uint64(pkcs11.CKA_CLASS), []byte{1, 0, 0, 0, 0, 0, 0, 0}, uint64(pkcs11.CKA_TOKEN), []byte{1}, uint64(2))
	f.Add(uint64(pkcs11.CKA_START_DATE), []byte("20260101"), uint64(pkcs11.CKA_WRAP_TEMPLATE), make([]byte, 24), uint64(2))
	f.Add(uint64(pkcs11.CKA_ALLOWED_MECHANISMS), make([]byte, 16), uint64(0x80000001), []byte{}, uint64(3))
	f.Fuzz(func(t *testing.T, type1 uint64, value1 []byte, type2 uint64, value2 []byte, count uint64) {
		array := make([]byte, 2*attributeSize)
		binary.NativeEndian.PutUint64(array, type1)
		point(array[8:], value1, uint64(len(value1)))
		binary.NativeEndian.PutUint64(array[attributeSize:], type2)
		point(array[attributeSize+8:], value2, uint64(len(value2)))
		if count > 2 && count <= maxAttributes {
			count = 2 // more would be somebody else's memory, which nobody can check
		}
		var rv uintptr
		func() {
			c := enter("CreateObject", 1)
			defer c.leave(&rv)
			for _, a := range c.template(address(array), uintptr(count)) {
				if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
					t.Errorf("%v was decoded to something else: %v", a, err)
				}
			}
		}()
		switch pkcs11.RV(rv) {
		case pkcs11.CKR_OK, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_ARGUMENTS_BAD:
		default:
			t.Errorf("%v", pkcs11.RV(rv))
		}
		runtime.KeepAlive(value1)
		runtime.KeepAlive(value2)
		runtime.KeepAlive(array)
	})
}
