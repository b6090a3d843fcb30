package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// kinds are all kinds of keys that the command line makes, one of each family.
var kinds = []string{"rsa:2048", "ec:p256", "ec:p384", "ec:p521", "ec:secp256k1", "ec:brainpoolP256r1", "ed25519", "ed448", "x25519", "x448",
	"dh:2048", "ml-dsa:44", "ml-kem:768", "slh-dsa:sha2-128f", "aes:256", "hmac:256", "generic:256"}

// TestPkcs11ToolEveryKey: a token that holds every kind of key is listed whole and tested without a complaint, the tool's
// own test among keys that it does not know.
func TestPkcs11ToolEveryKey(t *testing.T) {
	client(t, "opensc")
	k := harness.NewToken(t, "every key")
	coffer := harness.Coffer(t)
	for i, kind := range kinds {
		args := []string{"key", "generate", "--type", kind, "--label", "k-" + kind, "--id", fmt.Sprintf("%02x", i+1)}
		if kind == "rsa:2048" {
			args = append(args, "--usage", "sign") // why: TestPkcs11ToolTest
		}
		k.Run(t, coffer, args...)
	}
	list := pkcs11tool(t, k, "--list-objects")
	for _, kind := range kinds {
		require.Regexp(t, `label: +`+regexp.QuoteMeta("k-"+kind)+"\n", list)
	}
	out := pkcs11tool(t, k, "--test", "--allow-sw")
	require.Contains(t, out, "No errors")
	for _, kind := range kinds[:14] {
		require.Contains(t, out, "(k-"+kind+")")
	}
	require.NotRegexp(t, `(?i)\bERR\b|failed: [^r]|mismatch`, strings.ReplaceAll(out, "C_SignUpdate failed: rv = CKR_FUNCTION_NOT_SUPPORTED", ""))
}

// TestPkcs11ToolEdwards: EdDSA signatures, which OpenSSL verifies.
func TestPkcs11ToolEdwards(t *testing.T) {
	client(t, "opensc")
	k := harness.NewToken(t, "edwards")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "data"), []byte("to be signed\n"), 0o600))
	for id, typ := range map[string]string{"01": "ed25519", "02": "ed448"} {
		generate(t, k, typ, typ, "--id", id)
		pkcs11tool(t, k, "--sign", "--mechanism", "EDDSA", "--id", id, "--input-file", "data", "--output-file", "sig")
		require.Contains(t, k.Run(t, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", typ+".pub", "-rawin", "-in", "data", "-sigfile", "sig"),
			"Signature Verified Successfully")
	}
}

// TestPkcs11ToolDerives: ECDH with a key of OpenSSL's; both sides have the same secret. The tool asks for a key that may do
// everything, and reads it.
func TestPkcs11ToolDerives(t *testing.T) {
	client(t, "opensc")
	k := harness.NewToken(t, "derive")
	for id, c := range map[string]struct{ typ, curve string }{"01": {"ec:p256", "P-256"}, "02": {"ec:p384", "P-384"}, "03": {"ec:p521", "P-521"}} {
		generate(t, k, c.typ, "k"+id, "--id", id)
		script(t, k, `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$CURVE -out peer.key
openssl pkey -in peer.key -pubout -outform DER -out peer.der
pkcs11-tool --module "$MODULE" --login --pin "$PIN" --derive --mechanism ECDH1-DERIVE --id $ID --input-file peer.der --output-file ours
openssl pkeyutl -derive -inkey peer.key -peerkey k$ID.pub -out theirs
cmp ours theirs`, "CURVE="+c.curve, "ID="+id)
	}
}

// TestPkcs11ToolWraps: a key that leaves under each mechanism that the tool knows, and is the same when it is back.
func TestPkcs11ToolWraps(t *testing.T) {
	client(t, "opensc")
	k := harness.NewToken(t, "wrap")
	coffer := harness.Coffer(t)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "data"), []byte("a short secret\n"), 0o600))
	k.Run(t, coffer, "key", "generate", "--type", "aes:256", "--label", "aes-kek", "--id", "01", "--usage", "wrap,unwrap")
	k.Run(t, coffer, "key", "generate", "--type", "rsa:2048", "--label", "rsa-kek", "--id", "02", "--usage", "wrap,unwrap")
	k.Run(t, coffer, "key", "generate", "--type", "aes:128", "--label", "data", "--id", "03", "--usage", "encrypt,decrypt", "--extractable")
	iv := []string{"--iv", "00112233445566778899aabbccddeeff"}
	crypt := func(what, id, in, out string) {
		pkcs11tool(t, k, append(iv, "--"+what, "--mechanism", "AES-CBC-PAD", "--id", id, "--input-file", in, "--output-file", out)...)
	}
	crypt("encrypt", "03", "data", "enc")
	for i, c := range []struct {
		mechanism, id string
		more          []string
	}{{"AES-KEY-WRAP", "01", nil}, {"AES-CBC-PAD", "01", iv}, {"RSA-PKCS", "02", nil}} {
		t.Run(c.mechanism, func(t *testing.T) {
			back := fmt.Sprintf("1%d", i)
			pkcs11tool(t, k, append(c.more, "--wrap", "--mechanism", c.mechanism, "--id", c.id, "--application-id", "03", "--output-file", "wrapped")...)
			pkcs11tool(t, k, append(c.more, "--unwrap", "--mechanism", c.mechanism, "--id", c.id, "--application-id", back, "--key-type", "AES:",
				"--sensitive", "--input-file", "wrapped")...)
			crypt("decrypt", back, "enc", "dec")
			b, err := os.ReadFile(filepath.Join(k.Dir, "dec"))
			require.NoError(t, err)
			require.Equal(t, "a short secret\n", string(b))
		})
	}
}
