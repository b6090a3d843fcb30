package spec

import (
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T) *Spec {
	t.Helper()
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTablesAreComplete counts what the header published with 3.2 defines, so that a line that is lost or
// doubled is found.
func TestTablesAreComplete(t *testing.T) {
	s := load(t)
	names, values := map[string]int{}, map[string]map[uint64]bool{}
	for _, g := range s.All() {
		for _, c := range g.Names {
			prefix, _, _ := strings.Cut(c.Name, "_")
			names[prefix]++
			if values[prefix] == nil {
				values[prefix] = map[uint64]bool{}
			}
			values[prefix][c.Value] = true
		}
	}
	for _, want := range []struct {
		prefix        string
		names, values int // values 0: not counted
	}{
		{"CKM", 480, 464},
		{"CKK", 69, 67},
		{"CKA", 160, 158},
		{"CKR", 105, 105},
		{"CKO", 13, 13},
		{"CKG", 14, 0},
		{"CKD", 26, 26},
		{"CKU", 3, 3},
	} {
		if names[want.prefix] != want.names {
			t.Errorf("%s_: %d names, expected %d", want.prefix, names[want.prefix], want.names)
		}
		if want.values != 0 && len(values[want.prefix]) != want.values {
			t.Errorf("%s_: %d values, expected %d", want.prefix, len(values[want.prefix]), want.values)
		}
	}
}

// TestFunctionListsHaveTheirLengths: PKCS#11 v3.2, CK_FUNCTION_LIST, _3_0 and _3_2.
func TestFunctionListsHaveTheirLengths(t *testing.T) {
	s := load(t)
	for _, want := range []struct {
		version     string
		n           int
		first, last string
	}{
		{"2.40", 68, "C_Initialize", "C_WaitForSlotEvent"},
		{"3.0", 92, "C_Initialize", "C_MessageVerifyFinal"},
		{"3.2", 104, "C_Initialize", "C_UnwrapKeyAuthenticated"},
	} {
		l := s.List(want.version)
		if len(l) != want.n {
			t.Fatalf("list %s has %d functions, expected %d", want.version, len(l), want.n)
		}
		if l[0].Name != want.first || l[len(l)-1].Name != want.last {
			t.Errorf("list %s runs from %s to %s, expected %s to %s",
				want.version, l[0].Name, l[len(l)-1].Name, want.first, want.last)
		}
	}
}

// TestCountersAreUsed: every argument that counts has a role that it counts for, so that no pointer is
// handed on without its length.
func TestCountersAreUsed(t *testing.T) {
	for _, f := range load(t).Functions {
		var named []string
		for _, a := range f.Args {
			named = append(named, a.Refs...)
		}
		for _, a := range f.Args {
			counts := a.Role == "len" || a.Role == "lenptr" || a.Role == "countptr"
			if counts != slices.Contains(named, a.CName) {
				t.Errorf("%s: %s has the role %s; named by another argument: %v", f.Name, a.CName, a.Role, !counts)
			}
		}
	}
}

// TestTypesAgreeWithRoles: a role fixes what the C type can be.
func TestTypesAgreeWithRoles(t *testing.T) {
	types := map[string][]string{
		"session":   {"CK_SESSION_HANDLE"},
		"slot":      {"CK_SLOT_ID"},
		"handle":    {"CK_OBJECT_HANDLE"},
		"mechanism": {"CK_MECHANISM_PTR"}, "wrapping": {"CK_MECHANISM_PTR"}, "authenticated": {"CK_MECHANISM_PTR"},
		"template":  {"CK_ATTRIBUTE_PTR"},
		"getattrs":  {"CK_ATTRIBUTE_PTR"},
		"in":        {"CK_BYTE_PTR", "CK_UTF8CHAR_PTR"},
		"out":       {"CK_BYTE_PTR"},
		"fill":      {"CK_BYTE_PTR"},
		"param":     {"CK_VOID_PTR"},
		"len":       {"CK_ULONG"},
		"lenptr":    {"CK_ULONG_PTR"},
		"countptr":  {"CK_ULONG_PTR"},
		"handles":   {"CK_OBJECT_HANDLE_PTR"},
		"outhandle": {"CK_OBJECT_HANDLE_PTR", "CK_SESSION_HANDLE_PTR"},
		"text":      {"CK_UTF8CHAR_PTR"},
		"notify":    {"CK_NOTIFY"},
	}
	for _, f := range load(t).Functions {
		for _, a := range f.Args {
			if want, ok := types[a.Role]; ok && !slices.Contains(want, a.CType) {
				t.Errorf("%s: %s is a %s, expected one of %v for the role %s", f.Name, a.CName, a.CType, want, a.Role)
			}
		}
	}
}

// TestArrayAttributesHaveTheBit: the bit CKF_ARRAY_ATTRIBUTE stands in the number of an attribute exactly
// if its value is an array of attributes or mechanisms. PKCS#11 v3.2, CK_ATTRIBUTE_TYPE.
func TestArrayAttributesHaveTheBit(t *testing.T) {
	for _, a := range load(t).Attributes {
		array := a.Kind == "template" || a.Kind == "mechanisms"
		if bit := a.Value&0x40000000 != 0; a.Alias == "" && bit != array {
			t.Errorf("%s = %#x has the kind %s, bit set: %v", a.Name, a.Value, a.Kind, bit)
		}
	}
}

// TestParserRefusesWhatItCannotRead: each line is a mistake that a hand could make.
func TestParserRefusesWhatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{
		"before a section":    "CKR_OK 0x0",
		"unknown section":     "[constant RV CK_RV]",
		"no number":           "[constants RV CK_RV]\nCKR_OK",
		"not a number":        "[constants RV CK_RV]\nCKR_OK zero",
		"too wide":            "[constants RV CK_RV]\nCKR_OK 0x100000000",
		"word too many":       "[constants RV CK_RV]\nCKR_OK 0x0 none",
		"name twice":          "[constants RV CK_RV]\nCKR_OK 0x0\nCKR_OK 0x1",
		"alias of nothing":    "[constants RV CK_RV]\nCKR_OK = CKR_FINE",
		"no kind":             "[attributes]\nCKA_CLASS 0x0",
		"unknown kind":        "[attributes]\nCKA_CLASS 0x0 long",
		"no parameter":        "[mechanisms]\nCKM_AES_CBC 0x1082",
		"bad length":          "[mechanisms]\nCKM_AES_CBC 0x1082 iv:x",
		"unknown struct":      "[mechanisms]\nCKM_AES_CTR 0x1086 CK_NOTHING",
		"argument first":      "[functions 2.40 general]\n    CK_ULONG n len",
		"no role":             "[functions 2.40 general]\nC_Initialize\n    CK_VOID_PTR p",
		"unknown role":        "[functions 2.40 general]\nC_Initialize\n    CK_VOID_PTR p input",
		"reference to none":   "[functions 2.40 general]\nC_X\n    CK_BYTE_PTR p in:n",
		"role not for Go":     "[struct CK_X XParams]\nCK_BYTE_PTR h inout Key",
		"Go field unnamed":    "[struct CK_X XParams]\nCK_ULONG n value",
		"unknown word at all": "[functions 2.40 general]\nC_Initialize soon",
	} {
		s := &Spec{}
		err := s.parse("test", text)
		if err == nil {
			err = s.check()
		}
		if err == nil {
			t.Errorf("%s: accepted\n%s", name, text)
		}
	}
}
