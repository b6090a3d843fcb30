package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestPyKCS11: the Python binding that Debian has; its signatures are verified by Go's crypto.
func TestPyKCS11(t *testing.T) {
	client(t, "python")
	k := harness.NewToken(t, "python")
	host, err := filepath.Abs("testdata/python/host.py")
	require.NoError(t, err)
	// Debian's interpreter by its path: another one may come first, and has no Debian packages
	require.Contains(t, k.Run(t, "/usr/bin/python3", host, harness.Module(t)), "ok PyKCS11\n")

	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(k.Dir, name))
		require.NoError(t, err)
		return b
	}
	public := func(name string) any {
		key, err := x509.ParsePKIXPublicKey(read(name + ".der"))
		require.NoError(t, err)
		return key
	}
	digest := sha256.Sum256(read("letter"))
	require.NoError(t, rsa.VerifyPKCS1v15(public("rsa").(*rsa.PublicKey), crypto.SHA256, digest[:], read("rsa.sig")))
	require.NoError(t, rsa.VerifyPSS(public("pss").(*rsa.PublicKey), crypto.SHA256, digest[:], read("pss.sig"), nil))
	sig := read("ec.sig")
	require.Len(t, sig, 64)
	require.True(t, ecdsa.Verify(public("ec").(*ecdsa.PublicKey), digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])))
	require.Equal(t, 3, staysInside(t, k), "rsa, ec and aes")
}
