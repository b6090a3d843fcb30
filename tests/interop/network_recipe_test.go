package interop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNetworkRecipes: what the pages have pasted works.
func TestNetworkRecipes(t *testing.T) {
	for _, c := range []struct{ page, says string }{
		{"openssh", "Signed host key host_key-cert.pub"}, {"git", `Good "git" signature for me@example.org`}, {"knot", "Zone fully signed"},
		{"ldns", "Zone is verified and complete"}, {"openvpn", "Serialized id:"}, {"strongswan", "Imported ike.crt"},
	} {
		t.Run(c.page, func(t *testing.T) {
			client(t, c.page)
			require.Contains(t, pasted(t, c.page), c.says)
		})
	}
}
