package main

import (
	"bytes"
	"fmt"
	"go/token"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// entry is one Go function being written.
type entry struct {
	method  string   // of the machine; empty: named as the function
	decode  []string // statements that decode arguments
	pass    []string // what the machine is called with
	results []string // variables for what it returns, before the error
	write   []string // statements that hand them over
}

// roles has a row for each role of functions.txt that means something to Go; the others only complete these.
var roles = map[string]func(e *entry, f spec.Function, a spec.Field){
	"session": func(e *entry, _ spec.Function, a spec.Field) { e.pass = append(e.pass, "uint("+a.CName+")") },
	"slot":    func(e *entry, _ spec.Function, a spec.Field) { e.pass = append(e.pass, "uint("+a.CName+")") },
	"handle":  func(e *entry, _ spec.Function, a spec.Field) { e.pass = append(e.pass, "uint("+a.CName+")") },
	"value": func(e *entry, _ spec.Function, a spec.Field) {
		e.pass = append(e.pass, fmt.Sprintf(valueTypes[a.CType], a.CName))
	},
	"reserved":      func(e *entry, _ spec.Function, a spec.Field) { e.pass = append(e.pass, a.CName+" != 0") },
	"mechanism":     either(copiesParam, "c.lent(%s)", "c.mechanism(%s)"),
	"messaging":     decode("c.messaging(%s)"),
	"wrapping":      decode("c.wrapping(%s)"),
	"authenticated": decode("c.authenticated(%s)"),
	"template":      decode("c.template(%s, %s)"),
	"in":            either(inPlace, "c.own(%s, %s)", "c.in(%s, %s)"),
	"param":         decode("c.message(%s, %s)"),
	"buffer":        decode("c.place(%s, %s)"),
	"text":          decode("c.text(%s)"),
	"label":         decode("c.label(%s)"),
	"out": func(e *entry, f spec.Function, a spec.Field) {
		if a.Null {
			decode("c.optionalOut(%s, %s)")(e, f, a)
			return
		}
		decode("c.out(%s, %s)")(e, f, a)
		if public[f.Name] {
			e.decode = append(e.decode, "c.public = true")
		}
	},
	"fill": func(e *entry, f spec.Function, a spec.Field) {
		decode("c.fill(%s, %s)")(e, f, a)
		e.write = append(e.write, fmt.Sprintf("c.filled(%s, %s)", a.CName, goName(a)))
	},
	"getattrs": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("places, types, values := c.wanted(%s, %s)", a.CName, a.Refs[0]))
		e.method = "ReadAttributes"
		e.pass = append(e.pass, "types", "values")
		e.write = append(e.write, fmt.Sprintf("c.give(%s, places, values)", a.CName))
	},
	"list": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("c.target(%s)", a.Refs[0]))
		e.results = append(e.results, "values")
		e.write = append(e.write, fmt.Sprintf("list(c, %s, %s, values)", a.CName, a.Refs[0]))
	},
	"handles": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("most := c.handles(%s, %s, %s)", a.CName, a.Refs[0], a.Refs[1]))
		e.pass = append(e.pass, "most")
		e.results = append(e.results, "found")
		e.write = append(e.write, fmt.Sprintf("c.found(%s, %s, found)", a.CName, a.Refs[1]))
	},
	"outhandle": func(e *entry, f spec.Function, a spec.Field) {
		check := fmt.Sprintf("c.target(%s)", a.CName)
		if a.Null {
			check = fmt.Sprintf("c.targetOf(%s, mechanism)", a.CName)
		}
		e.decode = append(e.decode, check)
		result(e, a, "number(c, %s, %s)")
	},
	"outnumber": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("c.target(%s)", a.CName))
		result(e, a, "number(c, %s, %s)")
	},
	"outinfo": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("c.target(%s)", a.CName))
		result(e, a, "c.info(%s, %s)")
	},
	"outasync": func(e *entry, _ spec.Function, a spec.Field) {
		e.decode = append(e.decode, fmt.Sprintf("c.asyncData(%s)", a.CName))
		e.pass = append(e.pass, a.CName+" != 0")
		result(e, a, "c.completed(%s, %s)")
	},
}

// copiesParam are the functions of which the machine copies the parameter of CKM_AES_GCM, as they are called again and again.
var copiesParam = map[string]bool{"C_EncryptInit": true, "C_DecryptInit": true, "C_SignInit": true, "C_VerifyInit": true}

// public are the functions whose output is no secret, so that the bridge need not wipe it.
var public = map[string]bool{"C_Encrypt": true, "C_EncryptUpdate": true, "C_Sign": true, "C_Digest": true}

// inPlace are the functions whose output may be written over the bridge's copy of the input.
var inPlace = map[string]bool{"C_Encrypt": true, "C_Decrypt": true}

