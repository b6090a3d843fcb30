package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// cmem builds what an application has in memory: numbers, pointers and bytes, all kept alive.
type cmem struct{ keep [][]byte }

func (m *cmem) ulongs(list ...uint64) []byte {
	b := make([]byte, 0, 8*len(list))
	for _, n := range list {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	m.keep = append(m.keep, b)
	return b
}

func (m *cmem) at(b []byte) uint64 {
	m.keep = append(m.keep, b)
	return uint64(address(b))
}

// decoding decodes a parameter, lets then fill its places, and ends the call with the answer.
func decoding(t pkcs11.MechanismType, param []byte, then func(params any) error) pkcs11.RV {
	m := &cmem{}
	mechanism := m.ulongs(uint64(t), uint64(address(param)), uint64(len(param)))
	var rv uintptr
	func() {
		c := enter("DeriveKey", 1)
		defer c.leave(&rv)
		decoded := c.mechanism(address(mechanism))
		if c.err == nil {
			c.finish(then(decoded.Params))
		}
	}()
	runtime.KeepAlive(m)
	return pkcs11.RV(rv)
}

func want(t *testing.T, want, got pkcs11.RV, what string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// kdf is a CK_SP800_108_KDF_PARAMS with a counter, a length, a key and a byte array, and one additional key.
func (m *cmem) kdf(place uint64) []byte {
	counter, length, key, label := m.ulongs(1, 16), m.ulongs(2, 0, 32), m.ulongs(77), []byte("label")
	data := m.ulongs(
		uint64(pkcs11.CK_SP800_108_ITERATION_VARIABLE), m.at(counter), 16,
		uint64(pkcs11.CK_SP800_108_DKM_LENGTH), m.at(length), 24,
		uint64(pkcs11.CK_SP800_108_KEY_HANDLE), m.at(key), 8,
		uint64(pkcs11.CK_SP800_108_BYTE_ARRAY), m.at(label), 5)
	token := []byte{1}
	template := m.ulongs(uint64(pkcs11.CKA_TOKEN), m.at(token), 1)
	more := m.ulongs(m.at(template), 1, place)
	return m.ulongs(uint64(pkcs11.CKM_SHA256_HMAC), 4, m.at(data), 1, m.at(more))
}

func TestListsInsideAParameterAreRead(t *testing.T) {
	m := &cmem{}
	place := m.ulongs(99)
	rv := decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, m.kdf(m.at(place)), func(params any) error {
		p := params.(*pkcs11.SP800108KDFParams)
		if len(p.Data) != 4 || !p.Data[0].Counter.LittleEndian || p.Data[0].Counter.Bits != 16 || p.Data[1].Length.Method != 2 ||
			p.Data[1].Length.Bits != 32 || p.Data[2].Key != 77 || string(p.Data[3].Value) != "label" || p.Data[0].Value != nil {
			t.Errorf("data %+v", p.Data)
		}
		if token, ok := p.More[0].Template.Bool(pkcs11.CKA_TOKEN); !ok || !token {
			t.Errorf("template %v", p.More[0].Template)
		}
		p.More[0].Key = 4711
		return nil
	})
	want(t, pkcs11.CKR_OK, rv, "a good parameter")
	if got := binary.NativeEndian.Uint64(place); got != 4711 {
		t.Errorf("the handle's place has %d", got)
	}
	runtime.KeepAlive(m)
}

// TestCloudHSMsLayoutIsRead: 24 bytes, with the types of its older header and with those of a newer one.
func TestCloudHSMsLayoutIsRead(t *testing.T) {
	for _, types := range [][4]uint64{{4, 5, 6, 7}, {4, 8, 8, 7}, {0x80000001, 0x80000004, 0x80000004, 0x80000003}} {
		for _, mechanism := range []pkcs11.MechanismType{pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF, pkcs11.CKM_SP800_108_COUNTER_KDF} {
			m := &cmem{}
			data := m.ulongs(types[0], m.at(m.ulongs(16)), 8, types[1], m.at([]byte("label")), 5, types[2], m.at([]byte{0}), 1,
				types[3], m.at(m.ulongs(1, 32)), 16)
			rv := decoding(mechanism, m.ulongs(uint64(pkcs11.CKM_AES_CMAC), 4, m.at(data)), func(params any) error {
				p := params.(*pkcs11.SP800108KDFParams)
				if p.PRF != pkcs11.CKM_AES_CMAC || len(p.Data) != 4 || len(p.More) != 0 ||
					p.Data[0].Type != pkcs11.CK_SP800_108_ITERATION_VARIABLE || p.Data[0].Counter.Bits != 16 || p.Data[0].Counter.LittleEndian ||
					p.Data[1].Type != pkcs11.CK_SP800_108_BYTE_ARRAY || string(p.Data[1].Value) != "label" || p.Data[2].Type != pkcs11.CK_SP800_108_BYTE_ARRAY ||
					p.Data[3].Type != pkcs11.CK_SP800_108_DKM_LENGTH || p.Data[3].Length.Method != 1 || p.Data[3].Length.Bits != 32 {
					t.Errorf("types %v: decoded %+v", types, p)
				}
				return nil
			})
			want(t, pkcs11.CKR_OK, rv, "CloudHSM's struct")
			runtime.KeepAlive(m)
		}
	}
}

// TestACallThatFailsFillsNothing: the places stay as the application left them.
func TestACallThatFailsFillsNothing(t *testing.T) {
	m := &cmem{}
	place := m.ulongs(99)
	rv := decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, m.kdf(m.at(place)), func(params any) error {
		params.(*pkcs11.SP800108KDFParams).More[0].Key = 4711
		return pkcs11.CKR_TEMPLATE_INCOMPLETE
	})
	want(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, rv, "a call that fails")
	if got := binary.NativeEndian.Uint64(place); got != 99 {
		t.Errorf("the handle's place has %d", got)
	}
	runtime.KeepAlive(m)
}

