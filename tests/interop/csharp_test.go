package interop

import (
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestCSharp: the calls of Pkcs11Interop, in Mono. Its collector stops threads by signals, and a null reference is a SIGSEGV for it;
// both while Go's runtime works in the same process, in each of the ways that Mono knows to stop threads.
func TestCSharp(t *testing.T) {
	client(t, "csharp")
	harness.Need(t, "mcs")
	sources, err := filepath.Glob("testdata/csharp/*.cs")
	require.NoError(t, err)
	for i, s := range sources {
		sources[i], err = filepath.Abs(s)
		require.NoError(t, err)
	}
	program := filepath.Join(t.TempDir(), "program.exe")
	ways := []string{"hybrid"} // Mono's default
	if whole() {
		ways = append(ways, "preemptive", "coop")
	}
	for i, way := range ways {
		t.Run(way, func(t *testing.T) {
			k := harness.NewToken(t, "csharp")
			if i == 0 {
				k.Run(t, "mcs", append([]string{"-warnaserror", "-out:" + program}, sources...)...)
			}
			cmd := k.Command(t, "mono", program, harness.Module(t))
			cmd.Env = k.Env("MONO_THREADS_SUSPEND=" + way)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "ok C#\n")
			require.NotContains(t, string(out), "ok 0 collections")
			t.Logf("%s", out)
			verifiedByOpenSSL(t, k)
			require.Equal(t, 3, staysInside(t, k), "ec, rsa and aes")
		})
	}
}

// verifiedByOpenSSL checks what the programs over bindings leave in the token's folder: ec.sig, r and s as PKCS#11 has them, and pss.sig.
func verifiedByOpenSSL(t *testing.T, k *harness.Token) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(k.Dir, "ec.sig"))
	require.NoError(t, err)
	require.Len(t, raw, 64)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "ec.sig"), der, 0o600))
	verify := func(name string, options ...string) string {
		args := append([]string{"dgst", "-sha256", "-keyform", "DER", "-verify", name + ".der", "-signature", name + ".sig"}, options...)
		return k.Run(t, "openssl", append(args, "letter")...)
	}
	require.Equal(t, "Verified OK\n", verify("ec"))
	require.Equal(t, "Verified OK\n", verify("pss", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"))
}
