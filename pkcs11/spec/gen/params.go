package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// paramKinds maps the words of the PARAM column to Go; structs with a Go name come on top of these.
var paramKinds = map[string]string{
	"none": "ParamNone", "iv": "ParamIV", "bytes": "ParamIV", "ulong": "ParamUlong", "handle": "ParamHandle",
}

// structKind is the ParamKind of a struct: GCMParams has ParamGCM.
func structKind(st spec.Struct) string { return "Param" + strings.TrimSuffix(st.Go, "Params") }

// goParams writes the parameter structs, ParamKind and what mechanisms say of their parameters.
func goParams(s *spec.Spec, b *bytes.Buffer) {
	b.WriteString(goHeader)
	kinds := map[string]string{}
	for word, kind := range paramKinds {
		kinds[word] = kind
	}
	b.WriteString(`// ParamKind says what Go value a mechanism takes as its parameter.
type ParamKind uint8

// The kinds of parameters. ParamUnknown is for mechanisms that the standard does not know and for those
// whose parameters Go does not decode yet.
const (
	ParamUnknown ParamKind = iota
	ParamNone // no parameter: nil
	ParamIV // IV, a byte string as it is
	ParamUlong // MACGeneralParams, one number
	ParamHandle // Handle, another key
`)
	for _, st := range s.Parameters() {
		kinds[st.C] = structKind(st)
		fmt.Fprintf(b, "%s // *%s\n", structKind(st), st.Go)
	}
	b.WriteString(")\n\n")
	for _, st := range s.Structs {
		if st.Go != "" {
			goStruct(s, b, st)
			goPlaces(s, b, st)
		}
	}
	b.WriteString("// newStruct returns an empty parameter struct; nil for kinds that are none.\n" +
		"func (k ParamKind) newStruct() any {\nswitch k {\n")
	for _, st := range s.Parameters() {
		fmt.Fprintf(b, "case %s:\nreturn new(%s)\n", structKind(st), st.Go)
	}
	b.WriteString("}\nreturn nil\n}\n\n")
	byKind, byLen, optional := map[string][]string{}, map[uint64][]string{}, []string{}
	byMessage := map[string][]string{}
	for _, m := range s.Mechanisms {
		if m.Alias != "" {
			continue
		}
		if k, ok := kinds[m.Param]; ok {
			byKind[k] = append(byKind[k], m.Name)
		}
		if k, ok := kinds[m.Message]; ok {
			byMessage[k] = append(byMessage[k], m.Name)
		}
		if m.Len > 0 {
			byLen[uint64(m.Len)] = append(byLen[uint64(m.Len)], m.Name)
		}
		if m.Optional {
			optional = append(optional, m.Name)
		}
	}
	b.WriteString("// ParamKind returns what m takes as its parameter.\n" +
		"func (m MechanismType) ParamKind() ParamKind {\nswitch m {\n")
	for _, k := range sorted(byKind) {
		fmt.Fprintf(b, "case %s:\nreturn %s\n", strings.Join(byKind[k], ",\n"), k)
	}
	b.WriteString("}\nreturn ParamUnknown\n}\n\n")
	b.WriteString("// MessageKind returns what m takes as the parameter of each message (C_EncryptMessage and its siblings), ParamUnknown if\n" +
		"// nothing.\nfunc (m MechanismType) MessageKind() ParamKind {\nswitch m {\n")
	for _, k := range sorted(byMessage) {
		fmt.Fprintf(b, "case %s:\nreturn %s\n", strings.Join(byMessage[k], ",\n"), k)
	}
	b.WriteString("}\nreturn ParamUnknown\n}\n\n")
	b.WriteString("// IVLen returns how many bytes the parameter of a ParamIV mechanism must have, 0 if any number will do.\n" +
		"func (m MechanismType) IVLen() int {\nswitch m {\n")
	for n := uint64(1); n <= 64; n++ {
		if len(byLen[n]) > 0 {
			fmt.Fprintf(b, "case %s:\nreturn %d\n", strings.Join(byLen[n], ",\n"), n)
		}
	}
	b.WriteString("}\nreturn 0\n}\n\n")
	b.WriteString("// ParamOptional reports whether the parameter of m may be left out although m has one.\n" +
		"func (m MechanismType) ParamOptional() bool {\nswitch m {\n")
	fmt.Fprintf(b, "case %s:\nreturn true\n}\nreturn false\n}\n", strings.Join(optional, ",\n"))
}