func TestWildPlacesAndListsAreRefused(t *testing.T) {
	m := &cmem{}
	never := func(any) error {
		t.Error("the call went on")
		return nil
	}
	good := func() []byte { return m.kdf(m.at(m.ulongs(0))) }
	spoil := func(name string, at int, n uint64) {
		p := good()
		binary.NativeEndian.PutUint64(p[8*at:], n)
		want(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, p, never), name)
	}
	for _, place := range []uint64{0, 1, 1 << 40, ^uint64(0)} {
		want(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, m.kdf(place), never), "a wild phKey")
	}
	spoil("too many data", 1, maxElements+1)
	spoil("endless data", 1, ^uint64(0))
	spoil("data at NULL", 2, 0)
	spoil("data in the wild", 2, 1<<40)
	spoil("too many keys", 3, maxElements+1)
	spoil("keys at NULL", 4, 0)
	for _, c := range []struct {
		typ  uint
		size uint64
	}{{pkcs11.CK_SP800_108_ITERATION_VARIABLE, 8}, {pkcs11.CK_SP800_108_COUNTER, 15}, {pkcs11.CK_SP800_108_DKM_LENGTH, 16}, {pkcs11.CK_SP800_108_KEY_HANDLE, 4}} {
		data := m.ulongs(uint64(c.typ), m.at(make([]byte, 24)), c.size)
		p := m.ulongs(uint64(pkcs11.CKM_SHA256_HMAC), 1, m.at(data), 0, 0)
		want(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, p, never), "data of another size")
	}
	// What is wrong with a template inside a parameter is said as of any template.
	unknown := m.ulongs(0x7fff, 0, 0)
	more := m.ulongs(m.at(unknown), 1, m.at(m.ulongs(0)))
	p := m.ulongs(uint64(pkcs11.CKM_SHA256_HMAC), 0, 0, 1, m.at(more))
	want(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, decoding(pkcs11.CKM_SP800_108_COUNTER_KDF, p, never), "an unknown attribute")
	runtime.KeepAlive(m)
}

