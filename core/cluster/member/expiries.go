package member

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
)

// The certificates whose end Expiries tells.
const (
	expiresNode          = "node"
	expiresNodeAuthority = "node-authority"
	expiresPeer          = "peer"
	expiresPeerAuthority = "peer-authority"
	expiresEtcd          = "etcd"
)

// ExpiryNames are all that Expiries may name.
func ExpiryNames() []string {
	return []string{expiresNode, expiresNodeAuthority, expiresPeer, expiresPeerAuthority, expiresEtcd}
}

// Expiries tells until when this node's certificates, and those that they are trusted by, are good: of each file the
// certificate that ends first. What the node does not have is left out.
func (m *Member) Expiries() map[string]time.Time {
	out := m.state.expiries(expiresNode, expiresNodeAuthority, expiresPeer, expiresPeerAuthority)
	if m.id.Store == config.StoreExternal {
		if b, err := os.ReadFile(m.opts.Node.EtcdCertificate); err == nil {
			if at, err := firstEnd(b); err == nil {
				out[expiresEtcd] = at
			}
		}
	}
	return out
}

// Expiries is as Member.Expiries; nobody is a peer of this node.
func (s *Single) Expiries() map[string]time.Time {
	return s.state.expiries(expiresNode, expiresNodeAuthority)
}

// expiryFiles hold what ends.
var expiryFiles = map[string]string{
	expiresNode: fileNodeCert, expiresNodeAuthority: fileNodeCA, expiresPeer: filePeerCert, expiresPeerAuthority: filePeerCA,
}

func (s *State) expiries(names ...string) map[string]time.Time {
	out := map[string]time.Time{}
	for _, name := range names {
		b, err := s.read(expiryFiles[name])
		if err != nil {
			continue
		}
		if at, err := firstEnd(b); err == nil {
			out[name] = at
		}
	}
	return out
}

// firstEnd is when the first of some certificates ends.
func firstEnd(b []byte) (end time.Time, err error) {
	chain, err := pki.ParseCertificates(b)
	if err != nil {
		return end, err
	}
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return end, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end, nil
}
