package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Slot is one slot of the library. ID never changes by itself: it is what the configuration says. Exactly one of Path,
// Socket and Nodes says where the token is.
type Slot struct {
	ID          uint
	Path        string // absolute path of the embedded token's file
	Description string // free text for people; may be empty

	Socket string   // absolute path of the unix socket of a node on this machine
	Nodes  []string // host:port of some nodes of a cluster, in the file's order; it tells the client of the others

	CA          string // with Nodes: absolute paths of PEM files. The authority that signed the nodes' certificates,
	Certificate string // the client's own chain
	Key         string // and its private key

	Zone        string        // with Nodes: nodes of this zone are preferred; may be empty
	ExposeNodes bool          // with Nodes: one more slot for each node, read-only
	Timeout     time.Duration // with Socket and Nodes: of one call, all tries together; 0 with Path

	CloudHSMIV bool // CKM_AES_GCM makes its IV, as AWS CloudHSM's does

	KeyTypes []pkcs11.KeyType // of the keys that a search finds; nil is all

	Policy policy.Policy // with Path; behind a node it is the node's
}

// Remote reports whether the token is behind a node.
func (s Slot) Remote() bool { return s.Path == "" }

// Place says in words for people where the token is: the file, the socket, or the nodes.
func (s Slot) Place() string {
	switch {
	case s.Path != "":
		return s.Path
	case s.Socket != "":
		return s.Socket
	}
	return strings.Join(s.Nodes, ", ")
}

// NodeSlot is one node of a slot, shown as a slot of its own.
type NodeSlot struct {
	ID          uint
	Description string
}

// nodeSlots is how many slots of single nodes there are for each slot.
const nodeSlots = 1000

// maxExposedID is the largest id of a slot whose nodes' ids are within the bounds of ids.
const maxExposedID = maxSlotID/nodeSlots - 2

// ExposedNodes are the slots of a slot's single nodes, in the order of Nodes; none unless ExposeNodes is set. The first
// has the id 1000 times one more than the slot's.
func (s Slot) ExposedNodes() []NodeSlot {
	if !s.ExposeNodes {
		return nil
	}
	list := make([]NodeSlot, len(s.Nodes))
	for i, n := range s.Nodes {
		list[i] = NodeSlot{ID: (s.ID+1)*nodeSlots + uint(i), Description: "node " + n}
	}
	return list
}

const slotExample = "a slot looks like this:\n[[slot]]\nid = 0\npath = \"token.db\""

// The kinds of slot, told apart by where the token is.
const (
	embeddedSlot kinds = 1 << iota
	socketSlot
	nodesSlot

	remoteSlot = socketSlot | nodesSlot
	anySlot    = embeddedSlot | remoteSlot
)

// places are the keys that say where the token is.
var places = []struct {
	name string
	kind kinds
}{
	{"path", embeddedSlot},
	{"socket", socketSlot},
	{"nodes", nodesSlot},
}