// complements are the roles that other roles refer to, or that Go has no use for.
var complements = map[string]bool{"len": true, "lenptr": true, "countptr": true, "notify": true, "context": true}

// valueTypes says what Go makes of a number.
var valueTypes = map[string]string{
	"CK_ULONG":                         "uint(%s)",
	"CK_BBOOL":                         "%s != 0",
	"CK_FLAGS":                         "pkcs11.Flags(%s)",
	"CK_USER_TYPE":                     "pkcs11.UserType(%s)",
	"CK_MECHANISM_TYPE":                "pkcs11.MechanismType(%s)",
	"CK_SESSION_VALIDATION_FLAGS_TYPE": "uint(%s)",
}

// decode returns the row of a role whose argument, with those that it refers to, makes one Go value.
func decode(call string) func(*entry, spec.Function, spec.Field) {
	return func(e *entry, _ spec.Function, a spec.Field) {
		args := []any{a.CName}
		for _, r := range a.Refs {
			args = append(args, r)
		}
		e.decode = append(e.decode, goName(a)+" := "+fmt.Sprintf(call, args...))
		e.pass = append(e.pass, goName(a))
	}
}

func result(e *entry, a spec.Field, write string) {
	e.results = append(e.results, goName(a))
	e.write = append(e.write, fmt.Sprintf(write, a.CName, goName(a)))
}

// goName is the name of an argument without the letters that say its C type.
func goName(a spec.Field) string {
	name := a.CName
	for _, prefix := range []string{"pul", "ph", "ul", "p", "h"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if first, _ := utf8.DecodeRuneInString(rest); ok && unicode.IsUpper(first) {
			name = rest
			break
		}
	}
	name = strings.ToLower(name[:1]) + name[1:]
	if name == "iD" {
		name = "id"
	}
	return name
}

// goParam is the C name of an argument where Go can have it.
func goParam(name string) string {
	if token.IsKeyword(name) {
		return name + "_"
	}
	return name
}

// entries writes zentry.go.
func entries(b *bytes.Buffer, s *spec.Spec) error {
	b.WriteString("// Code generated by cbridge/gen; DO NOT EDIT.\n\npackage main\n\nimport \"C\"\n\n" +
		"import \"github.com/coffer-hsm/coffer/pkcs11\"\n\n")
	for _, f := range s.Functions {
		if inC(f) {
			continue
		}
		if err := goEntry(b, f); err != nil {
			return err
		}
	}
	return nil
}

func goEntry(b *bytes.Buffer, f spec.Function) error {
	var e entry
	session := "0"
	for _, a := range f.Args {
		a.CName = goParam(a.CName)
		row, ok := roles[a.Role]
		switch {
		case ok && a.Role == "value" && valueTypes[a.CType] == "":
			return fmt.Errorf("%s: %s: no Go type for %s", f.Name, a.CName, a.CType)
		case ok:
			row(&e, f, a)
		case !complements[a.Role]:
			return fmt.Errorf("%s: %s: no row for the role %q", f.Name, a.CName, a.Role)
		}
		if a.Role == "session" {
			session = a.CName
		}
	}
	params := ""
	if len(f.Args) > 0 {
		var list []string
		for _, a := range f.Args {
			list = append(list, goParam(a.CName))
		}
		params = strings.Join(list, ", ") + " uintptr"
	}
	method := strings.TrimPrefix(f.Name, "C_")
	if e.method == "" {
		e.method = method
	}
	call := fmt.Sprintf("library().%s(%s)", e.method, strings.Join(e.pass, ", "))
	fmt.Fprintf(b, "//export coffer_go_%s\nfunc coffer_go_%s(%s) (rv uintptr) {\nc := enter(%q, %s)\ndefer c.leave(&rv)\n",
		f.Name, f.Name, params, method, session)
	for _, line := range e.decode {
		b.WriteString(line + "\n")
	}
	if len(e.decode) > 0 {
		b.WriteString("if !c.decoded() {\nreturn\n}\n")
	}
	if len(e.results) > 0 {
		fmt.Fprintf(b, "%s, err := %s\nc.finish(err)\n", strings.Join(e.results, ", "), call)
	} else {
		fmt.Fprintf(b, "c.finish(%s)\n", call)
	}
	for _, line := range e.write {
		b.WriteString(line + "\n")
	}
	b.WriteString("return\n}\n\n")
	return nil
}

// either decodes as one way for the functions that are listed, and another way for all others.
func either(listed map[string]bool, one, other string) func(*entry, spec.Function, spec.Field) {
	return func(e *entry, f spec.Function, a spec.Field) {
		if listed[f.Name] {
			decode(one)(e, f, a)
			return
		}
		decode(other)(e, f, a)
	}
}
