package conformance

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	rows "github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// derivationsOf is the table of mechanisms that derive keys from the bytes of others; nil for what is compared in
// another way.
func derivationsOf(m *rows.Mechanism) func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
	text := func(s string) pkcs11.PRFData {
		return pkcs11.PRFData{Type: pkcs11.CK_SP800_108_BYTE_ARRAY, Value: []byte(s)}
	}
	counter := &pkcs11.SP800108Counter{Bits: 16}
	length := pkcs11.PRFData{Type: pkcs11.CK_SP800_108_DKM_LENGTH, Length: &pkcs11.SP800108Length{Method: 2, LittleEndian: true, Bits: 24}}
	more := func() []pkcs11.DerivedKey {
		return []pkcs11.DerivedKey{{Template: with(aDerived, num(pkcs11.CKA_VALUE_LEN, uint(24)))}, {Template: with(aDerived, num(pkcs11.CKA_VALUE_LEN, uint(7)))}}
	}
	switch m.Type {
	case pkcs11.CKM_CONCATENATE_BASE_AND_KEY:
		return func(_ pkcs11.KeyType, named pkcs11.Handle) []any { return []any{named} }
	case pkcs11.CKM_CONCATENATE_BASE_AND_DATA, pkcs11.CKM_CONCATENATE_DATA_AND_BASE, pkcs11.CKM_XOR_BASE_AND_DATA:
		return func(pkcs11.KeyType, pkcs11.Handle) []any {
			return []any{&pkcs11.KeyDerivationString{Data: message(40)}}
		}
	case pkcs11.CKM_EXTRACT_KEY_FROM_KEY:
		return func(pkcs11.KeyType, pkcs11.Handle) []any {
			return []any{pkcs11.MACGeneralParams(0), pkcs11.MACGeneralParams(77)}
		}
	case pkcs11.CKM_HKDF_DERIVE, pkcs11.CKM_HKDF_DATA:
		return func(_ pkcs11.KeyType, named pkcs11.Handle) []any {
			return []any{
				&pkcs11.HKDFParams{Extract: true, Expand: true, Hash: pkcs11.CKM_SHA256, SaltType: uint(pkcs11.CKF_HKDF_SALT_KEY), SaltKey: named, Info: []byte("info")},
				&pkcs11.HKDFParams{Extract: true, Hash: pkcs11.CKM_SHA512, SaltType: uint(pkcs11.CKF_HKDF_SALT_DATA), Salt: []byte("salt")},
				&pkcs11.HKDFParams{Expand: true, Hash: pkcs11.CKM_SHA3_256, SaltType: uint(pkcs11.CKF_HKDF_SALT_NULL)},
			}
		}
	case pkcs11.CKM_SP800_108_COUNTER_KDF, pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			data := []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE, Counter: counter}, text("label"), length}
			withKey := append(data, pkcs11.PRFData{Type: pkcs11.CK_SP800_108_KEY_HANDLE, Key: named})
			return []any{
				&pkcs11.SP800108KDFParams{PRF: prfFor(kt), Data: data},
				&pkcs11.SP800108KDFParams{PRF: prfFor(kt), Data: withKey, More: more()},
			}
		}
	case pkcs11.CKM_SP800_108_FEEDBACK_KDF, pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			data := []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE}, {Type: pkcs11.CK_SP800_108_COUNTER, Counter: counter}, text("label"), length}
			if m.Type == pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF {
				return []any{&pkcs11.SP800108KDFParams{PRF: prfFor(kt), Data: data, More: more()}}
			}
			return []any{
				&pkcs11.SP800108FeedbackParams{PRF: prfFor(kt), Data: data, IV: []byte("IV"), More: more()},
				&pkcs11.SP800108FeedbackParams{PRF: prfFor(kt), Data: data},
			}
		}
	case pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY:
		return func(pkcs11.KeyType, pkcs11.Handle) []any { return []any{nil} }
	}
	if f := tlsDerivations(m.Type); f != nil {
		return f
	}
	return ikeDerivations(m.Type)
}

