package config

import (
	"reflect"
	"testing"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	testFile = "/etc/coffer/coffer.toml"
	testHome = "/home/alice"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, doc string
		want      []Slot
	}{
		{"two slots are sorted by id", `
[[slot]]
id = 5
path = "web.db"
description = "web servers"

[[slot]]
id = 0
path = "/srv/ca.db"
`, []Slot{{ID: 0, Path: "/srv/ca.db"}, {ID: 5, Path: "/etc/coffer/web.db", Description: "web servers"}}},
		{"home", "[[slot]]\nid = 0\npath = '~/t.db'", []Slot{{ID: 0, Path: "/home/alice/t.db"}}},
		{"path is cleaned", "[[slot]]\nid = 0\npath = '../x/./t.db'", []Slot{{ID: 0, Path: "/etc/x/t.db"}}},
		{"inline tables", `slot = [{id = 1, path = "a"}, {id = 2, path = "b"}]`, []Slot{{ID: 1, Path: "/etc/coffer/a"}, {ID: 2, Path: "/etc/coffer/b"}}},
		{"policy", "[[slot]]\nid = 0\npath = '/t'\n[slot.policy]\nallow = ['CKM_ECDSA', 'SHA256_HMAC*']\ndeny = ['SHA256_HMAC_GENERAL']\n" +
			"min_bits = { rsa = 3072, CKK_EC = 256 }\nlegacy = true\ndates = true\nwrap_and_decrypt = true\npublic_certificates = true\nfips = true\n",
			[]Slot{{Path: "/t", Policy: policy.Policy{
				Allow:   []pkcs11.MechanismType{pkcs11.CKM_SHA256_HMAC, pkcs11.CKM_SHA256_HMAC_GENERAL, pkcs11.CKM_ECDSA},
				Deny:    []pkcs11.MechanismType{pkcs11.CKM_SHA256_HMAC_GENERAL},
				MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 3072, pkcs11.CKK_EC: 256},
				Legacy:  true, Dates: true, WrapAndDecrypt: true, PublicCertificates: true, FIPS: true}}}},
		{"an empty policy is the default", "[[slot]]\nid = 0\npath = '/t'\npolicy = {}\n", []Slot{{Path: "/t"}}},
		{"largest id", "[[slot]]\nid = 0xffff_ffff\npath = 't'", []Slot{{ID: 4294967295, Path: "/etc/coffer/t"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse(c.doc, testFile, testHome)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseRefusesWithLineAndHint(t *testing.T) {
	const good = "[[slot]]\nid = 0\npath = 'a.db'\n"
	for _, c := range []struct {
		name, doc  string
		line       int
		text, hint string
	}{
		{"empty", "", 0, "no slot", "[[slot]]"},
		{"empty list", "slot = []", 0, "no slot", "[[slot]]"},
		{"syntax", "[[slot]]\nid = \n", 2, "not valid TOML", "[[slot]]"},
		{"key twice", "[[slot]]\nid = 1\nid = 2\n", 3, "not valid TOML", "[[slot]]"},
		{"unknown key at the top", "\n# hello\nslots = 1\n" + good, 3, `"slots"`, "[[slot]]"},
		{"unknown table", good + "\n[cluster]\nname = 'x'\n", 5, `"cluster"`, "[[slot]]"},
		{"unknown key in a slot", good + "[[slot]]\nid = 1\npth = 'b.db'\n", 6, `"pth"`, "id, path, description"},
		{"unknown key after a value of several lines", good + "description = '''\na\nb'''\nlabel = 'x'\n", 7, `"label"`, "known"},
		{"one bracket", "[slot]\nid = 0\npath = 'a'\n", 1, "not a list", "two brackets"},
		{"list of numbers", "slot = [1, 2]\n", 1, "not a list", "two brackets"},
		{"no id", "\n[[slot]]\npath = 'a.db'\n", 2, "no id", "id = 0"},
		{"no path", good + "\n[[slot]]\nid = 1\n", 5, "no path", "path = "},
		{"id is text", "[[slot]]\nid = '0'\npath = 'a'\n", 2, `the text "0"`, "whole number"},
		{"id is a fraction", "[[slot]]\nid = 1.5\npath = 'a'\n", 2, "1.5", "whole number"},
		{"id is negative", "[[slot]]\nid = -1\npath = 'a'\n", 2, "-1", "whole number"},
		{"id is too large", "[[slot]]\nid = 4294967296\npath = 'a'\n", 2, "4294967296", "whole number"},
		{"path is a number", "[[slot]]\nid = 0\npath = 3\n", 3, "the number 3", "text in quotes"},
		{"path is empty", "[[slot]]\nid = 0\npath = ''\n", 3, "empty", "text in quotes"},
		{"path is a directory", "[[slot]]\nid = 0\npath = '/srv/'\n", 3, "directory", "text in quotes"},
		{"path of another user", "[[slot]]\nid = 0\npath = '~bob/t.db'\n", 3, "only ~/", "text in quotes"},
		{"path with zero byte", "[[slot]]\nid = 0\npath = \"a\\u0000b\"\n", 3, "zero byte", "text in quotes"},
		{"description is a list", good + "description = ['x']\n", 4, "a list", "text in quotes"},
		{"description is a date", good + "description = 2024-01-01\n", 4, "a date", "text in quotes"},
		{"description is a table", good + "description = {a = true}\n", 4, "a table", "text in quotes"},
		{"id is taken", good + "\n[[slot]]\nid = 0\npath = 'b.db'\n", 6, "slot in line 1", "of its own"},
		{"id is taken, inline", "slot = [\n {id = 1, path = 'a'},\n {id = 1, path = 'b'},\n]\n", 4, "id 1", "of its own"},
		{"policy is no table", good + "policy = true\n", 4, "policy is true", "[slot.policy]"},
		{"unknown key in a policy", good + "[slot.policy]\ndates = true\n\nalow = ['x']\n", 7, `no key "alow"`, "allow, deny, min_bits, legacy"},
		{"allow is text", good + "[slot.policy]\nallow = 'CKM_ECDSA'\n", 5, `the text "CKM_ECDSA"`, "a list of mechanisms"},
		{"allow is empty", good + "[slot.policy]\nallow = []\n", 5, "empty", "a list of mechanisms"},
		{"allow holds a number", good + "[slot.policy]\nallow = [1]\n", 5, "the number 1", "a list of mechanisms"},
		{"no such mechanism", good + "[slot.policy]\ndeny = ['CKM_SHA_1', 'CKM_SHA2']\n", 5, `"CKM_SHA2"`, "a list of mechanisms"},
		{"no mechanism begins so", good + "[slot.policy]\ndeny = ['CKM_NONE*']\n", 5, `"CKM_NONE*"`, "a list of mechanisms"},
		{"no such key type", good + "[slot.policy.min_bits]\nrsaa = 2048\n", 4, `"rsaa"`, "min_bits = {"},
		{"no number of bits", good + "[slot.policy.min_bits]\nrsa = '2048'\n", 4, `the text "2048"`, "min_bits = {"},
		{"no bits", good + "[slot.policy]\nmin_bits = {rsa = 0}\n", 5, "the number 0", "min_bits = {"},
		{"legacy is text", good + "[slot.policy]\nlegacy = 'yes'\n", 5, `the text "yes"`, "true or false"},
		{"policy behind a node", "[[slot]]\nid = 0\nsocket = '/s'\n[slot.policy]\ndates = true\n", 4, "has no policy", "id, description, socket"},
		{"path is taken", good + "[[slot]]\nid = 1\npath = './a.db'\n", 6, "slot 0 and slot 1", "of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.doc, testFile, testHome)
			checkError(t, err, testFile, c.line, c.text, c.hint)
		})
	}
}

func TestHomePathNeedsAHome(t *testing.T) {
	_, err := parse("[[slot]]\nid = 0\npath = '~/t.db'\n", testFile, "")
	checkError(t, err, testFile, 3, "no home directory", "path")
}

func TestErrorIsOneSentence(t *testing.T) {
	_, err := parse("[[slot]]\nid = true\npath = 'a'\n", testFile, testHome)
	const want = `/etc/coffer/coffer.toml:2: the id is true; wanted is a whole number, such as id = 0`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// FuzzParse wants errors, not panics, whatever the file holds.
func FuzzParse(f *testing.F) {
	f.Add("[[slot]]\nid = 0\npath = 'a.db'\n")
	f.Add("slot = [{id = 1, path = \"a\"}]")
	f.Fuzz(func(t *testing.T, doc string) {
		slots, err := parse(doc, testFile, testHome)
		if (err == nil) != (len(slots) > 0) {
			t.Errorf("%d slots and error %v", len(slots), err)
		}
	})
}