// goStruct writes one parameter struct.
func goStruct(s *spec.Spec, b *bytes.Buffer, st spec.Struct) {
	fmt.Fprintf(b, "// %s is %s.\ntype %s struct {\n", st.Go, st.C, st.Go)
	for _, f := range st.Fields {
		if f.InGo() {
			fmt.Fprintf(b, "%s %s\n", f.Go, goType(s, f))
		}
	}
	b.WriteString("}\n\n")
}

// placed are the roles of fields that Places knows, with what is done with one.
var placed = map[string]string{
	"handle":    "at.name(p.%s)\n",
	"secret":    "at.Secrets = append(at.Secrets, p.%s)\n",
	"template":  "at.Templates = append(at.Templates, &p.%s)\n",
	"outhandle": "at.Made = append(at.Made, &p.%s)\n",
	"sethandle": "at.Made, at.Instead = append(at.Made, &p.%s), true\n",
	"out":       "at.Outputs = append(at.Outputs, &p.%s)\n",
}

// goPlaces writes the method that finds a struct's places, if it can have any.
func goPlaces(s *spec.Spec, b *bytes.Buffer, st spec.Struct) {
	if !hasPlaces(s, st) {
		return
	}
	fmt.Fprintf(b, "func (p *%s) places(at *Places) {\nif p == nil {\nreturn\n}\n", st.Go)
	for _, f := range st.Fields {
		switch in, ok := s.Inner(f); {
		case placed[f.Role] != "":
			fmt.Fprintf(b, placed[f.Role], f.Go)
		case f.Role == "view" && !ok:
			fmt.Fprintf(b, placed["handle"], f.Go)
		case !ok || !hasPlaces(s, in):
		case f.Role == "array":
			fmt.Fprintf(b, "for i := range p.%s {\np.%s[i].places(at)\n}\n", f.Go, f.Go)
		default:
			fmt.Fprintf(b, "p.%s.places(at)\n", f.Go)
		}
	}
	b.WriteString("}\n\n")
}

func hasPlaces(s *spec.Spec, st spec.Struct) bool {
	for _, f := range st.Fields {
		in, ok := s.Inner(f)
		if f.InGo() && (placed[f.Role] != "" || f.Role == "view" && !ok || ok && hasPlaces(s, in)) {
			return true
		}
	}
	return false
}

// goType is the Go type of a field of a parameter struct.
func goType(s *spec.Spec, f spec.Field) string {
	in, inner := s.Inner(f)
	switch f.Role {
	case "bool", "byte":
		return f.Role
	case "fixed":
		return f.Array + "byte"
	case "bytes", "bits", "secret", "nonce", "inout", "inoutbits", "inoutnonce":
		return "[]byte"
	case "ref":
		return "*" + in.Go
	case "view":
		if inner {
			return "*" + in.Go
		}
		return "Handle"
	case "struct":
		return in.Go
	case "array":
		return "[]" + in.Go
	case "template":
		return "Template"
	case "out":
		return "Output"
	case "handle":
		return "Handle"
	case "outhandle", "sethandle":
		return "NewHandle"
	}
	for ctype := f.CType; ctype != ""; ctype = s.Base(ctype) {
		for _, g := range s.All() {
			if g.C == ctype && g.C != "CK_ULONG" {
				return g.Go
			}
		}
	}
	return "uint"
}
