//go:build !porcupine

package faults

import "testing"

// checkLinear needs the module github.com/anishathalye/porcupine.
func checkLinear(t *testing.T, h *history) {
	t.Helper()
	t.Logf("NOT TESTED: that %d operations are linearizable. Build with -tags porcupine", len(h.checked()))
}
