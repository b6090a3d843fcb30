package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const nodeFile = "/etc/coffer/cofferd.toml"

func TestNodeWithoutAFile(t *testing.T) {
	got, err := parseNode("", "", "box")
	if err != nil {
		t.Fatal(err)
	}
	want := &Node{
		Name: "box", StateDir: "/var/lib/coffer/node",
		Listen: ":2223", Advertise: "box:2223", PeerListen: ":2224", PeerAdvertise: "box:2224", StoreListen: ":2225", StoreAdvertise: "box:2225",
		Socket: "/run/coffer/cofferd.sock", SocketMode: 0o660,
		Store: StoreEmbedded, CredentialLifetime: 24 * time.Hour, ReplaceAfter: time.Minute, LogLevel: LogInfo,
		Unseal: Unseal{Method: UnsealFile, KeyFile: "/var/lib/coffer/unseal.key", PassphraseFD: -1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.SocketModeText() != "0660" {
		t.Errorf("socket mode %s", got.SocketModeText())
	}
}

func TestNodeFile(t *testing.T) {
	for _, c := range []struct {
		name, doc string
		want      func(n *Node) // changes what holds without a file
	}{
		{"everything of a cluster's node", `
name = "a"
zone = "cellar"
state_dir = "state/"
listen = "10.0.0.1:3000"
advertise = "HSM1.example.org"
socket = "c.sock"
socket_mode = "0666"
socket_group = "coffer"
allow_uids = [33, 0]
allow_gids = [4294967294]
store = "etcd"
peer_listen = "10.0.0.1"
peer_advertise = "peer1:4000"
store_listen = "[::]:5000"
credential_lifetime = "90m"
replace_after = "0s"
log_level = "debug"
[unseal]
method = "file"
key_file = "u.key"
`, func(n *Node) {
			*n = Node{Source: nodeFile, Name: "a", Zone: "cellar", StateDir: "/etc/coffer/state", Listen: "10.0.0.1:3000", Advertise: "hsm1.example.org:2223",
				Socket: "/etc/coffer/c.sock", SocketMode: 0o666, SocketGroup: "coffer", AllowUIDs: []uint32{33, 0}, AllowGIDs: []uint32{4294967294},
				PeerListen: "10.0.0.1:2224", PeerAdvertise: "peer1:4000", StoreListen: "[::]:5000", StoreAdvertise: "hsm1.example.org:5000",
				Store: StoreEmbedded, CredentialLifetime: 90 * time.Minute, LogLevel: LogDebug,
				Unseal: Unseal{Method: UnsealFile, KeyFile: "/etc/coffer/u.key", PassphraseFD: -1}}
		}},
		{"advertised is what it listens at", `listen = "10.0.0.1:3000"`, func(n *Node) {
			n.Listen, n.Advertise, n.PeerAdvertise, n.StoreAdvertise = "10.0.0.1:3000", "10.0.0.1:3000", "10.0.0.1:2224", "10.0.0.1:2225"
		}},
		{"one address, three ports", "listen = '0.0.0.0:1'\npeer_listen = ':2'\nstore_listen = '[::]:3'", func(n *Node) {
			n.Listen, n.PeerListen, n.StoreListen = "0.0.0.0:1", ":2", "[::]:3"
			n.Advertise, n.PeerAdvertise, n.StoreAdvertise = "box:1", "box:2", "box:3"
		}},
		{"one port at two addresses", "listen = '10.0.0.1:1'\npeer_listen = '10.0.0.2:1'", func(n *Node) {
			n.Listen, n.PeerListen, n.Advertise, n.PeerAdvertise, n.StoreAdvertise = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:2225"
		}},
		{"external etcd", "store = 'external'\netcd_endpoints = ['e1', 'e2:4001']\netcd_ca = 'ca'\netcd_certificate = 'c'\netcd_key = 'k'", func(n *Node) {
			n.Store, n.EtcdEndpoints = StoreExternal, []string{"e1:2379", "e2:4001"}
			n.EtcdCA, n.EtcdCertificate, n.EtcdKey = "/etc/coffer/ca", "/etc/coffer/c", "/etc/coffer/k"
			n.PeerListen, n.PeerAdvertise, n.StoreListen, n.StoreAdvertise = "", "", "", ""
		}},
		{"alone on a socket", "store = 'file'\nlisten = ''", func(n *Node) {
			n.Store, n.Listen, n.Advertise = StoreFile, "", ""
			n.PeerListen, n.PeerAdvertise, n.StoreListen, n.StoreAdvertise = "", "", "", ""
		}},
		{"policy", "[policy]\ndates = true\nmin_bits = { rsa = 3072 }", func(n *Node) {
			n.Policy = policy.Policy{Dates: true, MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 3072}}
		}},
		{"metrics", "metrics = '127.0.0.1:9000'", func(n *Node) { n.Metrics = "127.0.0.1:9000" }},
		{"metrics on the usual port", "metrics = 'localhost'", func(n *Node) { n.Metrics = "localhost:9464" }},
		{"metrics on every address", "metrics = ':9464'", func(n *Node) { n.Metrics = ":9464" }},
		{"metrics on a socket", "metrics = 'unix:m.sock'", func(n *Node) { n.Metrics = "unix:/etc/coffer/m.sock" }},
		{"no metrics", "metrics = ''", func(n *Node) {}},
		{"no socket", "socket = ''", func(n *Node) { n.Socket = "" }},
		{"unseal without method", "[unseal]\nkey_file = '/k'", func(n *Node) { n.Unseal.KeyFile = "/k" }},
		{"passphrase is asked for", "[unseal]\nmethod = 'passphrase'", func(n *Node) { n.Unseal = Unseal{Method: UnsealPassphrase, PassphraseFD: -1} }},
		{"passphrase from a descriptor", "[unseal]\nmethod = 'passphrase'\npassphrase_fd = 0", func(n *Node) { n.Unseal = Unseal{Method: UnsealPassphrase} }},
		{"passphrase from a file", "unseal = {method = 'passphrase', passphrase_file = 'p'}", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealPassphrase, PassphraseFD: -1, PassphraseFile: "/etc/coffer/p"}
		}},
		{"passphrase from a file that the environment names", "[unseal]\nmethod = 'passphrase'\npassphrase_env = 'UNSEAL'", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealPassphrase, PassphraseFD: -1, PassphraseEnv: "UNSEAL"}
		}},
		{"shares", "[unseal]\nmethod = 'shares'", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealShares, PassphraseFD: -1, Shares: 5, Threshold: 3}
		}},
		{"two shares", "[unseal]\nmethod = 'shares'\nshares = 2\nshare_files = ['a', '/b']", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealShares, PassphraseFD: -1, Shares: 2, Threshold: 2, ShareFiles: []string{"/etc/coffer/a", "/b"}}
		}},
		{"a high threshold", "[unseal]\nmethod = 'shares'\nthreshold = 7", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealShares, PassphraseFD: -1, Shares: 7, Threshold: 7}
		}},
		{"credential", "[unseal]\nmethod = 'credential'\ncredential = 'coffer'", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealCredential, PassphraseFD: -1, Credential: "coffer"}
		}},
		{"another module", "[unseal]\nmethod = 'pkcs11'\nmodule = '/lib/m.so'\ntoken = 't'\nserial = 's'\nkey_label = 'l'\nkey_id = '0A'\npin_file = 'pin'", func(n *Node) {
			n.Unseal = Unseal{Method: UnsealPKCS11, PassphraseFD: -1, Module: "/lib/m.so", Token: "t", Serial: "s", KeyLabel: "l", KeyID: "0a", PINFile: "/etc/coffer/pin"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := parseNode("", nodeFile, "box")
			if err != nil {
				t.Fatal(err)
			}
			c.want(want)
			got, err := parseNode(c.doc, nodeFile, "box")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestNodeFileIsRefusedWithLineAndHint(t *testing.T) {
	const module = "[unseal]\nmethod = 'pkcs11'\nmodule = 'm'\npin_file = 'p'\n"
	for _, c := range []struct {
		name, doc  string
		line       int
		text, hint string
	}{
		{"syntax", "name = \n", 1, "not valid TOML", "state_dir"},
		{"unknown key", "name = 'a'\nport = 3\n", 2, `"port"`, "listen"},
		{"unknown table", "name = 'a'\n[listeners]\nlisten = ':1'\n", 2, `"listeners"`, "known are name"},
		{"metrics is a table", "name = 'a'\n[metrics]\nlisten = ':1'\n", 2, "a table", "127.0.0.1:9464"},
		{"metrics without port", "metrics = ':'\n", 1, "no port", "127.0.0.1:9464"},
		{"metrics is a URL", "metrics = 'http://127.0.0.1:9464/metrics'\n", 1, "http://", "127.0.0.1:9464"},
		{"metrics on a socket without a name", "metrics = 'unix:'\n", 1, "empty", "unix:/run"},
		{"metrics on a socket with too long a name", "metrics = 'unix:/" + strings.Repeat("x", 107) + "'\n", 1, "108 bytes", "unix:/run"},
		{"metrics at the port of clients", "metrics = '127.0.0.1:2223'\n", 1, "listen and metrics", "of its own"},
		{"metrics at the store's port", "name = 'a'\nmetrics = ':2225'\n", 2, "store_listen and metrics", "of its own"},
		{"metrics at the socket of clients", "metrics = 'unix:/run/coffer/cofferd.sock'\n", 1, "socket and metrics", "of its own"},
		{"unknown key of unseal", "[unseal]\nmethod = 'file'\nkeyfile = 'x'\n", 3, `"keyfile"`, "key_file"},
		{"unseal is text", "unseal = 'file'\n", 1, `the text "file"`, "[unseal]"},
		{"name is empty", "name = ''\n", 1, "empty", "name ="},
		{"name has blanks", "name = ' a'\n", 1, "blanks", "name ="},
		{"state_dir is a number", "state_dir = 1\n", 1, "the number 1", "state_dir ="},
		{"state_dir of another", "state_dir = '~x'\n", 1, "only ~/", "state_dir ="},
		{"listen is a number", "listen = 2223\n", 1, "the number 2223", ":2223"},
		{"listen without port", "listen = ':'\n", 1, "no port", ":2223"},
		{"listen with a name for a port", "listen = ':http'\n", 1, "no port", ":2223"},
		{"listen is a URL", "listen = 'https://x'\n", 1, "https://x", ":2223"},
		{"advertise everywhere", "advertise = '0.0.0.0:2223'\n", 1, "nobody can connect", "advertise ="},
		{"advertise without host", "advertise = ':2223'\n", 1, "no host", "advertise ="},
		{"advertise is empty", "advertise = ''\n", 1, "no host", "advertise ="},
		{"a cluster's node without listen", "name = 'a'\nlisten = ''\n", 2, "other nodes", `store = "file"`},
		{"nothing to reach it by", "store = 'file'\nlisten = ''\nsocket = ''\n", 2, "nobody could reach", "socket"},
		{"two listeners at one place", "listen = ':2224'\n", 0, "listen and peer_listen", "of its own"},
		{"two listeners at one address", "peer_listen = '10.0.0.1:2225'\n", 0, "peer_listen and store_listen", "of its own"},
		{"no port for the store", "store_listen = ''\n", 1, "the store needs it", "leave it out"},
		{"socket is a list", "socket = []\n", 1, "a list", "socket ="},
		{"socket_mode is a number", "socket_mode = 0o660\n", 1, "the number 432", "0660"},
		{"socket_mode is not octal", "socket_mode = '0888'\n", 1, "0888", "0660"},
		{"socket_mode with execution", "socket_mode = '0777'\n", 1, "0777", "0660"},
		{"socket_mode without owner", "socket_mode = '0066'\n", 1, "0066", "0660"},
		{"allow_uids has a name", "allow_uids = ['www']\n", 1, `the text "www"`, "list of numbers"},
		{"allow_uids has a negative", "allow_uids = [-1]\n", 1, "-1", "list of numbers"},
		{"allow_gids has the no group", "allow_gids = [4294967295]\n", 1, "4294967295", "list of numbers"},
		{"allow_gids is a number", "allow_gids = 3\n", 1, "the number 3", "list of numbers"},
		{"unknown store", "store = 'sqlite'\npeer_listen = ':1'\n", 1, "sqlite", `"etcd", "external" or "file"`},
		{"store is a number", "store = 1\n", 1, "the number 1", `"etcd"`},
		{"peers without a cluster", "store = 'file'\npeer_listen = ':1'\n", 2, `peer_listen does not go with store = "file"`, "state_dir"},
		{"endpoints of the embedded store", "etcd_endpoints = ['a']\n", 1, `etcd_endpoints does not go with store = "etcd"`, "peer_listen"},
		{"external without endpoints", "\nstore = 'external'\n", 2, "etcd_endpoints is missing", "etcd_endpoints ="},
		{"external without key", "store = 'external'\netcd_endpoints = ['a']\netcd_ca = 'a'\netcd_certificate = 'a'\n", 1, "etcd_key is missing", "etcd_key ="},
		{"credential_lifetime is short", "credential_lifetime = '1s'\n", 1, "between 1m and 720h", "24h"},
		{"credential_lifetime is a number", "credential_lifetime = 3600\n", 1, "the number 3600", "24h"},
		{"replace_after is negative", "replace_after = '-1s'\n", 1, "between", "never"},
		{"replace_after of an external store", "store = 'external'\nreplace_after = '1m'\n", 2, "does not go", "etcd_endpoints"},
		{"log_level", "log_level = 'verbose'\n", 1, "verbose", `"debug"`},
		{"unknown method", "[unseal]\nmethod = 'tpm'\npin = 3\n", 2, "tpm", `"pkcs11"`},
		{"method is a number", "[unseal]\nmethod = 1\n", 2, "the number 1", `"pkcs11"`},
		{"key_file of a passphrase", "[unseal]\nmethod = 'passphrase'\nkey_file = 'k'\n", 3, `key_file does not go with method = "passphrase"`, "passphrase_file"},
		{"two places for a passphrase", "[unseal]\nmethod = 'passphrase'\npassphrase_file = 'k'\npassphrase_fd = 0\n", 1, "more than one place", "keep one"},
		{"descriptor is text", "[unseal]\nmethod = 'passphrase'\npassphrase_fd = '3'\n", 3, `the text "3"`, "a number"},
		{"one share", "[unseal]\nmethod = 'shares'\nshares = 1\n", 3, "between 2 and 32", "shares = 5"},
		{"many shares", "[unseal]\nmethod = 'shares'\nshares = 33\n", 3, "between 2 and 32", "shares = 5"},
		{"threshold above shares", "[unseal]\nmethod = 'shares'\nshares = 3\nthreshold = 4\n", 4, "only 3 are made", "at most shares"},
		{"share file twice", "[unseal]\nmethod = 'shares'\nshare_files = ['a', './a']\n", 3, "twice", "share_files ="},
		{"credential without name", "[unseal]\nmethod = 'credential'\n", 1, "credential is missing", "credential ="},
		{"module without token", module + "key_label = 'k'\n", 1, "token is not named", "serial"},
		{"module without key", module + "token = 't'\n", 1, "key in the other module", "key_id"},
		{"module without library", "[unseal]\nmethod = 'pkcs11'\npin_file = 'p'\n", 1, "module is missing", "path"},
		{"module without PIN", "[unseal]\nmethod = 'pkcs11'\nmodule = 'm'\n", 1, "pin_file is missing", "PIN"},
		{"key_id is no hexadecimal", module + "key_id = 'xy'\n", 5, `"xy"`, "hexadecimal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := parseNode(c.doc, nodeFile, "box")
			checkError(t, err, nodeFile, c.line, c.text, c.hint)
			if n != nil {
				t.Error("a node in spite of the error")
			}
		})
	}
}

func TestNodeOnAMachineWithoutAName(t *testing.T) {
	_, err := parseNode("zone = 'a'\n", nodeFile, "")
	checkError(t, err, nodeFile, 0, "no name", "name =")
}

func TestLoadNode(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "cofferd.toml"), "name = 'a'\nstate_dir = 's'\n")
	t.Chdir(dir)
	got, err := LoadNode("cofferd.toml")
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != path || got.StateDir != filepath.Join(dir, "s") {
		t.Errorf("source %s, state %s", got.Source, got.StateDir)
	}
	missing := filepath.Join(dir, "none.toml")
	_, err = LoadNode(missing)
	checkError(t, err, missing, 0, "does not exist", "create it")
	if _, err := os.Stat(NodeFile); err == nil {
		t.Skip("this machine has " + NodeFile)
	}
	if got, err := LoadNode(""); err != nil || got.Source != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEveryKeyOfANodeIsDocumented keeps the page true to the tables.
func TestEveryKeyOfANodeIsDocumented(t *testing.T) {
	pages := map[string][]string{"node-configuration.md": nil, "unseal.md": nil, "configuration.md": nil}
	for _, k := range nodeKeys {
		pages["node-configuration.md"] = append(pages["node-configuration.md"], k.name)
	}
	for _, k := range unsealKeys {
		pages["unseal.md"] = append(pages["unseal.md"], k.name)
	}
	for _, k := range slotKeys {
		pages["configuration.md"] = append(pages["configuration.md"], k.name)
	}
	for _, k := range policyKeys {
		pages["policy.md"] = append(pages["policy.md"], k.name)
	}
	for page, names := range pages {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(string(text), "| `"+name+"` |") {
				t.Errorf("%s has no row for %s", page, name)
			}
		}
	}
}

// FuzzParseNode wants a node or an *Error, not a panic, whatever the file holds.
func FuzzParseNode(f *testing.F) {
	f.Add("name = 'a'\nlisten = ':1'\n[unseal]\nmethod = 'shares'\n")
	f.Add("store = 'external'\netcd_endpoints = ['[::1]:3']\n")
	f.Fuzz(func(t *testing.T, doc string) {
		n, err := parseNode(doc, nodeFile, "box")
		if (n == nil) == (err == nil) {
			t.Fatalf("%+v and %v", n, err)
		}
		if err == nil && n.Listen == "" && n.Socket == "" {
			t.Fatal("nobody could reach it")
		}
	})
}
