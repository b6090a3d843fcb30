package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coffer-hsm/coffer/core/policy"
)

// Node is the checked configuration of the daemon. Paths are absolute; an address that is empty is not used.
type Node struct {
	// Source is the absolute path of the file that it came from; empty when there is none and the defaults hold.
	Source string

	Name     string // unique in the cluster, shown to people
	Zone     string // clients prefer nodes of their own; may be empty
	StateDir string

	Listen    string // host:port for clients and other nodes; an empty host is every address; empty: no TLS at all
	Advertise string // host:port where they find it

	Socket      string // of clients on this machine; empty: none
	SocketMode  fs.FileMode
	SocketGroup string   // name or number; empty: the daemon's own
	AllowUIDs   []uint32 // who may use the socket, beside root and the daemon's own user;
	AllowGIDs   []uint32 // both empty: whom its mode lets in

	// Metrics is where a monitoring system fetches: host:port, or UnixPrefix and a socket's path, of the mode and group of
	// Socket; empty: nowhere.
	Metrics string

	// With StoreEmbedded: where the store talks to its peers, and to the nodes that have no store.
	PeerListen, PeerAdvertise   string
	StoreListen, StoreAdvertise string

	Store           string   // StoreEmbedded, StoreExternal or StoreFile
	EtcdEndpoints   []string // with StoreExternal: host:port
	EtcdCA          string   // with StoreExternal: PEM files
	EtcdCertificate string
	EtcdKey         string

	Unseal Unseal
	Policy policy.Policy // of the node's token; the same on all nodes of a cluster

	CredentialLifetime time.Duration // of a login
	ReplaceAfter       time.Duration // how long a voter is dead before a standby takes its vote; 0: never
	LogLevel           string        // LogDebug, LogInfo, LogWarn or LogError
}

// The stores.
const (
	StoreEmbedded = "etcd"     // etcd inside the daemon
	StoreExternal = "external" // etcd that somebody else runs
	StoreFile     = "file"     // one SQLite file: a node without others
)

// The log's levels.
const (
	LogDebug = "debug"
	LogInfo  = "info"
	LogWarn  = "warn"
	LogError = "error"
)

// Unseal says how the root key on the node's disk is opened when the daemon starts. Only the fields of the method are set.
type Unseal struct {
	Method string // UnsealFile, UnsealPassphrase, UnsealShares, UnsealCredential or UnsealPKCS11

	KeyFile string // UnsealFile

	// UnsealPassphrase: where it is read from; none of them: it is asked for.
	PassphraseFile string
	PassphraseFD   int    // -1: none
	PassphraseEnv  string // the variable of the environment that names the file

	// UnsealShares: how many are made, how many open, and files that hold some; the rest is asked for.
	Shares, Threshold int
	ShareFiles        []string

	Credential string // UnsealCredential: the name in systemd's LoadCredential=

	// UnsealPKCS11.
	Module   string // the other module's library
	Token    string // its token by label
	Serial   string // or by serial number; both: both must match
	KeyLabel string // the key by CKA_LABEL
	KeyID    string // or by CKA_ID, in lower case hexadecimal; both: both must match
	PINFile  string
}

// The methods of unsealing.
const (
	UnsealFile       = "file"
	UnsealPassphrase = "passphrase"
	UnsealShares     = "shares"
	UnsealCredential = "credential"
	UnsealPKCS11     = "pkcs11"
)

// LoadNode reads and checks the daemon's configuration. An empty path means NodeFile, and where that does not exist the
// defaults hold; a file that is named must exist. Errors are of type *Error.
func LoadNode(path string) (*Node, error) {
	host, _ := os.Hostname()
	if path == "" {
		if _, err := os.Stat(NodeFile); errors.Is(err, fs.ErrNotExist) {
			return parseNode("", "", host)
		}
		path = NodeFile
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{File: path, Text: "the working directory is gone", Hint: "give the file's absolute path", Err: err}
	}
	doc, err := readFile(abs, "create it, or name another one")
	if err != nil {
		return nil, err
	}
	return parseNode(doc, abs, host)
}

// SocketModeText returns the mode as the file writes it: "0660".
func (n *Node) SocketModeText() string { return fmt.Sprintf("%04o", n.SocketMode.Perm()) }