func tlsDerivations(m pkcs11.MechanismType) func(pkcs11.KeyType, pkcs11.Handle) []any {
	random := pkcs11.SSL3RandomData{Client: message(32), Server: message(33)[1:]}
	wanted := pkcs11.Output{Wanted: true}
	var make func() []any
	switch m {
	case pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH:
		make = func() []any {
			return []any{&pkcs11.TLS12MasterKeyDeriveParams{Random: random, Version: pkcs11.Output{Wanted: m == pkcs11.CKM_TLS12_MASTER_KEY_DERIVE}, Hash: pkcs11.CKM_SHA256},
				&pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: pkcs11.CKM_SHA384}}
		}
	case pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH:
		make = func() []any {
			return []any{&pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: message(32),
				Version: pkcs11.Output{Wanted: m == pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE}, Hash: pkcs11.CKM_SHA256}}
		}
	case pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE:
		make = func() []any {
			return []any{
				&pkcs11.TLS12KeyMatParams{MACBits: 256, KeyBits: 128, IVBits: 128, Random: random, Made: &pkcs11.SSL3KeyMatOut{ClientIV: wanted, ServerIV: wanted}, Hash: pkcs11.CKM_SHA256},
				&pkcs11.TLS12KeyMatParams{KeyBits: 128, IVBits: 32, Random: random, Made: &pkcs11.SSL3KeyMatOut{ClientIV: wanted, ServerIV: wanted}, Hash: pkcs11.CKM_SHA384},
				&pkcs11.TLS12KeyMatParams{MACBits: 160, KeyBits: 128, Random: random, Made: &pkcs11.SSL3KeyMatOut{}, Hash: pkcs11.CKM_SHA256},
			}
		}
	case pkcs11.CKM_TLS_KDF, pkcs11.CKM_TLS12_KDF:
		make = func() []any {
			return []any{&pkcs11.TLSKDFParams{Hash: pkcs11.CKM_SHA256, Label: []byte("a label"), Random: random, Context: []byte("a context")}}
		}
	default:
		return nil
	}
	return func(pkcs11.KeyType, pkcs11.Handle) []any { return make() }
}

func ikeDerivations(m pkcs11.MechanismType) func(pkcs11.KeyType, pkcs11.Handle) []any {
	switch m {
	case pkcs11.CKM_IKE2_PRF_PLUS_DERIVE:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			return []any{&pkcs11.IKE2PRFPlusParams{PRF: prfFor(kt), HasSeedKey: true, SeedKey: named, SeedData: []byte("seed")}, &pkcs11.IKE2PRFPlusParams{PRF: prfFor(kt), SeedData: []byte("seed")}}
		}
	case pkcs11.CKM_IKE_PRF_DERIVE:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			return []any{&pkcs11.IKEPRFParams{PRF: prfFor(kt), Rekey: true, Ni: []byte("Ni"), Nr: []byte("Nr"), NewKey: named},
				&pkcs11.IKEPRFParams{PRF: pkcs11.CKM_SHA256_HMAC, DataAsKey: true, Ni: []byte("Ni"), Nr: []byte("Nr")}}
		}
	case pkcs11.CKM_IKE1_PRF_DERIVE:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			return []any{&pkcs11.IKE1PRFParams{PRF: prfFor(kt), HasPrevKey: true, KeyGXY: named, PrevKey: named, CKYi: message(8), CKYr: message(9), KeyNumber: 1}}
		}
	case pkcs11.CKM_IKE1_EXTENDED_DERIVE:
		return func(kt pkcs11.KeyType, named pkcs11.Handle) []any {
			return []any{&pkcs11.IKE1ExtendedParams{PRF: prfFor(kt), HasKeyGXY: true, KeyGXY: named, ExtraData: []byte("extra")}, &pkcs11.IKE1ExtendedParams{PRF: prfFor(kt)}}
		}
	}
	return nil
}

// prfFor is a pseudorandom function that takes keys of a type.
func prfFor(kt pkcs11.KeyType) pkcs11.MechanismType {
	if kt == pkcs11.CKK_AES {
		return pkcs11.CKM_AES_CMAC
	}
	for _, h := range hashes.All {
		if h.KeyType == kt {
			return h.HMAC
		}
	}
	return pkcs11.CKM_SHA256_HMAC
}

// aDerived is the template of a derived key that can be read.
var aDerived = with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable)

// derivedTemplate makes a template for one key into what the mechanism makes.
func (b *battery) derivedTemplate(t T) T {
	switch b.row.Type {
	case pkcs11.CKM_HKDF_DATA:
	case pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY:
		return nil
	case pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH,
		pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH:
		return readable
	case pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE:
		return with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), readable)
	default:
		return t
	}
	n, _ := t.Uint(pkcs11.CKA_VALUE_LEN)
	return with(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), num(pkcs11.CKA_VALUE_LEN, n))
}

