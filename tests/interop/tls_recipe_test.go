package interop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTLSRecipes: what the pages say works when it is pasted.
func TestTLSRecipes(t *testing.T) {
	for name, want := range map[string][]string{
		"openssl-engine": {"Verified OK", "Verify return code: 0 (ok)", "server.pem: OK", "certificate revoked", "CMS Verification successful"},
		"gnutls":         {"Status: The certificate is trusted", "Revoked certificates (1)"},
		"nss":            {"certificate is valid", "Verify return code: 0 (ok)", "HTTP/1.0 200 OK", "CMS Verification successful"},
		"opensc":         {"Using signature algorithm EDDSA", "Key unwrapped", "hello"},
		"p11-kit":        {"label:      web"},
	} {
		t.Run(name, func(t *testing.T) {
			client(t, name)
			long(t) // with the client's other tests
			out := pasted(t, name)
			for _, w := range want {
				require.Contains(t, out, w)
			}
		})
	}
}
