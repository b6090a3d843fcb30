package spec

import (
	"fmt"
	"slices"
	"strconv"
)

// kinds are the values that the KIND column of attributes.txt may have.
var kinds = []string{"-", "bool", "ulong", "bytes", "string", "bigint", "date", "mechanisms", "ulongs", "template"}

// Roles are the words that the ROLE column of functions.txt may have, without references and "?".
var Roles = []string{
	"session", "slot", "handle", "value", "mechanism", "wrapping", "authenticated", "messaging", "template", "getattrs", "in", "param", "fill",
	"text", "label", "version", "len", "out", "list", "lenptr", "handles", "countptr", "outhandle",
	"outnumber", "outinfo", "outasync", "outptr", "initargs", "notify", "context", "buffer", "reserved",
}

// fieldRoles are the words that the ROLE column of a parameter struct may have; true where Go can have it.
var fieldRoles = map[string]bool{
	"value": true, "bool": true, "byte": true, "fixed": true, "bytes": true, "bits": true, "nonce": true, "secret": true, "len": true,
	"anylen": true, "struct": true, "ref": true, "handle": true, "array": true, "template": true, "out": true, "outhandle": true,
	"sethandle": true, "view": true, "inout": true, "inoutbits": true, "inoutnonce": true,
}

// check resolves aliases and finds what a reader of single lines cannot: names used twice, references to
// nothing, unknown kinds and roles.
func (s *Spec) check() error {
	if err := s.resolve(); err != nil {
		return err
	}
	for _, a := range s.Attributes {
		if a.Alias == "" && !slices.Contains(kinds, a.Kind) {
			return fmt.Errorf("attributes.txt: %s has the unknown kind %q", a.Name, a.Kind)
		}
	}
	for _, m := range s.Mechanisms {
		if err := s.checkParam(m); err != nil {
			return err
		}
	}
	for _, st := range s.Structs {
		if err := st.check(); err != nil {
			return err
		}
	}
	for _, f := range s.Functions {
		for _, a := range f.Args {
			if !slices.Contains(Roles, a.Role) {
				return fmt.Errorf("functions.txt: %s: %s has the unknown role %q", f.Name, a.CName, a.Role)
			}
			if err := refs(f.Args, a); err != nil {
				return fmt.Errorf("functions.txt: %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// resolve gives every alias the number of the constant that it names, and refuses a name used twice.
func (s *Spec) resolve() error {
	values := map[string]uint64{}
	for _, g := range s.All() {
		for _, c := range g.Names {
			if _, twice := values[c.Name]; twice {
				return fmt.Errorf("%s: %s appears twice", g.File, c.Name)
			}
			values[c.Name] = c.Value
		}
	}
	set := func(c *Constant) error {
		if c.Alias == "" {
			return nil
		}
		v, ok := values[c.Alias]
		if !ok {
			return fmt.Errorf("%s names %s, which is not in the tables", c.Name, c.Alias)
		}
		c.Value = v
		return nil
	}
	for i := range s.Constants {
		for j := range s.Constants[i].Names {
			if err := set(&s.Constants[i].Names[j]); err != nil {
				return err
			}
		}
	}
	for i := range s.Attributes {
		if err := set(&s.Attributes[i].Constant); err != nil {
			return err
		}
	}
	for i := range s.Mechanisms {
		if err := set(&s.Mechanisms[i].Constant); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) checkParam(m Mechanism) error {
	if _, ok := s.Struct(m.Message); m.Message != "" && !ok {
		return fmt.Errorf("mechanisms.txt: %s takes %q for a message, which is no struct", m.Name, m.Message)
	}
	switch m.Param {
	case "", "none", "iv", "bytes", "ulong", "handle", "?":
		return nil
	}
	if _, ok := s.Struct(m.Param); !ok {
		return fmt.Errorf("mechanisms.txt: %s takes %q, which is neither a word of the heading nor a struct", m.Name, m.Param)
	}
	return nil
}

func (st Struct) check() error {
	for _, f := range st.Fields {
		if f.Role == "" && st.Go == "" {
			continue // a general struct: only its layout matters
		}
		inGo, known := fieldRoles[f.Role]
		if !known || st.Go != "" && !inGo {
			return fmt.Errorf("mechanisms.txt: %s: %s cannot have the role %q", st.C, f.CName, f.Role)
		}
		if st.Go != "" && f.Role == "inout" && len(f.Refs) == 0 {
			return fmt.Errorf("mechanisms.txt: %s: %s says no length", st.C, f.CName)
		}
		if st.Go != "" && f.InGo() && f.Go == "" {
			return fmt.Errorf("mechanisms.txt: %s: %s has no Go name", st.C, f.CName)
		}
		if err := refs(st.Fields, f); err != nil {
			return fmt.Errorf("mechanisms.txt: %s: %w", st.C, err)
		}
	}
	return nil
}

// refs answers an error if f names a field that is not among its neighbours.
func refs(all []Field, f Field) error {
	for i, r := range f.Refs {
		if f.Role == "handle" && i > 0 {
			break // the value of the field before
		}
		if _, err := strconv.ParseUint(r, 10, 8); err == nil {
			continue // as many bytes
		}
		if !slices.ContainsFunc(all, func(o Field) bool { return o.CName == r }) {
			return fmt.Errorf("%s refers to %s, which is not there", f.CName, r)
		}
	}
	return nil
}
