package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// signMessages signs some messages in one process and verifies them in another, at once and in parts; what is wrong with one
// message does not end the process.
func (b *battery) signMessages(t *testing.T) {
	if b.row.Sign == nil {
		return
	}
	require.NoError(t, b.MessageSignInit(b.h, b.mech(), b.key.priv))
	require.NoError(t, b.MessageVerifyInit(b.h, b.mech(), b.key.pub))
	for _, n := range b.r.lens[max(0, len(b.r.lens)-3):] {
		in := message(n)
		signature := b.sized(t, func(o *out) error { return b.SignMessage(b.h, nil, in, o) })
		b.wantVerified(t, in, signature)
		require.NoError(t, b.VerifyMessage(b.h, nil, in, signature))
		bad := append([]byte{}, signature...)
		bad[len(bad)/2] ^= 1
		rv(t, pkcs11.CKR_SIGNATURE_INVALID, b.VerifyMessage(b.h, nil, in, bad))
		rv(t, pkcs11.CKR_SIGNATURE_LEN_RANGE, b.VerifyMessage(b.h, nil, in, append(bad, 0)))
		if !b.row.OnePart {
			b.signMessageParts(t, in, signature)
		}
	}
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.SignMessage(b.h, stranger, nil, big16()))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignMessageNext(b.h, nil, nil, big16()), "no message is under way")
	require.NoError(t, b.MessageSignFinal(b.h))
	require.NoError(t, b.MessageVerifyFinal(b.h))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.MessageSignFinal(b.h))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignMessage(b.h, nil, nil, big16()))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifyMessage(b.h, nil, nil, nil))
}

func (b *battery) signMessageParts(t *testing.T, in, signature []byte) {
	half := len(in) / 2
	require.NoError(t, b.SignMessageBegin(b.h, nil))
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.SignMessage(b.h, nil, in, big16()), "a message in parts is under way")
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.SignMessageBegin(b.h, nil))
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.MessageSignFinal(b.h))
	require.NoError(t, b.SignMessageNext(b.h, nil, in[:half], nil))
	again := b.sized(t, func(o *out) error { return b.SignMessageNext(b.h, nil, in[half:], o) })
	if b.r.random {
		b.wantVerified(t, in, again)
	} else {
		require.Equal(t, signature, again)
	}
	for _, c := range []struct {
		last []byte
		want pkcs11.RV
	}{{in[half:], pkcs11.CKR_OK}, {append([]byte("x"), in[half:]...), pkcs11.CKR_SIGNATURE_INVALID}} {
		require.NoError(t, b.VerifyMessageBegin(b.h, nil))
		require.NoError(t, b.VerifyMessageNext(b.h, nil, in[:half], nil))
		if len(signature) < 4 && c.want != pkcs11.CKR_OK {
			b.VerifyMessageNext(b.h, nil, c.last, signature) // a MAC this short may be right by chance
		} else {
			rv(t, c.want, b.VerifyMessageNext(b.h, nil, c.last, signature))
		}
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifyMessageNext(b.h, nil, nil, signature), "the message is over")
	}
}

// cipherMessages encrypts messages and wants what the mechanism gives at once, with the tag apart.
func (b *battery) cipherMessages(t *testing.T) {
	empty := b.row.Type.NewMessage()
	if b.row.Encrypt == nil || empty == nil {
		return
	}
	plainMech := &mech{Type: b.row.Type}
	require.NoError(t, b.MessageEncryptInit(b.h, plainMech, b.key.pub))
	require.NoError(t, b.MessageDecryptInit(b.h, &mech{Type: b.row.Type, Params: empty.Sample()}, b.key.priv), "a parameter that does not count")
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.MessageEncryptInit(b.h, plainMech, b.key.pub))
	for i, n := range b.r.lens {
		in, aad := message(n), []byte("header")[:i%7]
		m := empty.Sample()
		if p, ok := m.(*pkcs11.CCMMessageParams); ok {
			p.DataLen = uint(n) // parts must add up to it
		}
		iv, _, _ := m.Vector()
		copy(iv, message(len(iv) + i)[i:])
		b.param = m.Whole(aad, n)
		whole := b.encrypt(t, in)
		tag, size := m.TagSpace()
		require.Len(t, tag, size)

		sealed := b.sized(t, func(o *out) error { return b.EncryptMessage(b.h, m, aad, in, o) })
		require.Equal(t, whole, append(sealed[:n:n], tag...))
		plain := b.sized(t, func(o *out) error { return b.DecryptMessage(b.h, m, aad, sealed, o) })
		require.Equal(t, string(in), string(plain))
		b.cipherMessageParts(t, m, aad, in, sealed)
		b.tamperedMessage(t, m, aad, sealed)
	}
	b.messageRefusals(t, empty.Sample())
	require.NoError(t, b.MessageEncryptFinal(b.h))
	require.NoError(t, b.MessageDecryptFinal(b.h))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.MessageEncryptFinal(b.h))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptMessage(b.h, empty.Sample(), nil, nil, big16()))
	b.messageKeys(t)
}

const end = pkcs11.CKF_END_OF_MESSAGE

