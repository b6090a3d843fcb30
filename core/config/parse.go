package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// parser holds what checks need to say where something is.
type parser struct {
	file, doc, home string
	example         string // of what belongs into such a file, for hints
}

// parse checks a document and returns its slots in ascending order of id.
func parse(doc, file, home string) ([]Slot, error) {
	p := &parser{file, doc, home, slotExample}
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

func (p *parser) fail(line int, text, hint string) error {
	return &Error{File: p.file, Line: line, Text: text, Hint: hint}
}

func (p *parser) syntax(err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Error{File: p.file, Text: "not valid TOML: " + err.Error(), Hint: p.example, Err: err}
	}
	message := strings.TrimSuffix(pe.Message, ".")
	return &Error{File: p.file, Line: pe.Position.Line, Text: "not valid TOML: " + message, Hint: p.example}
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

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
