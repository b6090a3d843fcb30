package migrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

const ckmDES3KeyGen = p11.CKM_DES3_KEY_GEN

// everyday makes in a token what people have in theirs. The keys of pkcs11-tool are sensitive and not extractable.
func everyday(t *testing.T) *soft {
	t.Helper()
	s := newSoft(t)
	s.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "01")
	s.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "p256", "--id", "02", "--allowed-mechanisms", "ECDSA,ECDSA-SHA256")
	s.tool("--keypairgen", "--key-type", "EC:secp384r1", "--label", "p384", "--id", "03")
	s.tool("--keypairgen", "--key-type", "EC:secp521r1", "--label", "p521", "--id", "04")
	s.tool("--keypairgen", "--key-type", "EC:edwards25519", "--label", "ed25519", "--id", "05")
	s.tool("--keygen", "--key-type", "AES:32", "--label", "aes", "--id", "06", "--sensitive", "--private")
	s.tool("--keygen", "--key-type", "GENERIC:48", "--label", "generic", "--id", "07", "--private")

	// A key that came as a file, and its certificate.
	key, cert, der := filepath.Join(s.dir, "web.key"), filepath.Join(s.dir, "web.pem"), filepath.Join(s.dir, "web.der")
	s.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=web.example", "-days", "30")
	s.run("openssl", "x509", "-in", cert, "-outform", "DER", "-out", der)
	s.run("softhsm2-util", "--import", key, "--token", "old", "--label", "web", "--id", "08", "--pin", softPIN)
	s.tool("--write-object", der, "--type", "cert", "--label", "web", "--id", "08")

	data := filepath.Join(s.dir, "note")
	require.NoError(t, os.WriteFile(data, []byte("what was noted"), 0o600))
	s.tool("--write-object", data, "--type", "data", "--label", "note", "--application-label", "tests", "--private")

	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		secretKey(t, c, session, ckmDES3KeyGen, "des3", 9, a(p11.CKA_ENCRYPT, true), a(p11.CKA_DECRYPT, true))
		secretKey(t, c, session, p11.CKM_AES_KEY_GEN, "dated", 10, a(p11.CKA_VALUE_LEN, 16), a(p11.CKA_ENCRYPT, true), a(p11.CKA_DECRYPT, true),
			a(p11.CKA_START_DATE, []byte("20250102")), a(p11.CKA_END_DATE, []byte("20990304")), a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, true))
	})
	return s
}

const everydayObjects = 5*2 + 2 + 3 + 1 + 2

