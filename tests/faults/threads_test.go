package faults

import (
	"strconv"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestThreadsMakeTokenKeysAtOnce has eight threads of one process at work on token keys, and ends the library under them.
func TestThreadsMakeTokenKeysAtOnce(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	t.Log(strings.ReplaceAll(s.run(t, "threads", userPIN, "8", "40", "20"), "\n", "; "))
	a := s.user(t)
	left := 0
	for _, line := range a.list() { // what C_Finalize cut off before it was destroyed
		if strings.Contains(line, " f") {
			left++
		}
	}
	if left > 8*2*20 {
		t.Errorf("%d objects are left", left)
	}
	a.want(pkcs11.CKR_OK, "sign pair", "fini")
	a.leave()
	s.wantSound(t)
}

// TestThreadsSignTogether has twelve threads of one process sign with RSA keys, forks while they wait for each other, and ends
// the library under them.
func TestThreadsSignTogether(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	t.Log(strings.ReplaceAll(s.run(t, "together", userPIN, "12", "60", "2", "3"), "\n", "; "))
	s.wantSound(t)
}

// TestMemoryDoesNotGrow makes, uses and destroys session objects, and opens and closes sessions.
func TestMemoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	t.Log(s.run(t, "soak", userPIN, strconv.Itoa(count(t, "COFFER_SOAK", 20000))))
	s.wantWhole(t)
}