// computed is what the row makes of the same keys, for keys of these lengths. The row's own tests hold it to the standard.
func (b *battery) computed(t *testing.T, sizes ...int) *rows.Derived {
	t.Helper()
	key := func(m *madeKey) rows.Key {
		kt, _ := m.privKind.Uint(pkcs11.CKA_KEY_TYPE)
		class, _ := m.privKind.Uint(pkcs11.CKA_CLASS)
		return mechtest.Key(pkcs11.ObjectClass(class), pkcs11.KeyType(kt), m.values)
	}
	kt, _ := b.key.privKind.Uint(pkcs11.CKA_KEY_TYPE)
	d := &rows.Derivation{Base: key(b.key), KeyType: registry(t).KeyType(pkcs11.KeyType(kt)), Param: b.param, Sizes: sizes,
		Named: map[pkcs11.Handle]rows.Key{pkcs11.Handle(b.named.priv): key(b.named)}}
	made, err := b.row.Run(d)
	require.NoError(t, err)
	return made
}

// deriveLikeRow compares what the token derives with what the row does.
func (b *battery) deriveLikeRow(t *testing.T) {
	at := pkcs11.PlacesOf(b.param)
	lengths := []int{1, 7, 16}
	if p, ok := b.param.(*pkcs11.IKEPRFParams); ok {
		lengths = []int{16} // all of the output, here of AES-CMAC
		if h := hashes.ByHMAC(p.PRF); h != nil {
			lengths = []int{h.Size()}
		}
	}
	for _, n := range lengths {
		plan, err := b.row.PlanOf(b.param, aDerived)
		require.NoError(t, err)
		var sizes []int
		for i, p := range plan {
			size, said := p.Template.Uint(pkcs11.CKA_VALUE_LEN)
			switch {
			case p.Size > 0 || p.Absent:
				size = p.Size
			case i == 0 && !said:
				size = uint(n)
			}
			sizes = append(sizes, int(size))
		}
		want := b.computed(t, sizes...)
		first, err := b.DeriveKey(b.h, b.mech(), b.key.priv, b.derivedTemplate(with(aDerived, num(pkcs11.CKA_VALUE_LEN, uint(n)))))
		require.NoError(t, err)
		made := []handle{first}
		if at.Instead {
			made = nil
		}
		for _, h := range at.Made {
			made = append(made, handle(*h))
		}
		require.Len(t, made, len(want.Keys))
		for i, o := range made {
			if plan[i].Absent {
				require.Zero(t, o, "key %d is not made", i)
				continue
			}
			b.like(t, o, want.Keys[i])
			require.NoError(t, b.DestroyObject(b.h, o))
		}
		for i, o := range at.Outputs {
			if o.Wanted { // what the mechanism does not fill stays as it was: zeros
				n := len(want.Outputs[i])
				require.Equal(t, want.Outputs[i], o.Bytes[:n:n], "output %d", i)
				require.Zero(t, bytes.Trim(o.Bytes[n:], "\x00"))
			}
		}
		if plan[0].Fixed || at.Instead {
			break // the length is not the caller's
		}
	}
	b.refusedNames(t, at)
	b.allOrNone(t, at)
}

// like compares a derived object with its material.
func (b *battery) like(t *testing.T, o handle, want T) {
	t.Helper()
	b.has(t, b.h, o, want)
	class, _ := b.value(t, b.h, o, pkcs11.CKA_CLASS).(uint)
	switch pkcs11.ObjectClass(class) {
	case pkcs11.CKO_SECRET_KEY:
		b.has(t, b.h, o, no(pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE))
	case pkcs11.CKO_PUBLIC_KEY:
		b.has(t, b.h, o, with(b.key.pubKind, b.key.pubValues, no(pkcs11.CKA_LOCAL, pkcs11.CKA_TRUSTED, pkcs11.CKA_PRIVATE),
			yes(pkcs11.CKA_VERIFY, pkcs11.CKA_ENCRYPT, pkcs11.CKA_WRAP)))
	}
}