// cipherMessageParts cuts a message in two.
func (b *battery) cipherMessageParts(t *testing.T, m pkcs11.MessageParams, aad, in, sealed []byte) {
	half := len(in) / 2
	tag, _ := m.TagSpace()
	want := append([]byte{}, tag...)
	clear(tag)
	require.NoError(t, b.EncryptMessageBegin(b.h, m, aad))
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.EncryptMessage(b.h, m, nil, nil, big16()), "a message in parts is under way")
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.MessageEncryptFinal(b.h))
	o := big16()
	require.NoError(t, b.EncryptMessageNext(b.h, m, in[:half], o, 0))
	got := o.Bytes
	rest := b.sized(t, func(o *out) error { return b.EncryptMessageNext(b.h, m, in[half:], o, end) })
	require.Equal(t, string(sealed), string(append(got[:len(got):len(got)], rest...)))
	require.Equal(t, want, tag)
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptMessageNext(b.h, m, nil, big16(), end), "the message is over")

	require.NoError(t, b.DecryptMessageBegin(b.h, m, aad))
	o = big16()
	require.NoError(t, b.DecryptMessageNext(b.h, nil, sealed[:half], o, 0))
	require.Empty(t, o.Bytes, "nothing comes before the tag was checked")
	plain := b.sized(t, func(o *out) error { return b.DecryptMessageNext(b.h, m, sealed[half:], o, end) })
	require.Equal(t, string(in), string(plain))
}

// tamperedMessage changes each thing that a message has.
func (b *battery) tamperedMessage(t *testing.T, m pkcs11.MessageParams, aad, sealed []byte) {
	tag, _ := m.TagSpace()
	iv, _, _ := m.Vector()
	refused := func(what string, aad, sealed []byte) {
		t.Helper()
		o := big16()
		rv(t, pkcs11.CKR_AEAD_DECRYPT_FAILED, b.DecryptMessage(b.h, m, aad, sealed, o), what)
		require.Nil(t, o.Bytes)
		require.NoError(t, b.DecryptMessageBegin(b.h, m, aad))
		oneOf(t, b.DecryptMessageNext(b.h, m, sealed, o, end), pkcs11.CKR_AEAD_DECRYPT_FAILED, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
		require.Nil(t, o.Bytes)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DecryptMessageNext(b.h, m, sealed, o, end), "the message is over")
	}
	tag[0] ^= 1
	refused("tag", aad, sealed)
	tag[0] ^= 1
	iv[len(iv)-1] ^= 1
	refused("vector", aad, sealed)
	iv[len(iv)-1] ^= 1
	refused("associated data", append([]byte("x"), aad...), sealed)
	refused("a byte more", aad, append([]byte("x"), sealed...))
	if len(sealed) > 0 {
		refused("a byte less", aad, sealed[1:])
	}
	require.NoError(t, b.DecryptMessage(b.h, m, aad, sealed, big16()), "the process goes on")
}

// messageRefusals are parameters that cannot be, and calls out of order.
func (b *battery) messageRefusals(t *testing.T, m pkcs11.MessageParams) {
	for _, p := range []any{nil, stranger, &pkcs11.CTRParams{}} {
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.EncryptMessage(b.h, p, nil, nil, big16()))
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.EncryptMessageBegin(b.h, p, nil))
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.DecryptMessage(b.h, p, nil, nil, big16()))
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.DecryptMessageBegin(b.h, p, nil))
	}
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptMessageNext(b.h, m, nil, big16(), end), "no message is under way")
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DecryptMessageNext(b.h, m, nil, big16(), 0), "no message is under way")
	for _, f := range []struct {
		parameter any
		flags     pkcs11.Flags
		want      pkcs11.RV
	}{{m, 2, pkcs11.CKR_ARGUMENTS_BAD}, {nil, end, pkcs11.CKR_MECHANISM_PARAM_INVALID}} {
		require.NoError(t, b.EncryptMessageBegin(b.h, m, nil))
		rv(t, f.want, b.EncryptMessageNext(b.h, f.parameter, nil, big16(), f.flags))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptMessageNext(b.h, m, nil, big16(), end), "an error ends the message")
	}
}

// messageKeys asks for what the key or the mechanism does not allow.
func (b *battery) messageKeys(t *testing.T) {
	for _, c := range []struct {
		allow pkcs11.AttributeType
		begin func(session, *mech, handle) error
	}{{pkcs11.CKA_ENCRYPT, b.MessageEncryptInit}, {pkcs11.CKA_DECRYPT, b.MessageDecryptInit}} {
		m := &mech{Type: b.row.Type}
		rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, c.begin(b.h, m, b.keys.anew(t, b.key, false, no(c.allow))))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, c.begin(b.h, m, 1<<40))
		rv(t, pkcs11.CKR_KEY_TYPE_INCONSISTENT, c.begin(b.h, m, b.keys.of(t, other(b.row)).priv))
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, c.begin(b.h, &mech{Type: b.row.Type, Params: stranger}, b.key.priv))
		rv(t, pkcs11.CKR_MECHANISM_INVALID, c.begin(b.h, &mech{Type: pkcs11.CKM_AES_ECB}, b.key.priv), "a mechanism without messages")
		require.NoError(t, c.begin(b.h, m, b.key.priv))
		require.NoError(t, c.begin(b.h, nil, 0), "cancel")
	}
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.MessageEncryptFinal(b.h))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.MessageDecryptFinal(b.h))
}
