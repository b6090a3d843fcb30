package interop

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// register prepares a shell line in which p11-kit knows the library as a registered module and no other.
func register(t *testing.T, k *harness.Token, line string) *exec.Cmd {
	t.Helper()
	return registerAll(t, k, map[string]string{"coffer": harness.Module(t)}, line)
}

// registerAll does that with these modules, by their names. A user's own configuration does it; for root, who has none, a mount
// of the system's folder that nobody else sees.
func registerAll(t *testing.T, k *harness.Token, modules map[string]string, line string) *exec.Cmd {
	t.Helper()
	harness.Need(t, "p11-kit")
	dir := filepath.Join(k.Dir, ".config", "pkcs11", "modules")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, path := range modules {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".module"), []byte("module: "+path+"\n"), 0o600))
	}
	if os.Getuid() == 0 {
		return k.Command(t, "unshare", "-m", "sh", "-ec",
			`mount -t tmpfs none /usr/share/p11-kit/modules; cp "$1"/* /usr/share/p11-kit/modules; `+line, "sh", dir)
	}
	cmd := k.Command(t, "sh", "-ec", line)
	cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+filepath.Join(k.Dir, ".config"))
	return cmd
}

// TestP11Kit: p11-kit loads the library as a registered module, and programs find its token without naming it.
func TestP11Kit(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "p11kit")
	b, err := register(t, k, "p11-kit list-modules").CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "token: p11kit")

	cmd := register(t, k, "p11tool --batch --login --generate-privkey=ecdsa --curve=secp256r1 --label=web --outfile=web.pub pkcs11:token=p11kit; "+
		"p11tool --batch --login --list-all-privkeys pkcs11:token=p11kit")
	cmd.Env = append(cmd.Env, "GNUTLS_PIN="+harness.UserPIN)
	b, err = cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "Label: web")
}

// TestP11KitServer: the library behind p11-kit's remoting: the server loads it and forks for each client.
func TestP11KitServer(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "remote")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "data"), make([]byte, 32), 0o600))
	line := `p11-kit server --provider "$2" -n "$PWD/socket" "pkcs11:token=remote" > server.env; . ./server.env; ` +
		`trap 'kill $P11_KIT_SERVER_PID' EXIT; client=$(find /usr/lib -name p11-kit-client.so | head -n 1); ` +
		`pkcs11-tool --module "$client" --login --pin "$3" --keypairgen --key-type EC:prime256v1 --label far --id 01; ` +
		`pkcs11-tool --module "$client" --login --pin "$3" --list-objects; ` +
		`pkcs11-tool --module "$client" --login --pin "$3" --sign --mechanism ECDSA --signature-format openssl --id 01 -i data -o data.sig`
	b, err := k.Command(t, "sh", "-ec", line, "sh", "", harness.Module(t), harness.UserPIN).CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "far")
	k.Run(t, harness.Coffer(t), "key", "export", "far", "--out", "far.pub")
	require.Contains(t, k.Run(t, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "far.pub", "-in", "data", "-sigfile", "data.sig"), "Verified Successfully")
}

// TestP11KitForkedClient: a program signs through the remoting, forks, and signs on beside four children, each of which has
// a session of its own.
func TestP11KitForkedClient(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "remote")
	generate(t, k, "ec:p256", "far")
	program := filepath.Join(k.Dir, "forked")
	k.Run(t, "gcc", "-Wall", "-Werror", "-I"+filepath.Join(harness.Root(), "include"), "-o", program,
		filepath.Join(harness.Root(), "tests", "interop", "hosts", "forked.c"))
	out := script(t, k, `p11-kit server --provider "$MODULE" -n "$PWD/socket" "pkcs11:token=remote" >server.env
. ./server.env; trap 'kill $P11_KIT_SERVER_PID' EXIT
./forked "$(find /usr/lib -name p11-kit-client.so | head -n 1)" "$PIN" far 4`)
	seen := map[string]int{}
	pub := publicKey(t, filepath.Join(k.Dir, "far.pub"))
	for _, line := range strings.Split(out, "\n") {
		digest, sig, ok := strings.Cut(line, " ")
		d, err := hex.DecodeString(digest)
		if !ok || err != nil || len(d) != 32 {
			continue // what p11-kit says
		}
		s, err := hex.DecodeString(sig)
		require.NoError(t, err)
		require.Len(t, s, 64)
		require.True(t, ecdsa.Verify(pub, d, new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])), line)
		seen[digest[:2]]++
	}
	require.Equal(t, map[string]int{"00": 2, "01": 5, "02": 5, "03": 5, "04": 5, "ff": 5}, seen, out)
}

// publicKey reads an EC public key.
func publicKey(t *testing.T, path string) *ecdsa.PublicKey {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	return key.(*ecdsa.PublicKey)
}

// TestP11KitProxy: two modules behind p11-kit's proxy. Each token's key signs, and one program uses both at once: an authority
// whose key is in Coffer issues a certificate for a key that is in SoftHSM2.
func TestP11KitProxy(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "ours")
	harness.Need(t, "softhsm2-util")
	conf := filepath.Join(k.Dir, "softhsm.conf")
	require.NoError(t, os.Mkdir(filepath.Join(k.Dir, "softhsm"), 0o700))
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(k.Dir, "softhsm")+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "ca.tmpl"), []byte(certtoolTemplates["ca.tmpl"]), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "web.tmpl"), []byte(certtoolTemplates["web.tmpl"]), 0o600))
	env := []string{"SOFTHSM2_CONF=" + conf, "PIN=" + harness.UserPIN, "GNUTLS_PIN=" + harness.UserPIN}
	script(t, k, `softhsm2-util --init-token --free --label theirs --pin "$PIN" --so-pin "$PIN"`, env...)
	generate(t, k, "ec:p256", "key", "--id", "01")
	cmd := registerAll(t, k, map[string]string{"coffer": harness.Module(t), "softhsm2": "/usr/lib/softhsm/libsofthsm2.so"}, `
tool="pkcs11-tool --module $(find /usr/lib -name p11-kit-proxy.so | head -n 1) --login --pin $PIN"
$tool --token-label theirs --keypairgen --key-type EC:prime256v1 --label key --id 01
printf "%032d" 7 >digest
for token in ours theirs; do
	p11tool --batch --login --export "pkcs11:token=$token;id=%01;type=public" --outfile $token.pub
	$tool --token-label $token --sign --mechanism ECDSA --signature-format openssl --id 01 --input-file digest --output-file $token.sig
	openssl pkeyutl -verify -pubin -inkey $token.pub -in digest -sigfile $token.sig
done
certtool --generate-self-signed --template ca.tmpl --load-privkey "pkcs11:token=ours;id=%01;type=private" --load-pubkey ours.pub --outfile ca.pem
certtool --generate-certificate --template web.tmpl --load-privkey "pkcs11:token=theirs;id=%01;type=private" --load-pubkey theirs.pub \
	--load-ca-privkey "pkcs11:token=ours;id=%01;type=private" --load-ca-certificate ca.pem --outfile web.pem
openssl verify -CAfile ca.pem web.pem
`)
	cmd.Env = append(cmd.Env, env...)
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	require.Equal(t, 2, strings.Count(string(b), "Signature Verified Successfully"), string(b))
	require.Contains(t, string(b), "web.pem: OK")
	require.NotEqual(t, publicKey(t, filepath.Join(k.Dir, "ours.pub")), publicKey(t, filepath.Join(k.Dir, "theirs.pub")))
}