var slotKeys = []key[Slot]{
	{"id", anySlot, anySlot, "a whole number, such as id = 0", setID},
	{"path", embeddedSlot, 0, `text in quotes, such as path = "token.db"`, file(func(s *Slot) *string { return &s.Path })},
	{"description", anySlot, 0, `text in quotes, such as description = "web servers"`, text(func(s *Slot) *string { return &s.Description })},
	{"socket", socketSlot, 0, `text in quotes, such as socket = "` + DefaultSocket + `"`, socketPath(func(s *Slot) *string { return &s.Socket })},
	{"nodes", nodesSlot, 0, `a list of addresses, such as nodes = ["hsm1.example.org:` + DefaultPort + `"]`, addresses(func(s *Slot) *[]string { return &s.Nodes }, DefaultPort)},
	{"ca", nodesSlot, nodesSlot, `text in quotes, such as ca = "ca.pem"`, file(func(s *Slot) *string { return &s.CA })},
	{"certificate", nodesSlot, nodesSlot, `text in quotes, such as certificate = "client.pem"`, file(func(s *Slot) *string { return &s.Certificate })},
	{"key", nodesSlot, nodesSlot, `text in quotes, such as key = "client-key.pem"`, file(func(s *Slot) *string { return &s.Key })},
	{"zone", nodesSlot, 0, `text in quotes, such as zone = "a"`, word(func(s *Slot) *string { return &s.Zone })},
	{"expose_nodes", nodesSlot, 0, "true or false, such as expose_nodes = true", flag(func(s *Slot) *bool { return &s.ExposeNodes })},
	{"cloudhsm_iv", anySlot, 0, "true or false, such as cloudhsm_iv = true", flag(func(s *Slot) *bool { return &s.CloudHSMIV })},
	{"key_types", anySlot, 0, `a list of key types, such as key_types = ["rsa", "ec"]`, setKeyTypes},
	{"policy", embeddedSlot, 0, `a table, such as [slot.policy] and below it dates = true`, later},
	{"timeout", remoteSlot, 0, `a time between 100ms and 10m, such as timeout = "30s"`, span(func(s *Slot) *time.Duration { return &s.Timeout }, minTimeout, maxTimeout)},
}

// slot reads the table of that index.
func (p *parser) slot(index int, table map[string]any) (s Slot, err error) {
	for _, name := range sortedKeys(table) {
		if !slices.ContainsFunc(slotKeys, func(k key[Slot]) bool { return k.name == name }) {
			return s, p.fail(p.lineOfKey(index, name), fmt.Sprintf("a slot has no key %q", name), "known are "+namesOf(slotKeys, anySlot))
		}
	}
	place, kind, err := p.place(index, table)
	if err != nil {
		return s, err
	}
	if kind&remoteSlot != 0 {
		s.Timeout = DefaultTimeout
	}
	for _, k := range slotKeys {
		v, ok := table[k.name]
		switch {
		case !ok && k.required&kind != 0:
			return s, p.fail(p.lineOfSlot(index), fmt.Sprintf("this slot has no %s", k.name), "add "+k.wants)
		case !ok:
			continue
		case k.in&kind == 0:
			return s, p.fail(p.lineOfKey(index, k.name), fmt.Sprintf("a slot with a %s has no %s", place, k.name),
				"beside it there may be "+namesOf(slotKeys, kind))
		}
		if problem := k.set(p, k.name, &s, v); problem != "" {
			return s, p.fail(p.lineOfKey(index, k.name), problem, "wanted is "+k.wants)
		}
	}
	if v, there := table["policy"]; there {
		if s.Policy, err = p.policy(v, "slot.policy", func(name string) int { return p.lineOfPolicy(index, name) }); err != nil {
			return s, err
		}
	}
	if s.ExposeNodes && s.ID > maxExposedID {
		return s, p.fail(p.lineOfKey(index, "id"), fmt.Sprintf("the slots of slot %d's nodes would have ids beyond %d", s.ID, int64(maxSlotID)),
			"give this slot an id below 1000, or leave expose_nodes out")
	}
	return s, nil
}

// place finds the one key that says where the token is.
func (p *parser) place(index int, table map[string]any) (name string, kind kinds, err error) {
	for _, place := range places {
		if _, ok := table[place.name]; !ok {
			continue
		}
		if kind != 0 {
			return "", 0, p.fail(p.lineOfKey(index, place.name), fmt.Sprintf("this slot has both %s and %s", name, place.name),
				"give it one: path for a token in a file, socket for a node on this machine, nodes for a cluster")
		}
		name, kind = place.name, place.kind
	}
	if kind != 0 {
		return name, kind, nil
	}
	// Whose first key is missing as well is told of that first.
	if _, ok := table["id"]; !ok {
		return "", 0, p.fail(p.lineOfSlot(index), "this slot has no id", "add "+slotKeys[0].wants)
	}
	return "", 0, p.fail(p.lineOfSlot(index), "this slot has no path, socket or nodes",
		`say where its token is: path = "token.db" for a file, socket for a node on this machine, nodes for a cluster`)
}

