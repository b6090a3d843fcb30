package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestOpenBaoSealCalls makes the calls that the source of OpenBao's PKCS#11 seal makes, through the same binding: a key is found
// by its label and CKA_ENCRYPT or CKA_DECRYPT, without its class; AES-GCM with a vector of the token's generator, or RSA-OAEP;
// several sessions at once. OpenBao itself is not run: its modules cannot be had where this was written.
func TestOpenBaoSealCalls(t *testing.T) {
	client(t, "openbao")
	k := harness.NewToken(t, "bao")
	for label, typ := range map[string]string{"seal-aes": "aes:256", "seal-rsa": "rsa:3072"} {
		k.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", label, "--usage", "encrypt,decrypt")
	}
	t.Setenv("COFFER_CONF", k.Conf)
	p := pkcs11.New(harness.Module(t))
	require.NotNil(t, p)
	defer p.Destroy()
	require.NoError(t, p.Initialize())
	defer p.Finalize()
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	info, err := p.GetTokenInfo(slots[0])
	require.NoError(t, err)
	require.Equal(t, "bao", info.Label)

	find := func(t assert.TestingT, s pkcs11.SessionHandle, label string, usage uint) pkcs11.ObjectHandle {
		template := []*pkcs11.Attribute{pkcs11.NewAttribute(usage, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}
		assert.NoError(t, p.FindObjectsInit(s, template))
		found, _, err := p.FindObjects(s, 2)
		assert.NoError(t, err)
		assert.NoError(t, p.FindObjectsFinal(s))
		if !assert.Len(t, found, 1, "OpenBao wants exactly one key") {
			return 0
		}
		return found[0]
	}
	oaep := func() []*pkcs11.Mechanism {
		return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP,
			pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil))}
	}
	work := func(barrier []byte) {
		s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if !assert.NoError(t, err) {
			return
		}
		defer p.CloseSession(s)
		nonce, err := p.GenerateRandom(s, 12)
		assert.NoError(t, err)
		gcm := pkcs11.NewGCMParams(nonce, nil, 128)
		defer gcm.Free()
		m := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, gcm)}
		assert.NoError(t, p.EncryptInit(s, m, find(t, s, "seal-aes", pkcs11.CKA_ENCRYPT)))
		sealed, err := p.Encrypt(s, barrier)
		assert.NoError(t, err)
		assert.Len(t, sealed, len(barrier)+16)
		assert.Equal(t, nonce, gcm.IV())
		assert.NoError(t, p.DecryptInit(s, m, find(t, s, "seal-aes", pkcs11.CKA_DECRYPT)))
		opened, err := p.Decrypt(s, sealed)
		assert.NoError(t, err)
		assert.Equal(t, barrier, opened)

		// RSA: encrypted in the token, and in software with the public key
		public := find(t, s, "seal-rsa", pkcs11.CKA_ENCRYPT)
		assert.NoError(t, p.EncryptInit(s, oaep(), public))
		sealed, err = p.Encrypt(s, barrier)
		assert.NoError(t, err)
		attrs, err := p.GetAttributeValue(s, public, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil)})
		assert.NoError(t, err)
		known := &rsa.PublicKey{N: new(big.Int).SetBytes(attrs[0].Value), E: int(new(big.Int).SetBytes(attrs[1].Value).Int64())}
		soft, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, known, barrier, nil)
		assert.NoError(t, err)
		for _, c := range [][]byte{sealed, soft} {
			assert.NoError(t, p.DecryptInit(s, oaep(), find(t, s, "seal-rsa", pkcs11.CKA_DECRYPT)))
			opened, err = p.Decrypt(s, c)
			assert.NoError(t, err)
			assert.Equal(t, barrier, opened)
		}
	}
	login, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.Login(login, pkcs11.CKU_USER, harness.UserPIN))
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() { work(bytes.Repeat([]byte{byte(n)}, 32)) })
	}
	group.Wait()
	require.Equal(t, 2, staysInside(t, k))
}
