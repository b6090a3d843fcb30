package release

import (
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestNumber(t *testing.T) {
	for name, want := range map[string]pkcs11.Version{
		"1.2.3":      {Major: 1, Minor: 2},
		"0.1-devel":  {Minor: 1},
		"12.34~rc1":  {Major: 12, Minor: 34},
		"255.255":    {Major: 255, Minor: 255},
		"256.1":      {},
		"1.256":      {},
		"1":          {},
		"1.":         {},
		"1.x":        {},
		"-1.2":       {},
		"earlier":    {},
		"":           {},
		"2026.11.28": {},
	} {
		if got := number(name); got != want {
			t.Errorf("%q is %v, expected %v", name, got, want)
		}
	}
}

// TestDefaultHasANumber: what is built without a version says one all the same.
func TestDefaultHasANumber(t *testing.T) {
	if Number() == (pkcs11.Version{}) {
		t.Errorf("%q has no number", Name())
	}
}
