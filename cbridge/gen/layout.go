package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// layout returns size and alignment of a struct as the 64-bit systems of Unix lay it out, in the second known layout if
// short is set.
// It knows no structs whose fields are structs of another library.
func layout(s *spec.Spec, st spec.Struct, short bool) (size, align int, err error) {
	align = 1
	for _, f := range st.Fields {
		if short && st.Lacks(f.CName) || f.Role == "view" {
			continue
		}
		n, a, err := width(s, f)
		if err != nil {
			return 0, 0, err
		}
		size = (size+a-1)/a*a + n
		align = max(align, a)
	}
	return (size + align - 1) / align * align, align, nil
}

// width returns size and alignment of one field.
func width(s *spec.Spec, f spec.Field) (size, align int, err error) {
	if f.Array != "" {
		n, err := strconv.Atoi(strings.Trim(f.Array, "[]"))
		if err != nil {
			return 0, 0, err
		}
		f.Array = ""
		size, align, err = width(s, f)
		return size * n, align, err
	}
	if st, ok := s.Struct(f.CType); ok {
		return layout(s, st, false)
	}
	switch base(s, f.CType) {
	case "CK_BYTE":
		return 1, 1, nil
	case "CK_ULONG", "CK_VOID_PTR":
		return 8, 8, nil
	}
	return 0, 0, fmt.Errorf("%s %s: no known width", f.CType, f.CName)
}

// base resolves a C type to CK_BYTE, CK_ULONG or, for all pointers, CK_VOID_PTR.
func base(s *spec.Spec, ctype string) string {
	for _, cb := range s.Callbacks {
		if cb.C == ctype {
			return "CK_VOID_PTR"
		}
	}
	if strings.HasSuffix(ctype, "_PTR") {
		return "CK_VOID_PTR"
	}
	for _, t := range s.Types {
		if t.C == ctype {
			return base(s, t.Base)
		}
	}
	return ctype
}