func TestFilesOfSoftHSM(t *testing.T) {
	s := everyday(t)
	k := harness.NewToken(t, "new")
	before := s.sum()

	r, code, _ := migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--dry-run")
	require.True(t, r.DryRun)
	require.Len(t, r.Objects, everydayObjects)
	require.Equal(t, 1, code, "DES3 and the AES keys that wrap and encrypt are left")
	require.Equal(t, []int{everydayObjects - 3, 0, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left})
	require.Zero(t, keys(t, k), "a dry run changed the token")

	r, code, _ = migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--drop-wrap")
	require.Equal(t, 1, code)
	require.Equal(t, []int{everydayObjects - 1, 0, 0, 1}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	require.Contains(t, r.of("secret", "des3").Reason, "CKK_DES3")
	require.Contains(t, r.of("secret", "des3").Hint, "legacy = true")
	for _, o := range r.Objects {
		if (o.Class == "private" || o.Class == "secret") && o.Result != "left" {
			require.NotEmpty(t, o.Proof, "%s", o.Label)
		}
	}
	require.Equal(t, before, s.sum(), "the source was changed")

	t.Run("used", func(t *testing.T) { usedInBoth(t, s, k) })
	t.Run("attributes", func(t *testing.T) { attributesKept(t, k) })
	t.Run("again", func(t *testing.T) {
		count := keys(t, k)
		r, code, _ := migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--drop-wrap")
		require.Equal(t, 1, code)
		require.Equal(t, []int{0, everydayObjects - 1, 0, 1}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
		require.Equal(t, count, keys(t, k))
	})
	t.Run("legacy", func(t *testing.T) {
		conf, err := os.ReadFile(k.Conf)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(k.Conf, append(conf, "[slot.policy]\nlegacy = true\n"...), 0o600))
		r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--drop-wrap")
		require.Zero(t, code, stderr)
		require.Equal(t, "moved", r.of("secret", "des3").Result)
		require.Equal(t, "CKM_DES3_ECB", r.of("secret", "des3").Proof)
	})
}

// usedInBoth has SoftHSM2 check what the keys do in their new place.
func usedInBoth(t *testing.T, s *soft, k *harness.Token) {
	message := []byte("signed in the new place, verified in the old one")
	digest := sha256.Sum256(message)
	in, out := filepath.Join(s.dir, "in"), filepath.Join(s.dir, "out")
	use := func(data []byte, args ...string) []byte {
		require.NoError(t, os.WriteFile(in, data, 0o600))
		k.Run(t, harness.Coffer(t), append(args, "--out", out, in)...)
		b, err := os.ReadFile(out)
		require.NoError(t, err)
		return b
	}
	type signature struct {
		id        byte
		mechanism uint
		data, sig []byte
	}
	var signatures []signature
	for _, c := range []struct {
		id        byte
		name      string
		mechanism uint
		data      []byte
	}{
		{1, "SHA256_RSA_PKCS", p11.CKM_SHA256_RSA_PKCS, message},
		{2, "ECDSA", p11.CKM_ECDSA, digest[:]},
		{3, "ECDSA", p11.CKM_ECDSA, digest[:]},
		{4, "ECDSA", p11.CKM_ECDSA, digest[:]},
		{5, "EDDSA", 0x1057, message},
		{8, "SHA256_RSA_PKCS", p11.CKM_SHA256_RSA_PKCS, message},
	} {
		sig := use(c.data, "sign", "--key", fmt.Sprintf("id:%02x", c.id), "--mechanism", c.name, "--format", "raw")
		signatures = append(signatures, signature{c.id, c.mechanism, c.data, sig})
	}
	mac := use(message, "sign", "--key", "id:07", "--mechanism", "SHA256_HMAC")
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		for _, v := range signatures {
			m := []*p11.Mechanism{p11.NewMechanism(v.mechanism, nil)}
			require.NoError(t, c.VerifyInit(session, m, find(t, c, session, p11.CKO_PUBLIC_KEY, v.id)))
			require.NoError(t, c.Verify(session, v.data, v.sig), "the key %d", v.id)
		}
		key := find(t, c, session, p11.CKO_SECRET_KEY, 7)
		require.NoError(t, c.SignInit(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_SHA256_HMAC, nil)}, key))
		theirs, err := c.Sign(session, message)
		require.NoError(t, err)
		require.Equal(t, theirs, mac)
		iv := make([]byte, 16)
		for _, id := range []byte{6, 10} {
			require.NoError(t, c.EncryptInit(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_CBC_PAD, iv)}, find(t, c, session, p11.CKO_SECRET_KEY, id)))
			encrypted, err := c.Encrypt(session, message)
			require.NoError(t, err)
			// coffer has the initialisation vector in front of the file.
			require.Equal(t, message, use(append(iv, encrypted...), "decrypt", "--key", fmt.Sprintf("id:%02x", id), "--mechanism", "AES_CBC_PAD"))
		}
	})
	certificate, err := os.ReadFile(filepath.Join(s.dir, "web.pem"))
	require.NoError(t, err)
	require.Equal(t, string(certificate), k.Run(t, harness.Coffer(t), "key", "export", "web", "--class", "certificate"))
	harness.Need(t, "pkcs11-tool")
	k.Run(t, "pkcs11-tool", "--module", harness.Module(t), "--login", "--pin", harness.UserPIN, "--read-object", "--type", "data", "--label", "note",
		"--application-label", "tests", "--output-file", out)
	note, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "what was noted", string(note))
}

// attributesKept looks at a few keys through the library, as applications do.
func attributesKept(t *testing.T, k *harness.Token) {
	t.Setenv("COFFER_CONF", k.Conf)
	c := p11.New(harness.Module(t))
	require.NotNil(t, c)
	defer c.Destroy()
	require.NoError(t, c.Initialize())
	defer c.Finalize()
	session, err := c.OpenSession(0, p11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
	require.NoError(t, c.Login(session, p11.CKU_USER, harness.UserPIN))
	get := func(class uint, id byte, attr uint) []byte {
		got, err := c.GetAttributeValue(session, find(t, c, session, class, id), attrs{a(attr, nil)})
		require.NoError(t, err, "%#x", attr)
		return got[0].Value
	}
	yes, no := []byte{1}, []byte{0}
	mechanisms := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, p11.CKM_ECDSA), p11.CKM_ECDSA_SHA256)
	for _, want := range []struct {
		class uint
		id    byte
		attr  uint
		value []byte
	}{
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_LABEL, []byte("p256")},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_SENSITIVE, yes},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_EXTRACTABLE, no},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_PRIVATE, yes},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_SIGN, yes},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_SIGN_RECOVER, yes}, // as SoftHSM2 has it, unasked
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_ALLOWED_MECHANISMS, mechanisms},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_LOCAL, no},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_ALWAYS_SENSITIVE, no},
		{p11.CKO_PRIVATE_KEY, 2, p11.CKA_NEVER_EXTRACTABLE, no},
		{p11.CKO_PUBLIC_KEY, 2, p11.CKA_VERIFY, yes},
		{p11.CKO_SECRET_KEY, 6, p11.CKA_WRAP, no}, // --drop-wrap
		{p11.CKO_SECRET_KEY, 6, p11.CKA_UNWRAP, yes},
		{p11.CKO_SECRET_KEY, 10, p11.CKA_START_DATE, []byte("20250102")},
		{p11.CKO_SECRET_KEY, 10, p11.CKA_END_DATE, []byte("20990304")},
		{p11.CKO_SECRET_KEY, 10, p11.CKA_EXTRACTABLE, yes},
		{p11.CKO_SECRET_KEY, 10, p11.CKA_WRAP, no},
		{p11.CKO_CERTIFICATE, 8, p11.CKA_LABEL, []byte("web")},
	} {
		if got := get(want.class, want.id, want.attr); !bytes.Equal(got, want.value) {
			t.Errorf("class %d, id %d: attribute %#x is %x, want %x", want.class, want.id, want.attr, got, want.value)
		}
	}
}

