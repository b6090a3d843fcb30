package member

import (
	"log/slog"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
)

// CreateOptions are for Create.
type CreateOptions struct {
	Node    *config.Node
	Version string // of this program, for the list of members

	// Label is the token's, 1 to 32 bytes: CK_TOKEN_INFO.label.
	Label string
	// Open leaves the token uninitialised: whoever calls C_InitToken first makes the administrator. Without it a temporary
	// administrator is made whose activation code Created returns.
	Open bool

	// CSR has the customer's own authority sign the nodes' certificates. The first call writes the request and stops; the
	// second brings Certificate (PEM, the leaf first) and Authority (PEM, what the certificates chain to).
	CSR                    bool
	Certificate, Authority []byte

	// Method is how the root key lies on this node's disk: MethodOf.
	Method custody.Method
	Log    *slog.Logger
}

// Created is what Create did.
type Created struct {
	Cluster, Member, Serial string
	// Request is the path of the certificate request that is to be signed; then Create has to be called again with the
	// certificate. Empty: all is done, and the daemon may be started.
	Request string
	// Authority is the path of the authority that clients are to trust, Fingerprint its SHA-256 in hex.
	Authority, Fingerprint string
	// Activation is the temporary administrator's code; nil with Open. It is returned once and stands nowhere else in the
	// clear.
	Activation *secret.Bytes
}

// JoinOptions are for Join.
type JoinOptions struct {
	Node    *config.Node
	Version string
	// Token is what an administrator got from the cluster; Addresses are nodes to ask before those in it, host:port.
	Token     string
	Addresses []string

	// CSR and Certificate as in CreateOptions; the cluster knows the authority.
	CSR         bool
	Certificate []byte

	Method custody.Method
	Log    *slog.Logger
}

// Joined is what Join did.
type Joined struct {
	Cluster, Member        string
	Request                string // as in Created
	Authority, Fingerprint string
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