// TestHandlesInPlaceAndOutputsAreWritten: CK_SSL3_KEY_MAT_OUT.
func TestHandlesInPlaceAndOutputsAreWritten(t *testing.T) {
	m := &cmem{}
	client, server := make([]byte, 4), make([]byte, 4)
	out := m.ulongs(1, 2, 3, 4, m.at(client), m.at(server))
	param := m.ulongs(256, 128, 32, 0, m.at([]byte("c")), 1, m.at([]byte("s")), 1, m.at(out), uint64(pkcs11.CKM_SHA256))
	rv := decoding(pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, param, func(params any) error {
		p := params.(*pkcs11.TLS12KeyMatParams)
		at := pkcs11.PlacesOf(p)
		if !at.Instead || len(at.Made) != 4 || len(at.Outputs) != 2 || !p.Made.ClientIV.Wanted || string(p.Random.Server) != "s" || p.Hash != pkcs11.CKM_SHA256 {
			t.Errorf("decoded %+v", p)
		}
		for i, h := range at.Made {
			*h = pkcs11.NewHandle(10 * i)
		}
		p.Made.ClientIV.Bytes, p.Made.ServerIV.Bytes = []byte("IVcl"), []byte("IVse")
		return nil
	})
	want(t, pkcs11.CKR_OK, rv, "a key block")
	if !bytes.Equal(out[:32], m.ulongs(0, 10, 20, 30)) || string(client) != "IVcl" || string(server) != "IVse" {
		t.Errorf("handles %x, IVs %q and %q", out[:32], client, server)
	}
	runtime.KeepAlive(m)
}

// TestAPasswordIsReadFromBothStructsAndWiped: the older one has a pointer where the newer has the length.
func TestAPasswordIsReadFromBothStructsAndWiped(t *testing.T) {
	for name, pointer := range map[string]bool{"CK_PKCS5_PBKD2_PARAMS2": false, "CK_PKCS5_PBKD2_PARAMS": true} {
		m := &cmem{}
		length := uint64(8)
		if pointer {
			length = m.at(m.ulongs(8))
		}
		param := m.ulongs(1, m.at([]byte("salt")), 4, 1000, 4, 0, 0, m.at([]byte("password")), length)
		var kept []byte
		rv := decoding(pkcs11.CKM_PKCS5_PBKD2, param, func(params any) error {
			p := params.(*pkcs11.PBKD2Params)
			if string(p.Password) != "password" || string(p.Salt) != "salt" || p.Iterations != 1000 || p.PRF != 4 {
				t.Errorf("%s: decoded %d bytes of password, salt %q", name, len(p.Password), p.Salt)
			}
			kept = p.Password
			return nil
		})
		want(t, pkcs11.CKR_OK, rv, name)
		if !bytes.Equal(kept, make([]byte, 8)) {
			t.Errorf("%s: the password stays", name)
		}
		runtime.KeepAlive(m)
	}
}

// TestAHandleCountsOnlyWhereItIsMeant: what stands in a field that another one turns off is garbage.
func TestAHandleCountsOnlyWhereItIsMeant(t *testing.T) {
	for salt, named := range map[pkcs11.Flags]int{pkcs11.CKF_HKDF_SALT_KEY: 1, pkcs11.CKF_HKDF_SALT_DATA: 0, pkcs11.CKF_HKDF_SALT_NULL: 0} {
		m := &cmem{}
		param := m.ulongs(0x0101, uint64(pkcs11.CKM_SHA256), uint64(salt), 0, 0, 77, 0, 0)
		rv := decoding(pkcs11.CKM_HKDF_DERIVE, param, func(params any) error {
			if got := len(pkcs11.PlacesOf(params).Named); got != named {
				t.Errorf("salt type %d: %d keys named, want %d", salt, got, named)
			}
			return nil
		})
		want(t, pkcs11.CKR_OK, rv, "HKDF")
	}
}

// TestThePlaceForTheKeyMayBeMissing where the parameter has places for all keys, and nowhere else.
func TestThePlaceForTheKeyMayBeMissing(t *testing.T) {
	for _, c := range []struct {
		m       *pkcs11.Mechanism
		refused bool
	}{
		{&pkcs11.Mechanism{Type: pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, Params: &pkcs11.TLS12KeyMatParams{Made: &pkcs11.SSL3KeyMatOut{}}}, false},
		{&pkcs11.Mechanism{Type: pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, Params: &pkcs11.TLS12KeyMatParams{}}, true},
		{&pkcs11.Mechanism{Type: pkcs11.CKM_SP800_108_COUNTER_KDF, Params: &pkcs11.SP800108KDFParams{More: make([]pkcs11.DerivedKey, 1)}}, true},
		{&pkcs11.Mechanism{Type: pkcs11.CKM_HKDF_DERIVE, Params: &pkcs11.HKDFParams{}}, true},
		{nil, true},
	} {
		var c2 call
		c2.targetOf(0, c.m)
		if (c2.err != nil) != c.refused {
			t.Errorf("%v: error %v", c.m, c2.err)
		}
	}
}
