package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const example = "[[slot]]\nid = 0\npath = \"token.db\""

// key is a row of what a [[slot]] may hold. Adding a key means adding a row.
type key struct {
	name     string
	required bool
	wants    string // the type, in words
	set      func(p *parser, s *Slot, v any) (problem string)
}

var slotKeys = []key{
	{"id", true, "a whole number, such as id = 0", setID},
	{"path", true, `text in quotes, such as path = "token.db"`, setPath},
	{"description", false, `text in quotes, such as description = "web servers"`, setDescription},
}

// parser holds what checks need to say where something is.
type parser struct {
	file, doc, home string
}

// parse checks a document and returns its slots in ascending order of id.
func parse(doc, file, home string) ([]Slot, error) {
	p := &parser{file, doc, home}
	tree := map[string]any{}
	if _, err := toml.Decode(doc, &tree); err != nil {
		return nil, p.syntax(err)
	}
	for _, name := range sortedKeys(tree) {
		if name != "slot" {
			return nil, p.fail(p.lineOf(func(t map[string]any) bool { _, ok := t[name]; return ok }),
				fmt.Sprintf("the key %q is not known", name), "known at the top level is only [[slot]]")
		}
	}
	tables, ok := tablesOf(tree["slot"])
	switch {
	case tree["slot"] == nil || ok && len(tables) == 0:
		return nil, p.fail(0, "the file defines no slot", "add a [[slot]] with an id and a path, or remove the file and use the default token")
	case !ok:
		return nil, p.fail(p.lineOf(func(t map[string]any) bool { return t["slot"] != nil }),
			"slot is not a list of tables", "write [[slot]] with two brackets, once for each slot")
	}

	slots := make([]Slot, 0, len(tables))
	for i, table := range tables {
		s, err := p.slot(i, table)
		if err != nil {
			return nil, err
		}
		if err := p.unique(slots, s); err != nil {
			return nil, err
		}
		slots = append(slots, s)
	}
	slices.SortFunc(slots, func(a, b Slot) int { return cmp.Compare(a.ID, b.ID) })
	return slots, nil
}

// slot reads the table of that index.
func (p *parser) slot(index int, table map[string]any) (s Slot, err error) {
	for _, name := range sortedKeys(table) {
		if !slices.ContainsFunc(slotKeys, func(k key) bool { return k.name == name }) {
			return s, p.fail(p.lineOfKey(index, name), fmt.Sprintf("a slot has no key %q", name), "known are "+knownKeys())
		}
	}
	for _, k := range slotKeys {
		v, ok := table[k.name]
		if !ok && k.required {
			return s, p.fail(p.lineOfSlot(index), fmt.Sprintf("this slot has no %s", k.name), "add "+k.wants)
		}
		if !ok {
			continue
		}
		if problem := k.set(p, &s, v); problem != "" {
			return s, p.fail(p.lineOfKey(index, k.name), problem, "wanted is "+k.wants)
		}
	}
	return s, nil
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
		if other.Path == s.Path {
			return p.fail(p.lineOfKey(index, "path"),
				fmt.Sprintf("slot %d and slot %d have the same token file %s", other.ID, s.ID, s.Path),
				"give each slot a file of its own")
		}
	}
	return nil
}

func setID(_ *parser, s *Slot, v any) string {
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

func setPath(p *parser, s *Slot, v any) string {
	path, ok := v.(string)
	switch {
	case !ok:
		return "the path is " + describe(v)
	case path == "":
		return "the path is empty"
	case strings.ContainsRune(path, 0):
		return "the path has a zero byte in it"
	case strings.HasSuffix(path, "/"):
		return "the path names a directory, not a file"
	case strings.HasPrefix(path, "~/"):
		if !filepath.IsAbs(p.home) {
			return "the path begins with ~/ but this user has no home directory"
		}
		path = filepath.Join(p.home, path[2:])
	case strings.HasPrefix(path, "~"):
		return "the path begins with ~ but only ~/ (your own home directory) is understood"
	case !filepath.IsAbs(path):
		path = filepath.Join(filepath.Dir(p.file), path)
	}
	s.Path = filepath.Clean(path)
	return ""
}

func setDescription(_ *parser, s *Slot, v any) string {
	text, ok := v.(string)
	if !ok {
		return "the description is " + describe(v)
	}
	s.Description = text
	return ""
}

func (p *parser) fail(line int, text, hint string) error {
	return &Error{File: p.file, Line: line, Text: text, Hint: hint}
}

func (p *parser) syntax(err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Error{File: p.file, Text: "not valid TOML: " + err.Error(), Hint: "a slot looks like this:\n" + example, Err: err}
	}
	message := strings.TrimSuffix(pe.Message, ".")
	return &Error{File: p.file, Line: pe.Position.Line, Text: "not valid TOML: " + message, Hint: "a slot looks like this:\n" + example}
}

// lineOf returns the first line at which the document, cut off after it, holds what is looked for. A cut inside of a
// value that spans lines does not parse, and the next one is tried. Slow, but exact for every way of writing TOML, and
// only errors need it: the parser itself keeps no positions.
func (p *parser) lineOf(holds func(tree map[string]any) bool) int {
	end := 0
	for line := 1; end < len(p.doc) && line <= maxLine; line++ {
		if n := strings.IndexByte(p.doc[end:], '\n'); n >= 0 {
			end += n + 1
		} else {
			end = len(p.doc)
		}
		tree := map[string]any{}
		if _, err := toml.Decode(p.doc[:end], &tree); err == nil && holds(tree) {
			return line
		}
	}
	return 0
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

// tablesOf returns a list of tables, however it was written: [[slot]] or slot = [{...}].
func tablesOf(v any) (tables []map[string]any, ok bool) {
	switch v := v.(type) {
	case []map[string]any:
		return v, true
	case []any:
		for _, x := range v {
			t, ok := x.(map[string]any)
			if !ok {
				return nil, false
			}
			tables = append(tables, t)
		}
		return tables, true
	}
	return nil, false
}

// describe names the type of a TOML value.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the text %q", v)
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("%v", v)
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date or time"
}

func knownKeys() string {
	var names []string
	for _, k := range slotKeys {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
