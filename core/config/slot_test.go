package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

const remote = "[[slot]]\nid = 0\nnodes = ['hsm1', 'HSM2.example.org:9000', '192.0.2.1', '[2001:db8::1]:9', '2001:db8::2']\nca = 'ca.pem'\ncertificate = 'client.pem'\nkey = '/k.pem'\n"

func TestRemoteSlots(t *testing.T) {
	got, err := parse(remote+"zone = 'cellar'\nexpose_nodes = true\ntimeout = '1500ms'\n\n[[slot]]\nid = 3\nsocket = '~/c.sock'\ncloudhsm_iv = true\nkey_types = ['rsa', 'CKK_EC']\n", testFile, testHome)
	if err != nil {
		t.Fatal(err)
	}
	want := []Slot{
		{ID: 0, Nodes: []string{"hsm1:2223", "hsm2.example.org:9000", "192.0.2.1:2223", "[2001:db8::1]:9", "[2001:db8::2]:2223"},
			CA: "/etc/coffer/ca.pem", Certificate: "/etc/coffer/client.pem", Key: "/k.pem", Zone: "cellar", ExposeNodes: true, Timeout: 1500 * time.Millisecond},
		{ID: 3, Socket: "/home/alice/c.sock", Timeout: DefaultTimeout, CloudHSMIV: true, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, place := range []string{"hsm1:2223, hsm2.example.org:9000, 192.0.2.1:2223, [2001:db8::1]:9, [2001:db8::2]:2223", "/home/alice/c.sock"} {
		if !got[i].Remote() || got[i].Place() != place {
			t.Errorf("slot %d: remote %v at %q", i, got[i].Remote(), got[i].Place())
		}
	}
	local := Slot{Path: "/a.db"}
	if local.Remote() || local.Place() != "/a.db" {
		t.Error("a slot with a file is not remote")
	}
}

func TestExposedNodesHaveIdsOfTheirOwn(t *testing.T) {
	slots, err := parse(remote+"expose_nodes = true\n[[slot]]\nid = 1\nnodes = ['other']\nca = 'c'\ncertificate = 'c'\nkey = 'k'\nexpose_nodes = true\n", testFile, testHome)
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint
	for _, s := range slots {
		for _, n := range s.ExposedNodes() {
			ids = append(ids, n.ID)
		}
	}
	if want := []uint{1000, 1001, 1002, 1003, 1004, 2000}; !reflect.DeepEqual(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if got := (Slot{Nodes: []string{"a"}}).ExposedNodes(); got != nil {
		t.Errorf("not asked for, yet there are %v", got)
	}
}

func TestRemoteSlotsAreRefusedWithLineAndHint(t *testing.T) {
	const socket = "[[slot]]\nid = 7\nsocket = '/run/c.sock'\n"
	many := "nodes = [" + strings.Repeat("'h', ", maxAddresses+1) + "]"
	for _, c := range []struct {
		name, doc  string
		line       int
		text, hint string
	}{
		{"no place", "[[slot]]\nid = 0\nzone = 'a'\n", 1, "no path, socket or nodes", "nodes for a cluster"},
		{"two places", socket + "path = 'a.db'\n", 3, "both path and socket", "give it one"},
		{"three places", remote + "socket = 's'\npath = 'a.db'\n", 7, "both path and socket", "give it one"},
		{"certificate beside a file", "[[slot]]\nid = 0\npath = 'a'\nca = 'x'\n", 4, "a slot with a path has no ca", "id, path, description"},
		{"zone beside a socket", socket + "zone = 'a'\n", 4, "a slot with a socket has no zone", "timeout"},
		{"nodes without authority", "[[slot]]\nid = 0\nnodes = ['a']\ncertificate = 'c'\nkey = 'k'\n", 1, "no ca", "ca = "},
		{"nodes without certificate", "[[slot]]\nid = 0\nnodes = ['a']\nca = 'c'\nkey = 'k'\n", 1, "no certificate", "certificate = "},
		{"nodes without key", "[[slot]]\nid = 0\nnodes = ['a']\nca = 'c'\ncertificate = 'c'\n", 1, "no key", "key = "},
		{"key types are text", socket + "key_types = 'rsa'\n", 4, `the text "rsa"`, "a list of key types"},
		{"no key types", socket + "key_types = []\n", 4, "empty", "a list of key types"},
		{"a key type is a number", socket + "key_types = ['rsa', 3]\n", 4, "the number 3", "a list of key types"},
		{"no such key type", socket + "key_types = ['rsb']\n", 4, `"rsb"`, "a list of key types"},
		{"nodes is text", "[[slot]]\nid = 0\nnodes = 'a'\n", 3, `the text "a"`, "a list of addresses"},
		{"no nodes", "[[slot]]\nid = 0\nnodes = []\n", 3, "empty list", "a list of addresses"},
		{"too many nodes", "[[slot]]\nid = 0\n" + many, 3, "at most 64", "a list of addresses"},
		{"a node is a number", "[[slot]]\nid = 0\nnodes = ['a', 3]\n", 3, "the number 3", "a list of addresses"},
		{"a node twice", "[[slot]]\nid = 0\nnodes = ['a', 'A:2223']\n", 3, "twice", "a list of addresses"},
		{"a node with a scheme", "[[slot]]\nid = 0\nnodes = ['https://a']\n", 3, "https://a", "a list of addresses"},
		{"a node without host", "[[slot]]\nid = 0\nnodes = [':2223']\n", 3, "no host", "a list of addresses"},
		{"a node with port 0", "[[slot]]\nid = 0\nnodes = ['a:0']\n", 3, "no port", "a list of addresses"},
		{"a node with a large port", "[[slot]]\nid = 0\nnodes = ['a:65536']\n", 3, "no port", "a list of addresses"},
		{"a node with blanks", "[[slot]]\nid = 0\nnodes = ['a b']\n", 3, "characters", "a list of addresses"},
		{"a node with a long host", "[[slot]]\nid = 0\nnodes = ['" + strings.Repeat("a", 254) + "']\n", 3, "253", "a list of addresses"},
		{"timeout is a number", socket + "timeout = 30\n", 4, "the number 30", "30s"},
		{"timeout without unit", socket + "timeout = '30'\n", 4, "its unit", "30s"},
		{"timeout is short", socket + "timeout = '1ms'\n", 4, "between 100ms and 10m", "30s"},
		{"timeout is long", socket + "timeout = '1h'\n", 4, "between 100ms and 10m", "30s"},
		{"zone is empty", remote + "zone = ''\n", 7, "empty", "zone ="},
		{"zone has a line break", remote + "zone = \"a\\nb\"\n", 7, "control characters", "zone ="},
		{"zone is long", remote + "zone = '" + strings.Repeat("z", 65) + "'\n", 7, "64", "zone ="},
		{"expose_nodes is text", remote + "expose_nodes = 'yes'\n", 7, `the text "yes"`, "true or false"},
		{"key is a directory", "[[slot]]\nid = 0\nnodes = ['a']\nca = 'c'\ncertificate = 'c'\nkey = 'k/'\n", 6, "directory", "key ="},
		{"socket path is long", "[[slot]]\nid = 0\nsocket = '/" + strings.Repeat("s", 108) + "'\n", 3, "109 bytes", "socket ="},
		{"socket is taken", socket + "[[slot]]\nid = 8\nsocket = '/run/../run/c.sock'\n", 6, "slot 7 and slot 8", "of its own"},
		{"a node is taken", remote + "[[slot]]\nid = 8\nnodes = ['x', 'hsm1']\nca = 'c'\ncertificate = 'c'\nkey = 'k'\n", 9, "node hsm1:2223", "of its own"},
		{"id of an exposed node", remote + "expose_nodes = true\n[[slot]]\nid = 1003\npath = 'a'\n", 9, "a node of slot 0", "below 1000"},
		{"exposed ids too large", strings.Replace(remote, "id = 0", "id = 4294967", 1) + "expose_nodes = true\n", 2, "beyond", "below 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.doc, testFile, testHome)
			checkError(t, err, testFile, c.line, c.text, c.hint)
		})
	}
}

func TestLargestExposedIdStaysWithinBounds(t *testing.T) {
	for _, id := range []uint{maxExposedID, maxExposedID + 1} {
		slots, err := parse(strings.Replace(remote, "id = 0", fmt.Sprint("id = ", id), 1)+"expose_nodes = true\n", testFile, testHome)
		if (err == nil) != (id == maxExposedID) {
			t.Fatalf("id %d: %v", id, err)
		}
		if err == nil && slots[0].ExposedNodes()[0].ID+maxAddresses > maxSlotID {
			t.Errorf("id %d exposes %d", id, slots[0].ExposedNodes()[0].ID)
		}
	}
}
