package config

import (
	"fmt"
	"net"
	"path/filepath"
)

// defaultNode is a node before its file is read.
func defaultNode(source, host string) *Node {
	n := &Node{
		Source: source, Name: host, StateDir: defaultStateDir,
		Listen: ":" + DefaultPort, PeerListen: ":" + defaultPeerPort, StoreListen: ":" + defaultStorePort,
		Socket: DefaultSocket, SocketMode: defaultSocketMode,
		Store: StoreEmbedded, CredentialLifetime: defaultLifetime, ReplaceAfter: defaultReplace, LogLevel: LogInfo,
	}
	n.Unseal.Method, n.Unseal.PassphraseFD = UnsealFile, noDescriptor
	return n
}

// complete works out what follows from the rest, and checks what single keys cannot.
func (n *Node) complete(p *parser, host string) error {
	if n.Name == "" {
		return p.fail(0, "this machine has no name to call the node by", "add name = \"a\"")
	}
	if err := n.completeUnseal(p); err != nil {
		return err
	}
	if n.Store != StoreEmbedded {
		n.PeerListen, n.StoreListen = "", ""
	}
	return n.completeAddresses(p, host)
}

func (n *Node) completeUnseal(p *parser) error {
	u := &n.Unseal
	switch u.Method {
	case UnsealFile:
		if u.KeyFile == "" {
			u.KeyFile = filepath.Join(filepath.Dir(n.StateDir), keyFileName)
		}
	case UnsealPassphrase:
		sources := 0
		for _, given := range []bool{u.PassphraseFile != "", u.PassphraseFD != noDescriptor, u.PassphraseEnv != ""} {
			if given {
				sources++
			}
		}
		if sources > 1 {
			return p.fail(p.lineOfName("unseal"), "the passphrase comes from more than one place", "keep one of passphrase_file, passphrase_fd and passphrase_env")
		}
	case UnsealShares:
		if u.Shares == 0 {
			u.Shares = max(defaultShares, u.Threshold)
		}
		if u.Threshold == 0 {
			u.Threshold = min(defaultThreshold, u.Shares)
		}
		if u.Threshold > u.Shares {
			return p.fail(p.lineOfName("threshold"), fmt.Sprintf("%d shares are needed, and only %d are made", u.Threshold, u.Shares), "let the threshold be at most shares")
		}
	case UnsealPKCS11:
		if u.Token == "" && u.Serial == "" {
			return p.fail(p.lineOfName("unseal"), "the other module's token is not named", "add token, its label, or serial")
		}
		if u.KeyLabel == "" && u.KeyID == "" {
			return p.fail(p.lineOfName("unseal"), "the key in the other module is not named", "add key_label or key_id")
		}
	}
	return nil
}

// endpoint is where a node listens, and where others find it.
type endpoint struct {
	name              string
	listen, advertise *string
}

func (n *Node) completeAddresses(p *parser, host string) error {
	endpoints := []endpoint{
		{"listen", &n.Listen, &n.Advertise},
		{"peer_listen", &n.PeerListen, &n.PeerAdvertise},
		{"store_listen", &n.StoreListen, &n.StoreAdvertise},
	}
	switch {
	case n.Listen == "" && n.Socket == "":
		return p.fail(p.lineOfName("listen"), "nobody could reach this node", "set listen, or socket")
	case n.Listen == "" && n.Store != StoreFile:
		return p.fail(p.lineOfName("listen"), "the other nodes of the cluster could not reach this one", "set listen; only a node with store = \"file\" needs none")
	}
	for i, e := range endpoints {
		if *e.listen == "" {
			if n.Store == StoreEmbedded {
				return p.fail(p.lineOfName(e.name), fmt.Sprintf("%s is empty, and the store needs it", e.name), "leave it out to have the default")
			}
			*e.advertise = ""
			continue
		}
		for _, other := range endpoints[:i] {
			if overlap(*e.listen, *other.listen) {
				return p.fail(p.lineOfName(e.name), fmt.Sprintf("%s and %s are both %s", other.name, e.name, *e.listen), "give each a port of its own")
			}
		}
		if *e.advertise != "" {
			continue
		}
		at, err := n.reachedAt(*e.listen, host)
		if err != nil {
			return p.fail(p.lineOfName(e.name), fmt.Sprintf("the %s %q is not host:port", e.name, *e.listen), "wanted is an address such as \":2223\"")
		}
		*e.advertise = at
	}
	return n.checkMetrics(p, endpoints)
}

// checkMetrics refuses a place for a monitoring system that is taken.
func (n *Node) checkMetrics(p *parser, endpoints []endpoint) error {
	for _, e := range endpoints {
		if overlap(n.Metrics, *e.listen) {
			return p.fail(p.lineOfName("metrics"), fmt.Sprintf("%s and metrics are both %s", e.name, n.Metrics), "give each a port of its own")
		}
	}
	if n.Socket != "" && n.Metrics == UnixPrefix+n.Socket {
		return p.fail(p.lineOfName("metrics"), "socket and metrics are both "+n.Socket, "give each a path of its own")
	}
	return nil
}

// reachedAt is where others find what listens there: on every address of the machine means by the name of Advertise, else
// by the machine's.
func (n *Node) reachedAt(listen, host string) (string, error) {
	at, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if everywhere(at) {
		at = host
		if known, _, err := net.SplitHostPort(n.Advertise); err == nil {
			at = known
		}
	}
	return net.JoinHostPort(at, port), nil
}

func everywhere(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }

// overlap reports whether two listeners would be in each other's way.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && portA == portB && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}
