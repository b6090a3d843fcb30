package conformance

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func gcmMessage(iv string, fixed, generator uint) *pkcs11.GCMMessageParams {
	return &pkcs11.GCMMessageParams{IV: []byte(iv), IVFixedBits: fixed, IVGenerator: generator, Tag: make([]byte, 16), TagBits: 128}
}

// TestGeneratedVectors: each generator keeps the fixed bits, makes no vector twice and gives it back, and who has the message
// and its parameter can decrypt it.
func TestGeneratedVectors(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		m := &mech{Type: pkcs11.CKM_AES_GCM}
		const given = "abcdEFGHIJKL"
		for _, c := range []struct {
			generator, fixed uint
			first            string // the vector of the first message; empty where it is random
		}{
			{pkcs11.CKG_GENERATE, 0, ""},
			{pkcs11.CKG_GENERATE, 32, ""},
			{pkcs11.CKG_GENERATE_RANDOM, 0, ""},
			{pkcs11.CKG_GENERATE_COUNTER, 32, "abcd\x00\x00\x00\x00\x00\x00\x00\x00"},
			{pkcs11.CKG_GENERATE_COUNTER_XOR, 32, given},
		} {
			require.NoError(t, e.MessageEncryptInit(h, m, key))
			require.NoError(t, e.MessageDecryptInit(h, m, key))
			seen := map[string]bool{}
			for i := range 5 {
				p, o := gcmMessage(given, c.fixed, c.generator), big16()
				if i%2 == 0 {
					require.NoError(t, e.EncryptMessage(h, p, nil, []byte("message"), o))
				} else {
					require.NoError(t, e.EncryptMessageBegin(h, p, nil))
					require.NoError(t, e.EncryptMessageNext(h, p, []byte("message"), o, end))
				}
				require.False(t, seen[string(p.IV)], "%x comes twice", p.IV)
				seen[string(p.IV)] = true
				require.Equal(t, given[:c.fixed/8], string(p.IV[:c.fixed/8]))
				if i == 0 && c.first != "" {
					require.Equal(t, c.first, string(p.IV))
				}
				plain := big16()
				require.NoError(t, e.DecryptMessage(h, p, nil, o.Bytes, plain), "the generator does not count")
				require.Equal(t, "message", string(plain.Bytes))
			}
			require.NoError(t, e.MessageEncryptFinal(h))
			require.NoError(t, e.MessageDecryptFinal(h))
		}
		require.NoError(t, e.MessageEncryptInit(h, m, key))
		for _, c := range []struct{ generator, fixed uint }{{pkcs11.CKG_GENERATE_RANDOM, 1}, {pkcs11.CKG_GENERATE, 41}, {pkcs11.CKG_GENERATE_COUNTER, 96}, {9, 0}} {
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.EncryptMessage(h, gcmMessage(given, c.fixed, c.generator), nil, nil, big16()), c)
		}
		// A counter of two bits is used up after four messages.
		for range 4 {
			require.NoError(t, e.EncryptMessage(h, gcmMessage(given, 94, pkcs11.CKG_GENERATE_COUNTER), nil, nil, big16()))
		}
		rv(t, pkcs11.CKR_FUNCTION_FAILED, e.EncryptMessage(h, gcmMessage(given, 94, pkcs11.CKG_GENERATE_COUNTER), nil, nil, big16()))
	})
}

// TestEverythingAtOnce: a session runs one operation of each kind, a process of each kind, and a search.
func TestEverythingAtOnce(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		ecb, cmac, gcm, sha := &mech{Type: pkcs11.CKM_AES_ECB}, &mech{Type: pkcs11.CKM_AES_CMAC}, &mech{Type: pkcs11.CKM_AES_GCM}, &mech{Type: pkcs11.CKM_SHA256}
		block := make([]byte, 16)
		signature := e.signed(t, h, cmac, key, block)
		message := gcmMessage("twelve bytes", 0, pkcs11.CKG_NO_GENERATE)
		require.NoError(t, e.FindObjectsInit(h, nil))
		require.NoError(t, e.DigestInit(h, sha))
		require.NoError(t, e.EncryptInit(h, ecb, key))
		require.NoError(t, e.DecryptInit(h, ecb, key))
		require.NoError(t, e.SignInit(h, cmac, key))
		require.NoError(t, e.VerifyInit(h, cmac, key))
		require.NoError(t, e.VerifySignatureInit(h, cmac, key, signature))
		require.NoError(t, e.MessageEncryptInit(h, gcm, key))
		require.NoError(t, e.MessageDecryptInit(h, gcm, key))
		require.NoError(t, e.MessageSignInit(h, cmac, key))
		require.NoError(t, e.MessageVerifyInit(h, cmac, key))
		require.NoError(t, e.EncryptMessageBegin(h, message, nil))
		require.NoError(t, e.SignMessageBegin(h, nil))
		require.NoError(t, e.VerifyMessageBegin(h, nil))

		o := big16()
		require.NoError(t, e.DigestEncryptUpdate(h, block, o))
		require.NoError(t, e.DecryptVerifyUpdate(h, o.Bytes, big16()))
		require.NoError(t, e.SignUpdate(h, block))
		require.NoError(t, e.VerifySignatureUpdate(h, block))
		require.NoError(t, e.SignMessageNext(h, nil, block, nil))
		require.NoError(t, e.VerifyMessageNext(h, nil, block, nil))
		sealed := big16()
		require.NoError(t, e.EncryptMessageNext(h, message, block, sealed, end))
		require.NoError(t, e.DecryptMessageBegin(h, message, nil))
		plain := big16()
		require.NoError(t, e.DecryptMessageNext(h, message, sealed.Bytes, plain, end))
		require.True(t, bytes.Equal(block, plain.Bytes))
		for _, sign := range []func(*out) error{
			func(o *out) error { return e.SignFinal(h, o) }, func(o *out) error { return e.SignMessageNext(h, nil, nil, o) },
		} {
			o := big16()
			require.NoError(t, sign(o))
			require.Equal(t, signature, o.Bytes)
		}
		require.NoError(t, e.VerifyFinal(h, signature))
		require.NoError(t, e.VerifySignatureFinal(h))
		require.NoError(t, e.VerifyMessageNext(h, nil, nil, signature))
		require.NoError(t, e.DigestFinal(h, big16()))
		require.NoError(t, e.EncryptFinal(h, big16()))
		require.NoError(t, e.DecryptFinal(h, big16()))
		require.NoError(t, e.FindObjectsFinal(h))

		require.NoError(t, e.SessionCancel(h, pkcs11.CKF_MESSAGE_ENCRYPT|pkcs11.CKF_MESSAGE_VERIFY))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.MessageEncryptFinal(h))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.MessageVerifyFinal(h))
		require.NoError(t, e.MessageDecryptFinal(h))
		require.NoError(t, e.MessageSignFinal(h))
	})
}