// refusedNames gives the parameter a key that may not be used so, and none.
func (b *battery) refusedNames(t *testing.T, at pkcs11.Places) {
	if len(at.Named) == 0 {
		return
	}
	if b.row.Type == pkcs11.CKM_HKDF_DATA {
		b.refusedData(t)
	}
	kt, _ := b.key.privKind.Uint(pkcs11.CKA_KEY_TYPE)
	template := b.derivedTemplate(with(aDerived, num(pkcs11.CKA_VALUE_LEN, uint(16))))
	if b.row.Type == pkcs11.CKM_IKE_PRF_DERIVE { // the length is the function's
		template = aDerived
	}
	try := func(want pkcs11.RV, name handle) {
		t.Helper()
		param := b.r.derivations(pkcs11.KeyType(kt), pkcs11.Handle(name))
		for _, p := range param {
			if len(pkcs11.PlacesOf(p).Named) > 0 || name == 0 {
				_, err := b.DeriveKey(b.h, &mech{Type: b.row.Type, Params: p}, b.key.priv, template)
				if name == 0 && err == nil {
					continue // a parameter that names none
				}
				rv(t, want, err)
			}
		}
	}
	for _, gone := range []handle{0, 1 << 40, ^handle(0)} {
		try(pkcs11.CKR_KEY_HANDLE_INVALID, gone)
	}
	try(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, b.keys.anew(t, b.named, false, no(pkcs11.CKA_DERIVE)))
	try(pkcs11.CKR_MECHANISM_INVALID, b.keys.anew(t, b.named, false, T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_DES3_CBC})}))
	data := b.create(t, b.h, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), octets(pkcs11.CKA_VALUE, []byte("no key"))))
	try(pkcs11.CKR_KEY_HANDLE_INVALID, data)
	// What is made of a key that cannot be read cannot be read either, whichever of the two it is.
	if b.row.Type != pkcs11.CKM_HKDF_DATA {
		try(pkcs11.CKR_TEMPLATE_INCONSISTENT, b.keys.anew(t, b.named, false, yes(pkcs11.CKA_SENSITIVE)))
		try(pkcs11.CKR_TEMPLATE_INCONSISTENT, b.keys.anew(t, b.named, false, no(pkcs11.CKA_EXTRACTABLE)))
	}
}

// refusedData: what can be read is made of a sensitive key only if the key says so.
func (b *battery) refusedData(t *testing.T) {
	template := b.derivedTemplate(num(pkcs11.CKA_VALUE_LEN, uint(16)))
	_, err := b.DeriveKey(b.h, b.mech(), b.keys.anew(t, b.key, false, yes(pkcs11.CKA_SENSITIVE)), template)
	rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err)
	by := T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{b.row.Type})}
	o, err := b.DeriveKey(b.h, b.mech(), b.keys.anew(t, b.key, false, yes(pkcs11.CKA_SENSITIVE), by), template)
	require.NoError(t, err)
	b.has(t, b.h, o, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), yes(pkcs11.CKA_PRIVATE)))
}

// allOrNone spoils the template of the last key: no key is made.
func (b *battery) allOrNone(t *testing.T, at pkcs11.Places) {
	if len(at.Templates) == 0 {
		return
	}
	last := at.Templates[len(at.Templates)-1]
	good, mark := *last, text(pkcs11.CKA_LABEL, "all or none")
	defer func() { *last = good }()
	for _, token := range []T{no(pkcs11.CKA_TOKEN), yes(pkcs11.CKA_TOKEN)} {
		template := with(aDerived, num(pkcs11.CKA_VALUE_LEN, uint(16)), mark, token)
		for _, c := range []struct {
			spoilt T
			want   pkcs11.RV
		}{
			{with(good, num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)), pkcs11.CKR_TEMPLATE_INCONSISTENT},
			{with(good, yes(pkcs11.CKA_LOCAL)), pkcs11.CKR_ATTRIBUTE_READ_ONLY},
			{with(good, octets(pkcs11.CKA_VALUE, []byte("x"))), pkcs11.CKR_ATTRIBUTE_READ_ONLY},
			{aDerived, pkcs11.CKR_TEMPLATE_INCOMPLETE},
			{with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), num(pkcs11.CKA_VALUE_LEN, uint(17))), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		} {
			*last = c.spoilt
			_, err := b.DeriveKey(b.h, b.mech(), b.key.priv, template)
			rv(t, c.want, err)
			require.Empty(t, b.find(t, b.h, mark), "keys that were made although one could not be")
		}
		*last = with(good, mark, token)
		first, err := b.DeriveKey(b.h, b.mech(), b.key.priv, template)
		require.NoError(t, err)
		require.ElementsMatch(t, []handle{first, handle(*at.Made[len(at.Made)-1])}, b.find(t, b.h, mark))
		for _, o := range b.find(t, b.h, mark) {
			require.NoError(t, b.DestroyObject(b.h, o))
		}
	}
}
