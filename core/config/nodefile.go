package config

import (
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// What holds for a node when its file does not say otherwise.
const (
	// NodeFile is the daemon's configuration.
	NodeFile = "/etc/coffer/cofferd.toml"

	defaultStateDir         = "/var/lib/coffer/node"
	defaultListen           = ":" + DefaultPort
	defaultPeerPort         = "2224"
	defaultStorePort        = "2225"
	defaultSocketMode       = 0o660
	defaultLifetime         = 24 * time.Hour
	defaultReplace          = time.Minute
	defaultShares           = 5
	defaultThreshold        = 3
	minLifetime             = time.Minute
	maxLifetime             = 30 * 24 * time.Hour
	maxReplace              = 24 * time.Hour
	nodeExample             = "a node's file looks like this:\nname = \"a\"\nlisten = \":2223\"\nstate_dir = \"/var/lib/coffer/node\""
	maxShares               = 32
	anyStore          kinds = 0xff
)

const (
	storeEmbedded kinds = 1 << iota
	storeExternal
	storeFile
)

var storeKinds = map[string]kinds{StoreEmbedded: storeEmbedded, StoreExternal: storeExternal, StoreFile: storeFile}

// nodeKeys are the keys of the file's top level.
var nodeKeys = []key[Node]{
	{"name", anyStore, 0, `text in quotes, such as name = "a"`, word(func(n *Node) *string { return &n.Name })},
	{"zone", anyStore, 0, `text in quotes, such as zone = "cellar"`, word(func(n *Node) *string { return &n.Zone })},
	{"state_dir", anyStore, 0, `text in quotes, such as state_dir = "` + defaultStateDir + `"`, dir(func(n *Node) *string { return &n.StateDir })},
	{"listen", anyStore, 0, `host:port, such as listen = ":2223", or "" for none`, listener(func(n *Node) *string { return &n.Listen }, DefaultPort)},
	{"advertise", anyStore, 0, `host:port, such as advertise = "hsm1.example.org:2223"`, reachable(func(n *Node) *string { return &n.Advertise }, DefaultPort)},
	{"socket", anyStore, 0, `text in quotes, such as socket = "` + DefaultSocket + `"`, socketPath(func(n *Node) *string { return &n.Socket })},
	{"socket_mode", anyStore, 0, `an octal number in quotes, such as socket_mode = "0660"`, setSocketMode},
	{"socket_group", anyStore, 0, `text in quotes, such as socket_group = "coffer"`, word(func(n *Node) *string { return &n.SocketGroup })},
	{"allow_uids", anyStore, 0, "a list of numbers, such as allow_uids = [33]", numbers(func(n *Node) *[]uint32 { return &n.AllowUIDs })},
	{"allow_gids", anyStore, 0, "a list of numbers, such as allow_gids = [33]", numbers(func(n *Node) *[]uint32 { return &n.AllowGIDs })},
	{"store", anyStore, 0, `"etcd", "external" or "file"`, oneOf(func(n *Node) *string { return &n.Store }, StoreEmbedded, StoreExternal, StoreFile)},
	{"peer_listen", storeEmbedded, 0, `host:port, such as peer_listen = ":2224"`, listener(func(n *Node) *string { return &n.PeerListen }, defaultPeerPort)},
	{"peer_advertise", storeEmbedded, 0, `host:port, such as peer_advertise = "hsm1.example.org:2224"`, reachable(func(n *Node) *string { return &n.PeerAdvertise }, defaultPeerPort)},
	{"store_listen", storeEmbedded, 0, `host:port, such as store_listen = ":2225"`, listener(func(n *Node) *string { return &n.StoreListen }, defaultStorePort)},
	{"store_advertise", storeEmbedded, 0, `host:port, such as store_advertise = "hsm1.example.org:2225"`, reachable(func(n *Node) *string { return &n.StoreAdvertise }, defaultStorePort)},
	{"etcd_endpoints", storeExternal, storeExternal, `a list of addresses, such as etcd_endpoints = ["etcd1:2379"]`, addresses(func(n *Node) *[]string { return &n.EtcdEndpoints }, "2379")},
	{"etcd_ca", storeExternal, storeExternal, `text in quotes, such as etcd_ca = "etcd-ca.pem"`, file(func(n *Node) *string { return &n.EtcdCA })},
	{"etcd_certificate", storeExternal, storeExternal, `text in quotes, such as etcd_certificate = "etcd.pem"`, file(func(n *Node) *string { return &n.EtcdCertificate })},
	{"etcd_key", storeExternal, storeExternal, `text in quotes, such as etcd_key = "etcd-key.pem"`, file(func(n *Node) *string { return &n.EtcdKey })},
	{"credential_lifetime", anyStore, 0, `a time between 1m and 720h, such as credential_lifetime = "24h"`, span(func(n *Node) *time.Duration { return &n.CredentialLifetime }, minLifetime, maxLifetime)},
	{"replace_after", storeEmbedded, 0, `a time up to 24h, such as replace_after = "1m"; "0s" is never`, span(func(n *Node) *time.Duration { return &n.ReplaceAfter }, 0, maxReplace)},
	{"log_level", anyStore, 0, `"debug", "info", "warn" or "error"`, oneOf(func(n *Node) *string { return &n.LogLevel }, LogDebug, LogInfo, LogWarn, LogError)},
}

// The methods of unsealing, as kinds of the table [unseal].
const (
	unsealFile kinds = 1 << iota
	unsealPassphrase
	unsealShares
	unsealCredential
	unsealPKCS11
)

var unsealKinds = map[string]kinds{UnsealFile: unsealFile, UnsealPassphrase: unsealPassphrase, UnsealShares: unsealShares,
	UnsealCredential: unsealCredential, UnsealPKCS11: unsealPKCS11}

var unsealKeys = []key[Unseal]{
	{"method", anyStore, 0, `"file", "passphrase", "shares", "credential" or "pkcs11"`, oneOf(func(u *Unseal) *string { return &u.Method },
		UnsealFile, UnsealPassphrase, UnsealShares, UnsealCredential, UnsealPKCS11)},
	{"key_file", unsealFile, 0, `text in quotes, such as key_file = "/etc/coffer/unseal.key"`, file(func(u *Unseal) *string { return &u.KeyFile })},
	{"passphrase_file", unsealPassphrase, 0, "text in quotes", file(func(u *Unseal) *string { return &u.PassphraseFile })},
	{"passphrase_fd", unsealPassphrase, 0, "a number, such as passphrase_fd = 3", number(func(u *Unseal) *int { return &u.PassphraseFD }, 0, 1023)},
	{"passphrase_env", unsealPassphrase, 0, `a variable's name in quotes`, word(func(u *Unseal) *string { return &u.PassphraseEnv })},
	{"shares", unsealShares, 0, "a number, such as shares = 5", number(func(u *Unseal) *int { return &u.Shares }, 2, maxShares)},
	{"threshold", unsealShares, 0, "a number, such as threshold = 3", number(func(u *Unseal) *int { return &u.Threshold }, 2, maxShares)},
	{"share_files", unsealShares, 0, `a list of files, such as share_files = ["a.share"]`, files(func(u *Unseal) *[]string { return &u.ShareFiles })},
	{"credential", unsealCredential, unsealCredential, `a name in quotes, such as credential = "coffer"`, word(func(u *Unseal) *string { return &u.Credential })},
	{"module", unsealPKCS11, unsealPKCS11, "text in quotes: the library's path", file(func(u *Unseal) *string { return &u.Module })},
	{"token", unsealPKCS11, 0, "text in quotes: the token's label", word(func(u *Unseal) *string { return &u.Token })},
	{"serial", unsealPKCS11, 0, "text in quotes: the token's serial number", word(func(u *Unseal) *string { return &u.Serial })},
	{"key_label", unsealPKCS11, 0, "text in quotes: the key's label", word(func(u *Unseal) *string { return &u.KeyLabel })},
	{"key_id", unsealPKCS11, 0, "hexadecimal digits in quotes: the key's CKA_ID", word(func(u *Unseal) *string { return &u.KeyID })},
	{"pin_file", unsealPKCS11, unsealPKCS11, "text in quotes: a file with the token's PIN", file(func(u *Unseal) *string { return &u.PINFile })},
}

// parseNode checks the daemon's configuration; host is this machine's name.
func parseNode(doc, path, host string) (*Node, error) {
	p := &parser{path, doc, "", nodeExample}
	tree := map[string]any{}
	if _, err := toml.Decode(doc, &tree); err != nil {
		return nil, p.syntax(err)
	}
	n := &Node{Source: path, Name: host, StateDir: defaultStateDir, Listen: defaultListen, Socket: DefaultSocket,
		SocketMode: defaultSocketMode, Store: StoreEmbedded, CredentialLifetime: defaultLifetime, ReplaceAfter: defaultReplace, LogLevel: LogInfo,
		PeerListen: ":" + defaultPeerPort, StoreListen: ":" + defaultStorePort}
	n.Unseal.Method, n.Unseal.PassphraseFD = UnsealFile, -1
	unseal := tree["unseal"]
	delete(tree, "unseal")
	kind := anyStore
	if s, ok := tree["store"].(string); ok && storeKinds[s] != 0 {
		kind = storeKinds[s]
	} else if !ok && tree["store"] == nil {
		kind = storeEmbedded
	}
	if err := fill(p, tree, "", nodeKeys, kind, n); err != nil {
		return nil, err
	}
	if unseal != nil {
		table, ok := unseal.(map[string]any)
		if !ok {
			return nil, p.fail(p.lineOfName("unseal"), "unseal is "+describe(unseal), "write [unseal] and below it method = \"file\"")
		}
		method, _ := table["method"].(string)
		if method == "" {
			method = UnsealFile
		}
		if err := fill(p, table, "unseal", unsealKeys, unsealKinds[method], &n.Unseal); err != nil {
			return nil, err
		}
	}
	return n, n.complete(p, host)
}

// fill reads a table by its rows.
func fill[T any](p *parser, table map[string]any, in string, rows []key[T], kind kinds, t *T) error {
	for _, name := range sortedKeys(table) {
		i := slices.IndexFunc(rows, func(k key[T]) bool { return k.name == name })
		switch {
		case i < 0:
			return p.fail(p.lineOfName(name), fmt.Sprintf("the key %q is not known", name), "known are "+namesOf(rows, anyStore))
		case rows[i].in&kind == 0 && kind != 0:
			return p.fail(p.lineOfName(name), fmt.Sprintf("%q does not go with what this file has chosen", name), "beside it there may be "+namesOf(rows, kind))
		}
		if problem := rows[i].set(p, name, t, table[name]); problem != "" {
			return p.fail(p.lineOfName(name), problem, "wanted is "+rows[i].wants)
		}
	}
	for _, k := range rows {
		if _, there := table[k.name]; !there && k.required&kind != 0 {
			return p.fail(p.lineOfName(in), k.name+" is missing", "add "+k.wants)
		}
	}
	return nil
}

func (p *parser) lineOfName(name string) int {
	if name == "" {
		return 0
	}
	return p.lineOf(func(t map[string]any) bool {
		if _, ok := t[name]; ok {
			return true
		}
		inner, _ := t["unseal"].(map[string]any)
		_, ok := inner[name]
		return ok
	})
}

// complete works out what follows from the rest.
func (n *Node) complete(p *parser, host string) error {
	if n.Unseal.Method == UnsealFile && n.Unseal.KeyFile == "" {
		n.Unseal.KeyFile = filepath.Join(filepath.Dir(n.StateDir), "unseal.key")
	}
	if n.Unseal.Method == UnsealShares {
		if n.Unseal.Shares == 0 {
			n.Unseal.Shares = defaultShares
		}
		if n.Unseal.Threshold == 0 {
			n.Unseal.Threshold = min(defaultThreshold, n.Unseal.Shares)
		}
		if n.Unseal.Threshold > n.Unseal.Shares {
			return p.fail(p.lineOfName("threshold"), fmt.Sprintf("%d shares cannot open what %d make", n.Unseal.Threshold, n.Unseal.Shares), "let the threshold be at most shares")
		}
	}
	if n.Unseal.Method == UnsealPKCS11 && (n.Unseal.Token == "" && n.Unseal.Serial == "" || n.Unseal.KeyLabel == "" && n.Unseal.KeyID == "") {
		return p.fail(p.lineOfName("unseal"), "the other module's token or key is not named", "add token or serial, and key_label or key_id")
	}
	if n.Store != StoreEmbedded {
		n.PeerListen, n.PeerAdvertise, n.StoreListen, n.StoreAdvertise = "", "", "", ""
	}
	if n.Listen == "" && n.Socket == "" {
		return p.fail(p.lineOfName("listen"), "nobody could reach this node", "set listen, or socket")
	}
	for _, a := range []struct{ listen, advertise *string }{
		{&n.Listen, &n.Advertise}, {&n.PeerListen, &n.PeerAdvertise}, {&n.StoreListen, &n.StoreAdvertise},
	} {
		if *a.listen == "" || *a.advertise != "" {
			continue
		}
		at, port, err := net.SplitHostPort(*a.listen)
		if err != nil {
			continue
		}
		if at == "" || net.ParseIP(at).IsUnspecified() {
			at = host
			if other, _, err := net.SplitHostPort(n.Advertise); err == nil {
				at = other
			}
		}
		*a.advertise = net.JoinHostPort(at, port)
	}
	return nil
}

// listener takes where to listen: the host may be left out, and the whole be empty.
func listener[T any](field func(*T) *string, port string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		switch {
		case !ok:
			return "the " + name + " is " + describe(v)
		case s == "":
			*field(t) = ""
			return ""
		case strings.HasPrefix(s, ":"):
			if n, err := strconv.ParseUint(s[1:], 10, 16); err != nil || n == 0 {
				return fmt.Sprintf("the %s %q has no port between 1 and 65535", name, s)
			}
			*field(t) = s
			return ""
		}
		a, problem := address(s, port)
		if problem != "" {
			return fmt.Sprintf("the %s %q %s", name, s, problem)
		}
		*field(t) = a
		return ""
	}
}

