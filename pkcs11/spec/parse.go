package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// parser holds what a section's lines need to know of the lines before them.
type parser struct {
	s       *Spec
	file    string
	section string
	comment []string // the comment block above the line being read
	indent  bool     // the line began with a blank
}

// lineReaders has one entry for each kind of section: how it opens and how each of its lines is read.
var lineReaders = map[string]struct {
	open func(*parser, []string) error
	line func(*parser, []string) error
}{
	"types":      {openPlain, (*parser).typeLine},
	"constants":  {openConstants, (*parser).constantLine},
	"attributes": {openPlain, (*parser).attributeLine},
	"mechanisms": {openPlain, (*parser).mechanismLine},
	"vendor":     {openPlain, (*parser).mechanismLine},
	"struct":     {openStruct, (*parser).structLine},
	"callback":   {openCallback, (*parser).callbackLine},
	"functions":  {openFunctions, (*parser).functionLine},
}

// parse reads one table into s.
func (s *Spec) parse(file, text string) error {
	p := &parser{s: s, file: file}
	for i, raw := range strings.Split(text, "\n") {
		if err := p.read(raw); err != nil {
			return fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return nil
}

// read handles one line of a table.
func (p *parser) read(raw string) error {
	line := strings.TrimSpace(raw)
	switch {
	case line == "":
		p.comment = nil
		return nil
	case strings.HasPrefix(line, "#"):
		p.comment = append(p.comment, strings.TrimSpace(strings.TrimPrefix(line, "#")))
		return nil
	}
	if head, ok := strings.CutPrefix(line, "["); ok {
		words := strings.Fields(strings.TrimSuffix(head, "]"))
		if len(words) == 0 || !strings.HasSuffix(head, "]") {
			return fmt.Errorf("section heading %q is not closed", line)
		}
		r, ok := lineReaders[words[0]]
		if !ok {
			return fmt.Errorf("unknown kind of section %q", words[0])
		}
		p.section = words[0]
		err := r.open(p, words[1:])
		p.comment = nil
		return err
	}
	if p.section == "" {
		return fmt.Errorf("%q stands before the first section", line)
	}
	p.indent = raw[0] == ' ' || raw[0] == '\t'
	return lineReaders[p.section].line(p, strings.Fields(line))
}

// text is the comment block above a section as one text.
func (p *parser) text() string { return strings.Join(p.comment, "\n") }

func openPlain(_ *parser, words []string) error { return exactly(words, 0) }

func openConstants(p *parser, words []string) error {
	if err := exactly(words, 2); err != nil {
		return err
	}
	p.s.Constants = append(p.s.Constants, Group{Go: words[0], C: words[1], Comment: p.text(), File: p.file})
	return nil
}

func openStruct(p *parser, words []string) error {
	if len(words) < 1 || len(words) > 3 {
		return fmt.Errorf("a struct has a C name, a Go name and without=FIELD, found %d words", len(words))
	}
	st := Struct{C: words[0], Comment: p.text()}
	if len(words) > 1 {
		st.Go = words[1]
	}
	if len(words) > 2 {
		without, ok := strings.CutPrefix(words[2], "without=")
		if !ok {
			return fmt.Errorf("expected without=FIELD, found %q", words[2])
		}
		st.Without = without
	}
	p.s.Structs = append(p.s.Structs, st)
	return nil
}

func openCallback(p *parser, words []string) error {
	if err := exactly(words, 1); err != nil {
		return err
	}
	p.s.Callbacks = append(p.s.Callbacks, Callback{C: words[0]})
	return nil
}

func openFunctions(p *parser, words []string) error {
	if err := exactly(words, 2); err != nil {
		return err
	}
	// The section's words are kept in a function without a name, which the first real one copies.
	p.s.Functions = append(p.s.Functions, Function{Version: words[0], Chapter: words[1]})
	return nil
}

func (p *parser) typeLine(w []string) error {
	if err := exactly(w, 2); err != nil {
		return err
	}
	name, ptr := strings.CutSuffix(w[0], "*")
	p.s.Types = append(p.s.Types, Type{C: name, Base: w[1], Pointer: ptr})
	return nil
}

func (p *parser) constantLine(w []string) error {
	c, rest, err := constant(w)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s: more words than a constant has: %q", c.Name, rest)
	}
	g := &p.s.Constants[len(p.s.Constants)-1]
	g.Names = append(g.Names, c)
	return nil
}

func (p *parser) attributeLine(w []string) error {
	c, rest, err := constant(w)
	if err != nil {
		return err
	}
	a := Attribute{Constant: c}
	switch {
	case c.Alias != "":
	case len(rest) == 0:
		return fmt.Errorf("%s has no kind", c.Name)
	default:
		a.Kind = rest[0]
		for _, word := range rest[1:] {
			also, ok := strings.CutPrefix(word, "also=")
			if !ok {
				return fmt.Errorf("%s: unknown word %q", c.Name, word)
			}
			if a.Also, err = number(also); err != nil {
				return err
			}
		}
	}
	p.s.Attributes = append(p.s.Attributes, a)
	return nil
}

func (p *parser) mechanismLine(w []string) error {
	c, rest, err := constant(w)
	if err != nil {
		return err
	}
	m := Mechanism{Constant: c, Vendor: p.section == "vendor"}
	if c.Alias == "" {
		if len(rest) == 2 {
			var ok bool
			if m.Message, ok = strings.CutPrefix(rest[1], "message="); !ok {
				return fmt.Errorf("%s: unknown word %q", c.Name, rest[1])
			}
			rest = rest[:1]
		}
		if err := exactly(rest, 1); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		m.Param = rest[0]
		if m.Param != "?" {
			m.Param, m.Optional = strings.CutSuffix(m.Param, "?")
		}
		if n, ok := strings.CutPrefix(m.Param, "iv:"); ok {
			m.Param = "iv"
			if m.Len, err = strconv.Atoi(n); err != nil || m.Len < 1 {
				return fmt.Errorf("%s: %q is not a length", c.Name, n)
			}
		}
	}
	p.s.Mechanisms = append(p.s.Mechanisms, m)
	return nil
}

func (p *parser) structLine(w []string) error {
	st := &p.s.Structs[len(p.s.Structs)-1]
	f, err := field(w)
	st.Fields = append(st.Fields, f)
	return err
}

func (p *parser) callbackLine(w []string) error {
	cb := &p.s.Callbacks[len(p.s.Callbacks)-1]
	f, err := field(w)
	cb.Args = append(cb.Args, f)
	return err
}

func (p *parser) functionLine(w []string) error {
	last := &p.s.Functions[len(p.s.Functions)-1]
	if p.indent {
		if last.Name == "" {
			return fmt.Errorf("argument %q stands before the first function of its section", w)
		}
		f, err := field(w)
		if err == nil && f.Role == "" {
			err = fmt.Errorf("%s: argument %s has no role", last.Name, f.CName)
		}
		last.Args = append(last.Args, f)
		return err
	}
	if last.Name != "" {
		p.s.Functions = append(p.s.Functions, Function{Version: last.Version, Chapter: last.Chapter})
		last = &p.s.Functions[len(p.s.Functions)-1]
	}
	last.Name = w[0]
	for _, word := range w[1:] {
		switch word {
		case "before-init":
			last.BeforeInit = true
		case "legacy":
			last.Legacy = true
		default:
			return fmt.Errorf("%s: unknown word %q", w[0], word)
		}
	}
	return nil
}

// field reads "CTYPE CNAME [ROLE [GONAME]]".
func field(w []string) (Field, error) {
	if len(w) < 2 || len(w) > 4 {
		return Field{}, fmt.Errorf("a field has a C type, a C name, a role and a Go name, found %d words", len(w))
	}
	f := Field{CType: w[0], CName: w[1]}
	if i := strings.IndexByte(f.CName, '['); i >= 0 {
		f.CName, f.Array = f.CName[:i], f.CName[i:]
	}
	if len(w) > 2 {
		parts := strings.Split(w[2], ":")
		f.Role, f.Null = strings.CutSuffix(parts[0], "?")
		f.Refs = parts[1:]
	}
	if len(w) > 3 {
		f.Go = w[3]
	}
	return f, nil
}

// constant reads "NAME NUMBER" or "NAME = OTHER" and returns the words that follow.
func constant(w []string) (Constant, []string, error) {
	if len(w) == 3 && w[1] == "=" {
		return Constant{Name: w[0], Alias: w[2]}, nil, nil
	}
	if len(w) < 2 {
		return Constant{}, nil, fmt.Errorf("%q has no number", w[0])
	}
	if w[1] == "~0" {
		return Constant{Name: w[0], Ones: true}, w[2:], nil
	}
	n, err := number(w[1])
	return Constant{Name: w[0], Value: n}, w[2:], err
}

// number reads a number of 32 bits: no constant of the standard is wider.
func number(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of 32 bits", text)
	}
	return n, nil
}

// exactly answers an error unless there are n words.
func exactly(words []string, n int) error {
	if len(words) != n {
		return fmt.Errorf("expected %d words, found %d: %q", n, len(words), words)
	}
	return nil
}