// unique compares s, which is the next slot of the file, with those before it.
func (p *parser) unique(before []Slot, s Slot) error {
	index := len(before)
	for i, other := range before {
		if other.ID == s.ID {
			return p.fail(p.lineOfKey(index, "id"),
				fmt.Sprintf("the slot id %d is already taken by the slot in line %d", s.ID, p.lineOfSlot(i)),
				"give each slot an id of its own; applications remember it")
		}
		both := func(key, what string) error {
			return p.fail(p.lineOfKey(index, key), fmt.Sprintf("slot %d and slot %d have the same %s", other.ID, s.ID, what),
				"give each slot a token of its own; one token in two slots would be two to an application")
		}
		switch {
		case s.Path != "" && other.Path == s.Path:
			return both("path", "token file "+s.Path)
		case s.Socket != "" && other.Socket == s.Socket:
			return both("socket", "socket "+s.Socket)
		}
		for _, node := range s.Nodes {
			if slices.Contains(other.Nodes, node) {
				return both("nodes", "node "+node)
			}
		}
		for _, pair := range [][2]Slot{{s, other}, {other, s}} {
			for _, n := range pair[0].ExposedNodes() {
				if n.ID == pair[1].ID {
					return p.fail(p.lineOfKey(index, "id"), fmt.Sprintf("the id %d is that of a node of slot %d", n.ID, pair[0].ID),
						"give this slot an id below 1000, or leave expose_nodes out")
				}
			}
		}
	}
	return nil
}

func setID(_ *parser, _ string, s *Slot, v any) string {
	n, ok := v.(int64)
	if !ok {
		return "the id is " + describe(v)
	}
	if n < 0 || n > maxSlotID {
		return fmt.Sprintf("the id %d is not between 0 and %d", n, int64(maxSlotID))
	}
	s.ID = uint(n)
	return ""
}

// setKeyTypes takes a list of key types, not empty.
func setKeyTypes(_ *parser, name string, s *Slot, v any) string {
	list, ok := v.([]any)
	switch {
	case !ok:
		return "the " + name + " list is " + describe(v)
	case len(list) == 0:
		return "the " + name + " list is empty"
	}
	for _, x := range list {
		word, ok := x.(string)
		if !ok {
			return fmt.Sprintf("one of the %s list is %s", name, describe(x))
		}
		kt, ok := keyTypeNamed(word)
		if !ok {
			return fmt.Sprintf("%q in the %s list is no key type of PKCS #11", word, name)
		}
		s.KeyTypes = append(s.KeyTypes, kt)
	}
	return ""
}

// later is for what slot reads with lines of its own.
func later(*parser, string, *Slot, any) string { return "" }

// namesOf lists the keys that tables of a kind have.
func namesOf[T any](rows []key[T], kind kinds) string {
	var names []string
	for _, k := range rows {
		if k.in&kind != 0 {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

func (p *parser) lineOfSlot(index int) int {
	return p.lineOf(func(tree map[string]any) bool {
		tables, _ := tablesOf(tree["slot"])
		return len(tables) > index
	})
}

func (p *parser) lineOfKey(index int, name string) int {
	return p.lineOf(func(tree map[string]any) bool {
		tables, _ := tablesOf(tree["slot"])
		if len(tables) <= index {
			return false
		}
		_, ok := tables[index][name]
		return ok
	})
}

// lineOfPolicy finds a key of a slot's policy; an empty name is the policy as a whole.
func (p *parser) lineOfPolicy(index int, name string) int {
	return p.lineOf(func(tree map[string]any) bool {
		tables, _ := tablesOf(tree["slot"])
		if len(tables) <= index {
			return false
		}
		return holdsPolicy(tables[index], name)
	})
}

func holdsPolicy(table map[string]any, name string) bool {
	v, ok := table["policy"]
	if name == "" || !ok {
		return ok
	}
	inner, _ := v.(map[string]any)
	_, ok = inner[name]
	return ok
}