// reachable takes an address that others can connect to.
func reachable[T any](field func(*T) *string, port string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		a, problem := address(s, port)
		if problem != "" {
			return fmt.Sprintf("the %s %q %s", name, s, problem)
		}
		*field(t) = a
		return ""
	}
}

func setSocketMode(_ *parser, name string, n *Node, v any) string {
	s, ok := v.(string)
	if !ok {
		return "the " + name + " is " + describe(v)
	}
	m, err := strconv.ParseUint(s, 8, 9)
	if err != nil || m&0o111 != 0 || m&0o600 != 0o600 {
		return fmt.Sprintf("the %s %q is not the mode of a socket that its owner can use", name, s)
	}
	n.SocketMode = fs.FileMode(m)
	return ""
}

// number takes a whole number between two bounds.
func number[T any](field func(*T) *int, least, most int) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		n, ok := v.(int64)
		if !ok || n < int64(least) || n > int64(most) {
			return fmt.Sprintf("the %s is %s, not a number between %d and %d", name, describe(v), least, most)
		}
		*field(t) = int(n)
		return ""
	}
}

// numbers takes a list of identities of the system.
func numbers[T any](field func(*T) *[]uint32) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		for _, x := range list {
			n, ok := x.(int64)
			if !ok || n < 0 || n > 1<<32-2 {
				return fmt.Sprintf("one of the %s is %s", name, describe(x))
			}
			*field(t) = append(*field(t), uint32(n))
		}
		return ""
	}
}

// files takes a list of paths.
func files[T any](field func(*T) *[]string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return fmt.Sprintf("one of the %s is %s", name, describe(x))
			}
			path, problem := p.path(name, s)
			if problem != "" {
				return problem
			}
			*field(t) = append(*field(t), path)
		}
		return ""
	}
}
