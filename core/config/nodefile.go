package config

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
)

const nodeExample = "a node's file looks like this:\nname = \"a\"\nlisten = \":2223\"\nstate_dir = \"/var/lib/coffer/node\""

// The kinds of node, told apart by its store.
const (
	storeEmbedded kinds = 1 << iota
	storeExternal
	storeFile

	anyStore = storeEmbedded | storeExternal | storeFile
)

var storeKinds = map[string]kinds{StoreEmbedded: storeEmbedded, StoreExternal: storeExternal, StoreFile: storeFile}

// nodeKeys are the keys of the file's top level.
var nodeKeys = []key[Node]{
	{"name", anyStore, 0, `text in quotes, such as name = "a"`, word(func(n *Node) *string { return &n.Name })},
	{"zone", anyStore, 0, `text in quotes, such as zone = "cellar"`, word(func(n *Node) *string { return &n.Zone })},
	{"state_dir", anyStore, 0, `text in quotes, such as state_dir = "` + defaultStateDir + `"`, dir(func(n *Node) *string { return &n.StateDir })},
	{"listen", anyStore, 0, `host:port, such as listen = ":2223", or "" for none`, listener(func(n *Node) *string { return &n.Listen }, DefaultPort)},
	{"advertise", anyStore, 0, `host:port, such as advertise = "hsm1.example.org:2223"`, reachable(func(n *Node) *string { return &n.Advertise }, DefaultPort)},
	{"socket", anyStore, 0, `text in quotes, such as socket = "` + DefaultSocket + `", or "" for none`, orNone(func(n *Node) *string { return &n.Socket }, socketPath(func(n *Node) *string { return &n.Socket }))},
	{"socket_mode", anyStore, 0, `an octal number in quotes, such as socket_mode = "0660"`, setSocketMode},
	{"socket_group", anyStore, 0, `text in quotes, such as socket_group = "coffer"`, word(func(n *Node) *string { return &n.SocketGroup })},
	{"allow_uids", anyStore, 0, "a list of numbers, such as allow_uids = [33]", numbers(func(n *Node) *[]uint32 { return &n.AllowUIDs })},
	{"allow_gids", anyStore, 0, "a list of numbers, such as allow_gids = [33]", numbers(func(n *Node) *[]uint32 { return &n.AllowGIDs })},
	{"metrics", anyStore, 0, `host:port, such as metrics = "127.0.0.1:9464", or a socket, "unix:/run/coffer/metrics.sock", or "" for none`, watched(func(n *Node) *string { return &n.Metrics })},
	{"store", anyStore, 0, `"etcd", "external" or "file"`, oneOf(func(n *Node) *string { return &n.Store }, StoreEmbedded, StoreExternal, StoreFile)},
	{"peer_listen", storeEmbedded, 0, `host:port, such as peer_listen = ":2224"`, listener(func(n *Node) *string { return &n.PeerListen }, defaultPeerPort)},
	{"peer_advertise", storeEmbedded, 0, `host:port, such as peer_advertise = "hsm1.example.org:2224"`, reachable(func(n *Node) *string { return &n.PeerAdvertise }, defaultPeerPort)},
	{"store_listen", storeEmbedded, 0, `host:port, such as store_listen = ":2225"`, listener(func(n *Node) *string { return &n.StoreListen }, defaultStorePort)},
	{"store_advertise", storeEmbedded, 0, `host:port, such as store_advertise = "hsm1.example.org:2225"`, reachable(func(n *Node) *string { return &n.StoreAdvertise }, defaultStorePort)},
	{"etcd_endpoints", storeExternal, storeExternal, `a list of addresses, such as etcd_endpoints = ["etcd1:2379"]`, addresses(func(n *Node) *[]string { return &n.EtcdEndpoints }, defaultEtcdPort)},
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

	anyMethod = unsealFile | unsealPassphrase | unsealShares | unsealCredential | unsealPKCS11
)

var unsealKinds = map[string]kinds{UnsealFile: unsealFile, UnsealPassphrase: unsealPassphrase, UnsealShares: unsealShares,
	UnsealCredential: unsealCredential, UnsealPKCS11: unsealPKCS11}

