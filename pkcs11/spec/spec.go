// Package spec reads the three reviewed tables from which the vocabulary of PKCS#11 v3.2 is generated:
// functions.txt, attributes.txt and mechanisms.txt. The heading of each table explains its columns.
//
// The package is for generators and tests; nothing that the library links imports it. What Load
// returns is shared by nobody and may be changed by its caller.
package spec

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed functions.txt attributes.txt mechanisms.txt
var tables embed.FS

// Files are the tables in the order in which Load reads them.
var Files = []string{"functions.txt", "attributes.txt", "mechanisms.txt"}

// Spec is the content of the tables.
type Spec struct {
	Types      []Type      // C types that are other names for CK_ULONG or CK_BYTE
	Constants  []Group     // named numbers, in the order of the tables
	Attributes []Attribute // CKA_...
	Mechanisms []Mechanism // CKM_...
	Structs    []Struct    // general structs first, then parameters
	Callbacks  []Callback  // functions of the application
	Functions  []Function  // in the order of the function lists
}

// Type is a C type that is another name for Base.
type Type struct {
	C       string
	Base    string
	Pointer bool // the header also declares C_PTR
}

// Group is a run of constants of one type.
type Group struct {
	Go      string // Go type, "uint" for plain numbers
	C       string // C type
	Comment string // what stands above the section, without "#"
	File    string
	Names   []Constant
}

// Constant is one named number.
type Constant struct {
	Name  string
	Value uint64
	Ones  bool   // all bits set, whatever the width of CK_ULONG; Value is then 0
	Alias string // set if Name is a deprecated name for this constant
}

// Attribute is an attribute type and what its value is.
type Attribute struct {
	Constant
	Kind string // as in the table's heading; "-" for a range mark
	Also uint64 // another number under which it is known, or 0
}

// Mechanism is a mechanism type and the parameter that it takes.
type Mechanism struct {
	Constant
	Param    string // none, iv, bytes, ulong, handle, ? or the name of a C struct
	Len      int    // number of bytes of an iv
	Optional bool   // the parameter may be absent
	Message  string // the C struct that each message has as its parameter, or ""
	Vendor   bool   // another maker's, not the standard's
}

// Struct is a C struct.
type Struct struct {
	C       string
	Go      string // Go name, or "" if only C has it
	Without string // the fields that a second known layout lacks, with commas between
	Comment string
	Fields  []Field
}

// Field is a member of a struct or an argument of a function or callback.
type Field struct {
	CType string
	CName string
	Array string   // "[16]" for an array in place
	Role  string   // what stands before the first colon, without "?"
	Refs  []string // names after the colons
	Null  bool     // the role ends in "?"
	Go    string   // Go name
}

// Callback is a function of the application that the library calls. It returns CK_RV.
type Callback struct {
	C    string
	Args []Field
}

// Function is a C_ function. It returns CK_RV.
type Function struct {
	Name       string
	Version    string // of the function list that first has it: 2.40, 3.0, 3.2
	Chapter    string
	BeforeInit bool // may be called before C_Initialize
	Legacy     bool // always answers CKR_FUNCTION_NOT_PARALLEL
	Args       []Field
}

// Load parses and checks the tables. An error names file and line.
func Load() (*Spec, error) {
	s := &Spec{}
	for _, name := range Files {
		text, err := tables.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := s.parse(name, string(text)); err != nil {
			return nil, err
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// Struct returns the struct with that C name.
func (s *Spec) Struct(c string) (Struct, bool) {
	for _, st := range s.Structs {
		if st.C == c {
			return st, true
		}
	}
	return Struct{}, false
}

// Lacks reports whether the second known layout of a struct lacks a field.
func (st Struct) Lacks(field string) bool {
	return slices.Contains(strings.Split(st.Without, ","), field)
}

// Parameters returns the structs that Go knows and that are the parameter of some mechanism or message, not only a part
// of one.
func (s *Spec) Parameters() (out []Struct) {
	taken := map[string]bool{}
	for _, m := range s.Mechanisms {
		taken[m.Param], taken[m.Message] = true, true
	}
	for _, st := range s.Structs {
		if st.Go != "" && taken[st.C] {
			out = append(out, st)
		}
	}
	return out
}

// InGo reports whether a field of a parameter struct is a member of the struct in Go.
func (f Field) InGo() bool { return f.Role != "len" && f.Role != "anylen" }

// Inner returns the struct that a field holds or points to, if Go knows it.
func (s *Spec) Inner(f Field) (Struct, bool) {
	st, ok := s.Struct(strings.TrimSuffix(f.CType, "_PTR"))
	return st, ok && st.Go != ""
}

// Base returns the C type that another is a name for; "" if it is none.
func (s *Spec) Base(ctype string) string {
	for _, t := range s.Types {
		if t.C == ctype {
			return t.Base
		}
	}
	return ""
}

// List returns the functions of the function list of that version: 2.40, 3.0 or 3.2.
func (s *Spec) List(version string) []Function {
	n := 0
	for i, f := range s.Functions {
		if f.Version == version {
			n = i + 1
		}
	}
	return s.Functions[:n]
}

// All returns every named number of the tables with its Go and C type, groups first, then attributes,
// then mechanisms.
func (s *Spec) All() []Group {
	all := append([]Group{}, s.Constants...)
	at := Group{Go: "AttributeType", C: "CK_ATTRIBUTE_TYPE", File: "attributes.txt"}
	for _, a := range s.Attributes {
		at.Names = append(at.Names, a.Constant)
	}
	me := Group{Go: "MechanismType", C: "CK_MECHANISM_TYPE", File: "mechanisms.txt"}
	for _, m := range s.Mechanisms {
		if !m.Vendor {
			me.Names = append(me.Names, m.Constant)
		}
	}
	return append(all, at, me)
}

// Known is All and the mechanisms of other makers that Go knows.
func (s *Spec) Known() []Group {
	g := Group{Go: "MechanismType", C: "CK_MECHANISM_TYPE", File: "mechanisms.txt", Comment: "Mechanisms of other makers, which include/coffer.h names."}
	for _, m := range s.Mechanisms {
		if m.Vendor {
			g.Names = append(g.Names, m.Constant)
		}
	}
	return append(s.All(), g)
}

// String gives a number as C and Go both write it.
func (c Constant) String() string { return fmt.Sprintf("%#x", c.Value) }