func TestOnlyWhatIsNamedMoves(t *testing.T) {
	s := everyday(t)
	k := harness.NewToken(t, "new")
	r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--from-token", "old", "--only", "label=web", "--only", "id=05")
	require.Zero(t, code, stderr)
	var moved []string
	for _, o := range r.Objects {
		moved = append(moved, o.Class+" "+o.Label+" "+o.Result)
	}
	require.Equal(t, []string{"private ed25519 moved", "private web moved", "public ed25519 moved", "public web moved", "certificate web moved"}, moved)

	r, code, stderr = migrate(t, k, softPIN, "--from-softhsm", s.tokens, "--only", "label=nobody")
	require.Equal(t, 3, code, "%+v", r)
	require.Contains(t, stderr, "nothing of that name")
}

func TestWrongPIN(t *testing.T) {
	s := newSoft(t)
	k := harness.NewToken(t, "new")
	for _, pin := range []string{"wrong-pin", softSOPIN} {
		_, code, stderr := migrate(t, k, pin, "--from-softhsm", s.tokens)
		require.Equal(t, 4, code)
		require.Contains(t, stderr, "the source token's user PIN is wrong")
		require.NotContains(t, stderr, pin)
	}
	_, code, stderr := migrate(t, k, "wrong-pin", "--from-module", softModule)
	require.Equal(t, 4, code)
	require.Contains(t, stderr, "CKR_PIN_INCORRECT")
}

func TestDamagedFilesAreLeftAndTheRestMoves(t *testing.T) {
	s := newSoft(t)
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		for i := range 4 {
			secretKey(t, c, session, p11.CKM_AES_KEY_GEN, fmt.Sprint("aes", i), byte(i), a(p11.CKA_VALUE_LEN, 32), a(p11.CKA_SENSITIVE, true))
		}
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "ec", 9, attrs{a(p11.CKA_EC_PARAMS, p256)}, attrs{a(p11.CKA_SENSITIVE, true)})
	})
	files := s.objects()
	require.Len(t, files, 6)
	// One file is cut, in one the key's value has another bit: SoftHSM2 has nothing against the second.
	var secrets []string
	var private string
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		switch class := binary.BigEndian.Uint64(b[8+16:]); class {
		case p11.CKO_SECRET_KEY:
			secrets = append(secrets, f)
		case p11.CKO_PRIVATE_KEY:
			private = f
		}
	}
	cut, err := os.ReadFile(secrets[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(secrets[0], cut[:len(cut)-5], 0o600))
	flipValue(t, secrets[1])
	flipValue(t, private)

	k := harness.NewToken(t, "new")
	r, code, _ := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
	require.Equal(t, 1, code)
	require.Equal(t, []int{3, 0, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	reasons := ""
	for _, o := range r.Objects {
		if o.Result == "left" {
			reasons += o.Reason + "\n"
		}
	}
	require.Contains(t, reasons, filepath.Base(secrets[0])+": the file is damaged")
	require.Contains(t, reasons, filepath.Base(secrets[1])+": the value of secret")
	require.Contains(t, reasons, "the key does not do what the source's")
	require.Equal(t, 3, keys(t, k), "two AES keys and the public key")

	token := filepath.Join(filepath.Dir(files[0]), "token.object")
	require.NoError(t, os.WriteFile(token, []byte("nonsense"), 0o600))
	_, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "token.object: the file is damaged")
}

var p256, _ = hex.DecodeString("06082a8648ce3d030107")

// flipValue changes a bit in the first block of CKA_VALUE.
func flipValue(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	header := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p11.CKA_VALUE), 3)
	at := bytes.Index(b, header)
	require.Positive(t, at)
	b[at+16+8] ^= 1 // of the initialisation vector: the padding stays right
	require.NoError(t, os.WriteFile(file, b, 0o600))
}

func TestPINsFromFileAndDescriptor(t *testing.T) {
	s := newSoft(t)
	s.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "p256", "--id", "02")
	k := harness.NewToken(t, "new")
	pin := filepath.Join(s.dir, "pin")
	require.NoError(t, os.WriteFile(pin, []byte(softPIN+"\n"), 0o600))
	_, code, stderr := migrate(t, k, "", "--from-softhsm", s.tokens, "--from-pin-file", pin)
	require.Zero(t, code, stderr)

	cmd := k.Command(t, harness.Coffer(t), "migrate", "--from-softhsm", s.tokens, "--from-pin-fd", "0")
	cmd.Stdin = strings.NewReader(softPIN + "\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "Moved 0 of 2 objects")
}