var unsealKeys = []key[Unseal]{
	{"method", anyMethod, 0, `"file", "passphrase", "shares", "credential" or "pkcs11"`, oneOf(func(u *Unseal) *string { return &u.Method },
		UnsealFile, UnsealPassphrase, UnsealShares, UnsealCredential, UnsealPKCS11)},
	{"key_file", unsealFile, 0, `text in quotes, such as key_file = "/etc/coffer/unseal.key"`, file(func(u *Unseal) *string { return &u.KeyFile })},
	{"passphrase_file", unsealPassphrase, 0, `text in quotes, such as passphrase_file = "/etc/coffer/passphrase"`, file(func(u *Unseal) *string { return &u.PassphraseFile })},
	{"passphrase_fd", unsealPassphrase, 0, "a number, such as passphrase_fd = 3", number(func(u *Unseal) *int { return &u.PassphraseFD }, 0, maxDescriptor)},
	{"passphrase_env", unsealPassphrase, 0, `a variable's name in quotes`, word(func(u *Unseal) *string { return &u.PassphraseEnv })},
	{"shares", unsealShares, 0, "a number, such as shares = 5", number(func(u *Unseal) *int { return &u.Shares }, 2, maxShares)},
	{"threshold", unsealShares, 0, "a number, such as threshold = 3", number(func(u *Unseal) *int { return &u.Threshold }, 2, maxShares)},
	{"share_files", unsealShares, 0, `a list of files, such as share_files = ["a.share"]`, files(func(u *Unseal) *[]string { return &u.ShareFiles })},
	{"credential", unsealCredential, unsealCredential, `a name in quotes, such as credential = "coffer"`, word(func(u *Unseal) *string { return &u.Credential })},
	{"module", unsealPKCS11, unsealPKCS11, "text in quotes: the library's path", file(func(u *Unseal) *string { return &u.Module })},
	{"token", unsealPKCS11, 0, "text in quotes: the token's label", word(func(u *Unseal) *string { return &u.Token })},
	{"serial", unsealPKCS11, 0, "text in quotes: the token's serial number", word(func(u *Unseal) *string { return &u.Serial })},
	{"key_label", unsealPKCS11, 0, "text in quotes: the key's label", word(func(u *Unseal) *string { return &u.KeyLabel })},
	{"key_id", unsealPKCS11, 0, `hexadecimal digits in quotes, such as key_id = "01a0"`, hexadecimal(func(u *Unseal) *string { return &u.KeyID })},
	{"pin_file", unsealPKCS11, unsealPKCS11, "text in quotes: a file with the token's PIN", file(func(u *Unseal) *string { return &u.PINFile })},
}

// parseNode checks the daemon's configuration; host is this machine's name.
func parseNode(doc, path, host string) (*Node, error) {
	p := &parser{path, doc, "", nodeExample}
	tree := map[string]any{}
	if _, err := toml.Decode(doc, &tree); err != nil {
		return nil, p.syntax(err)
	}
	n := defaultNode(path, host)
	unseal, there := tree["unseal"]
	delete(tree, "unseal")
	if v, there := tree["policy"]; there {
		delete(tree, "policy")
		var err error
		n.Policy, err = p.policy(v, "policy", func(name string) int {
			return p.lineOf(func(t map[string]any) bool { return holdsPolicy(t, name) })
		})
		if err != nil {
			return nil, err
		}
	}
	if err := fill(p, tree, "", nodeKeys, choiceOf(tree, "store", storeKinds, n.Store), n); err != nil {
		return nil, err
	}
	if there {
		table, ok := unseal.(map[string]any)
		if !ok {
			return nil, p.fail(p.lineOfName("unseal"), "unseal is "+describe(unseal), "write [unseal] and below it method = \"file\"")
		}
		if err := fill(p, table, "unseal", unsealKeys, choiceOf(table, "method", unsealKinds, n.Unseal.Method), &n.Unseal); err != nil {
			return nil, err
		}
	}
	if err := n.complete(p, host); err != nil {
		return nil, err
	}
	return n, nil
}

// choice is the one key on which depends which others a table has.
type choice struct {
	name, value string
	kind        kinds // 0: the value is none of those that there are, which its own row says
}

func choiceOf(table map[string]any, name string, kind map[string]kinds, otherwise string) choice {
	v, there := table[name]
	value, _ := v.(string)
	if !there {
		value = otherwise
	}
	return choice{name, value, kind[value]}
}

// fill reads a table by its rows; in is its name.
func fill[T any](p *parser, table map[string]any, in string, rows []key[T], c choice, t *T) error {
	names := sortedKeys(table)
	if c.kind == 0 { // nothing can be said of the other keys before this one is right
		names = []string{c.name}
	}
	for _, name := range names {
		i := slices.IndexFunc(rows, func(k key[T]) bool { return k.name == name })
		switch {
		case i < 0:
			return p.fail(p.lineOfName(name), fmt.Sprintf("the key %q is not known", name), "known are "+namesOf(rows, ^kinds(0)))
		case c.kind != 0 && rows[i].in&c.kind == 0:
			return p.fail(p.lineOfName(name), fmt.Sprintf("%s does not go with %s = %q", name, c.name, c.value), "beside it there may be "+namesOf(rows, c.kind))
		}
		if problem := rows[i].set(p, name, t, table[name]); problem != "" {
			return p.fail(p.lineOfName(name), problem, "wanted is "+rows[i].wants)
		}
	}
	for _, k := range rows {
		if _, there := table[k.name]; !there && k.required&c.kind != 0 {
			return p.fail(p.lineOfName(cmp.Or(in, c.name)), fmt.Sprintf("%s is missing, which %s = %q needs", k.name, c.name, c.value), "add "+k.wants)
		}
	}
	return nil
}

// lineOfName finds a key of the top level or of [unseal]; an empty name is the file as a whole.
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
