package selftest_test

import (
	"bufio"
	"hash"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/mech/selftest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestAllPass, with the legacy rows and without.
func TestAllPass(t *testing.T) {
	for name, registry := range map[string]func() (*mech.Registry, error){"current": all.Registry, "full": all.Full} {
		r, err := registry()
		require.NoError(t, err)
		names := map[string]bool{}
		for _, s := range selftest.Of(r) {
			begun := time.Now()
			require.NoError(t, s.Passed(), name)
			t.Log(name, s.Name, time.Since(begun))
			require.False(t, names[s.Name], "two tests have the name %s", s.Name)
			names[s.Name] = true
		}
	}
}

// TestAnswersAreTakenFromTheVectors: each number of answers.txt stands in the file that its line names.
func TestAnswersAreTakenFromTheVectors(t *testing.T) {
	f, err := os.Open("answers.txt")
	require.NoError(t, err)
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	lines := 0
	for in.Scan() {
		line := strings.Fields(in.Text())
		if line[0] == "#" {
			continue
		}
		lines++
		source, err := os.ReadFile("../" + line[1])
		require.NoError(t, err, line[0])
		for _, number := range line[2:] {
			if !strings.Contains(string(source), strings.TrimLeft(number, "0")) && number != "-" {
				t.Errorf("%s: %s is not in %s", line[0], number, line[1])
			}
		}
	}
	require.NoError(t, in.Err())
	require.Greater(t, lines, 90)
}

// broken is a hash that gets its last bit wrong.
type broken struct{ hash.Hash }

func (b broken) Sum(dst []byte) []byte {
	out := b.Hash.Sum(dst)
	out[len(out)-1] ^= 1
	return out
}

// faulty returns a registry whose SHA-256 computes wrong digests.
func faulty(t *testing.T) *mech.Registry {
	t.Helper()
	r, err := all.Registry() // one of our own
	require.NoError(t, err)
	sound := r.Mechanism(pkcs11.CKM_SHA256).Digest
	r.Mechanism(pkcs11.CKM_SHA256).Digest = func(param any) (hash.Hash, error) {
		h, err := sound(param)
		return broken{h}, err
	}
	return r
}

// TestAFaultTakesOutWhatDependsOnIt, for good, and nothing else.
func TestAFaultTakesOutWhatDependsOnIt(t *testing.T) {
	r := faulty(t)
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_SHA256, pkcs11.CKM_SHA256_HMAC, pkcs11.CKM_SHA256_RSA_PKCS, pkcs11.CKM_ECDSA_SHA256} {
		err := r.Mechanism(m).Ready()
		require.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err), "%v: %v", m, err)
		require.ErrorContains(t, err, "SHA256")
	}
	require.NoError(t, r.Mechanism(pkcs11.CKM_SHA384).Ready())
	require.NoError(t, r.Mechanism(pkcs11.CKM_AES_GCM).Ready())

	sound, err := all.Full()
	require.NoError(t, err)
	r.Mechanism(pkcs11.CKM_SHA256).Digest = sound.Mechanism(pkcs11.CKM_SHA256).Digest
	require.Error(t, r.Mechanism(pkcs11.CKM_SHA256).Ready(), "it has recovered")
	require.NoError(t, sound.Mechanism(pkcs11.CKM_SHA256).Ready(), "another registry")
}

// TestAWrongAnswerIsFound: there is no line of answers.txt whose last number its test does not look at.
func TestAWrongAnswerIsFound(t *testing.T) {
	r, err := all.Full()
	require.NoError(t, err)
	for _, name := range selftest.AnswerNames(t) {
		tests := selftest.WithWrongAnswer(t, r, name)
		require.NotEmpty(t, tests, "nobody uses the answer %s", name)
		for _, s := range tests {
			assert.Error(t, s.Passed(), "%s passes with a wrong number in the answer %s", s.Name, name)
		}
	}
}

func TestAPanicIsAFailure(t *testing.T) {
	s := mech.NewSelfTest("x", "", func() error { panic("y") })
	for range 2 {
		err := s.Passed()
		require.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err))
		assert.ErrorContains(t, err, "y")
	}
}

// TestManyMayComeAtOnce: all wait for the one run.
func TestManyMayComeAtOnce(t *testing.T) {
	r, err := all.Registry()
	require.NoError(t, err)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for _, s := range selftest.Of(r) {
				assert.NoError(t, s.Passed())
			}
		})
	}
	wait.Wait()
}