// TestMessagesOfAKeyThatHasGone: each message asks anew whether the key is there.
func TestMessagesOfAKeyThatHasGone(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		require.NoError(t, e.MessageEncryptInit(h, &mech{Type: pkcs11.CKM_AES_GCM}, key))
		require.NoError(t, e.EncryptMessage(h, gcmMessage("twelve bytes", 0, 0), nil, nil, big16()))
		require.NoError(t, e.DestroyObject(h, key))
		oneOf(t, e.EncryptMessage(h, gcmMessage("twelve bytes", 0, 0), nil, nil, big16()), pkcs11.CKR_KEY_HANDLE_INVALID)
		require.NoError(t, e.MessageEncryptFinal(h))
	})
}

// TestMessagesOfAKeyThatAsksEachTime: one PIN is for one message.
func TestMessagesOfAKeyThatAsksEachTime(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		pub, priv := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, with(octets(pkcs11.CKA_EC_PARAMS, p256), everyPublic),
			with(everyPrivate, yes(pkcs11.CKA_ALWAYS_AUTHENTICATE), yes(pkcs11.CKA_PRIVATE)))
		m := &mech{Type: pkcs11.CKM_ECDSA_SHA256}
		require.NoError(t, e.MessageSignInit(h, m, priv))
		for range 2 {
			rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.SignMessage(h, nil, []byte("x"), big16()))
			require.NoError(t, e.Login(h, pkcs11.CKU_CONTEXT_SPECIFIC, userPIN))
			o := big16()
			require.NoError(t, e.SignMessage(h, nil, []byte("x"), o))
			require.NoError(t, e.verified(t, h, m, pub, []byte("x"), o.Bytes))
		}
		require.NoError(t, e.MessageSignFinal(h))
	})
}

// TestMessagesWhileTheMechanismChanges: one thread begins processes of one mechanism and another in a session, while others send
// messages whose parameter fits one of them. Each call has one of its answers; what is encrypted is what the parameter says.
func TestMessagesWhileTheMechanismChanges(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		plain := []byte("sixteen bytes...")
		ccm := func() *pkcs11.CCMMessageParams {
			return &pkcs11.CCMMessageParams{DataLen: 16, Nonce: []byte("twelve bytes"), NonceGenerator: pkcs11.CKG_NO_GENERATE, MAC: make([]byte, 16), MACLen: 16}
		}
		gcm := func() *pkcs11.GCMMessageParams { return gcmMessage("twelve bytes", 0, pkcs11.CKG_NO_GENERATE) }
		want := map[pkcs11.MechanismType][]byte{}
		for typ, p := range map[pkcs11.MechanismType]any{pkcs11.CKM_AES_GCM: gcm(), pkcs11.CKM_AES_CCM: ccm()} {
			o := big16()
			require.NoError(t, e.MessageEncryptInit(h, &mech{Type: typ}, key))
			require.NoError(t, e.EncryptMessage(h, p, nil, plain, o))
			require.NoError(t, e.MessageEncryptFinal(h))
			want[typ] = o.Bytes
		}
		var done atomic.Bool
		var sent sync.WaitGroup
		for typ, parameter := range map[pkcs11.MechanismType]func() any{
			pkcs11.CKM_AES_GCM: func() any { return gcm() }, pkcs11.CKM_AES_CCM: func() any { return ccm() },
		} {
			sent.Go(func() {
				for !done.Load() {
					o := big16()
					switch err := e.EncryptMessage(h, parameter(), nil, plain, o); pkcs11.RVOf(err) {
					case pkcs11.CKR_OK:
						assert.Equal(t, want[typ], o.Bytes, "%v", typ)
					case pkcs11.CKR_OPERATION_NOT_INITIALIZED, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_ARGUMENTS_BAD:
					default:
						assert.NoError(t, err, "%v", typ)
					}
				}
			})
		}
		for i := range 300 {
			typ := pkcs11.CKM_AES_GCM
			if i%2 == 0 {
				typ = pkcs11.CKM_AES_CCM
			}
			assert.NoError(t, e.MessageEncryptInit(h, &mech{Type: typ}, key))
			assert.NoError(t, e.SessionCancel(h, pkcs11.CKF_MESSAGE_ENCRYPT))
		}
		done.Store(true)
		sent.Wait()
	})
}
