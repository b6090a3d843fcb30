package custody

import (
	"testing"

	"github.com/coffer-hsm/coffer/core/vault"
)

// TestDerivationOfEachMode: what a person has thought of is slow to guess, and in FIPS mode nothing is by Argon2id.
func TestDerivationOfEachMode(t *testing.T) {
	if derivation(true, false) != vault.DefaultKDF || derivation(true, true) != vault.FIPSKDF {
		t.Error("a passphrase is not derived by the default")
	}
	if k := derivation(false, true); k.Iterations == 0 || k.MemoryKiB != 0 {
		t.Errorf("a random key in FIPS mode: %+v", k)
	}
	if k := derivation(false, false); k.Iterations != 0 {
		t.Errorf("a random key: %+v", k)
	}
}
