package conformance

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// use is one thing that a row can do with a key, begun or done.
type use struct {
	name   string
	has    bool
	allow  pkcs11.AttributeType
	public bool // the public half of a pair
	start  func(m *mech, key handle) error
	end    func() error // of an operation that runs from call to call; nil for the others

	wrongKey, noKey pkcs11.RV
}

// uses is the table of what can be done with a key.
func (b *battery) uses(t *testing.T) []use {
	t.Helper()
	big := func() *out { return &out{Capacity: 1 << 16} }
	aes := b.keys.of(t, pkcs11.CKK_AES)
	target := with(aes.privKind, readable)
	h, m := b.h, b.row
	begun := func(name string, has bool, allow pkcs11.AttributeType, public bool, start func(session, *mech, handle) error, end func() error) use {
		return use{name, has, allow, public, func(m *mech, key handle) error { return start(h, m, key) }, end,
			pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_HANDLE_INVALID}
	}
	in := message(slices.Max(b.r.lens))
	return append(b.encapsulation(), []use{
		begun("sign messages", m.Sign != nil, pkcs11.CKA_SIGN, false, b.MessageSignInit, func() error {
			err := b.SignMessage(h, nil, in, big())
			return errors.Join(err, b.MessageSignFinal(h))
		}),
		begun("verify messages", m.Verify != nil, pkcs11.CKA_VERIFY, true, b.MessageVerifyInit, func() error {
			err := b.VerifyMessage(h, nil, in, in)
			return errors.Join(err, b.MessageVerifyFinal(h))
		}),
		begun("encrypt", m.Encrypt != nil, pkcs11.CKA_ENCRYPT, true, b.EncryptInit, func() error { return b.Encrypt(h, in, big()) }),
		begun("decrypt", m.Decrypt != nil, pkcs11.CKA_DECRYPT, false, b.DecryptInit, func() error { return b.Decrypt(h, in, big()) }),
		begun("sign", m.Sign != nil, pkcs11.CKA_SIGN, false, b.SignInit, func() error { return b.Sign(h, in, big()) }),
		begun("verify", m.Verify != nil, pkcs11.CKA_VERIFY, true, b.VerifyInit, func() error { return b.Verify(h, in, in) }),
		begun("sign-recover", m.SignRecover != nil, pkcs11.CKA_SIGN_RECOVER, false, b.SignRecoverInit, func() error { return b.SignRecover(h, in, big()) }),
		begun("verify-recover", m.VerifyRecover != nil, pkcs11.CKA_VERIFY_RECOVER, true, b.VerifyRecoverInit, func() error { return b.VerifyRecover(h, in, big()) }),
		{"wrap", m.Wrap != nil, pkcs11.CKA_WRAP, true, func(m *mech, key handle) error { return b.WrapKey(h, m, key, aes.priv, big()) }, nil,
			pkcs11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID},
		{"unwrap", m.Unwrap != nil, pkcs11.CKA_UNWRAP, false, func(m *mech, key handle) error {
			_, err := b.UnwrapKey(h, m, key, make([]byte, 512), target)
			return err
		}, nil, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID},
		{"derive", m.Derives(), pkcs11.CKA_DERIVE, false, func(m *mech, key handle) error {
			_, err := b.DeriveKey(h, m, key, b.derivedTemplate(with(target, num(pkcs11.CKA_VALUE_LEN, uint(16)))))
			return err
		}, nil, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_HANDLE_INVALID},
	}...)
}

// refusals tries each use with what must be refused. Nothing may be running afterwards.
func (b *battery) refusals(t *testing.T) {
	wrongType := b.keys.of(t, other(b.row))
	for _, u := range b.uses(t) {
		key, wrong := b.key.priv, wrongType.priv
		if u.public {
			key, wrong = b.key.pub, wrongType.pub
		}
		if !u.has {
			// What no key of this type may do is as good a reason as what the mechanism cannot.
			oneOf(t, u.start(b.mech(), key), pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
			continue
		}
		refused := func(want pkcs11.RV, m *mech, key handle, why string) {
			t.Helper()
			rv(t, want, u.start(m, key), u.name, why)
			if u.end != nil {
				rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, u.end(), u.name, why)
			}
		}
		kindOfParam := b.row.Type.ParamKind()
		if kindOfParam != pkcs11.ParamNone && !b.row.Type.ParamOptional() {
			refused(pkcs11.CKR_MECHANISM_PARAM_INVALID, &mech{Type: b.row.Type}, key, "no parameter")
		}
		odd := stranger
		if b.row.Type == pkcs11.CKM_DH_PKCS_DERIVE {
			odd = pkcs11.IV{0} // any other bytes are a number, and may be a public value
		}
		refused(pkcs11.CKR_MECHANISM_PARAM_INVALID, &mech{Type: b.row.Type, Params: odd}, key, "a parameter of another kind")
		refused(u.wrongKey, b.mech(), wrong, "a key of another type")
		for _, gone := range []handle{0, 1 << 40, ^handle(0)} {
			refused(u.noKey, b.mech(), gone, "no key")
		}
		if b.key.pub != b.key.priv {
			half := b.key.pub
			if u.public {
				half = b.key.priv
			}
			refused(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, b.mech(), half, "the other half")
		}
		b.notAllowed(t, u, refused)
		b.twice(t, u, key)
	}
}

// notAllowed takes the usage from the key, and then the mechanism.
func (b *battery) notAllowed(t *testing.T, u use, refused func(pkcs11.RV, *mech, handle, string)) {
	t.Helper()
	refused(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, b.mech(), b.keys.anew(t, b.key, u.public, no(u.allow)), "usage")
	others := T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_SEED_CBC, b.row.Type + 1})}
	refused(pkcs11.CKR_MECHANISM_INVALID, b.mech(), b.keys.anew(t, b.key, u.public, others), "CKA_ALLOWED_MECHANISMS")
	if u.end != nil {
		this := T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_SEED_CBC, b.row.Type})}
		require.NoError(t, u.start(b.mech(), b.keys.anew(t, b.key, u.public, this)), "allowed by name")
		u.end()
	}
}

// twice begins an operation twice and cancels it.
func (b *battery) twice(t *testing.T, u use, key handle) {
	t.Helper()
	if u.end == nil {
		return
	}
	require.NoError(t, u.start(b.mech(), key))
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, u.start(b.mech(), key), u.name, "twice")
	require.NoError(t, u.start(nil, key), "cancel")
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, u.end(), u.name, "cancelled")
	require.NoError(t, u.start(nil, key), "nothing to cancel")
	require.NoError(t, u.start(b.mech(), key))
	oneOf(t, u.end(), pkcs11.CKR_OK, pkcs11.CKR_SIGNATURE_INVALID, pkcs11.CKR_SIGNATURE_LEN_RANGE,
		pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID)
}
