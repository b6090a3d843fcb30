package engine_test

import (
	"crypto/fips140"
	"errors"
	"hash"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// openBroken opens a token whose SHA-256 does not work, and returns what its log was told.
func openBroken(t *testing.T, p policy.Policy) (e *engine.Engine, told *[]error, err error) {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	registry.Mechanism(pkcs11.CKM_SHA256).Digest = func(any) (hash.Hash, error) { return nil, errors.New("a fault") }
	told = new([]error)
	path := filepath.Join(t.TempDir(), "token.db")
	e, err = engine.New(engine.Options{
		OpenStore:  func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) },
		Mechanisms: registry,
		Policy:     p,
		KDF:        vault.KDFFor(p.FIPS),
		Log:        func(err error) { *told = append(*told, err) },
	})
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, told, err
}

// TestAFailedSelfTestRefusesTheMechanism, each time, tells the log of it once, and leaves others alone.
func TestAFailedSelfTestRefusesTheMechanism(t *testing.T) {
	e, told, err := openBroken(t, policy.Policy{})
	require.NoError(t, err)
	digest := func(m pkcs11.MechanismType) error {
		op, err := e.Begin(ctx, nil, hsm.OpDigest, pkcs11.Mechanism{Type: m}, nil)
		if err == nil {
			op.Close()
		}
		return err
	}
	for range 3 {
		rv(t, pkcs11.CKR_DEVICE_ERROR, digest(pkcs11.CKM_SHA256))
		require.NoError(t, digest(pkcs11.CKM_SHA384))
	}
	require.Len(t, *told, 1)
	require.ErrorContains(t, (*told)[0], "self-test SHA256 has failed")
}

// TestFIPSModeTestsAllBeforeItOpens, in a process of its own that is in FIPS mode.
func TestFIPSModeTestsAllBeforeItOpens(t *testing.T) {
	if !fips140.Enabled() {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	_, told, err := openBroken(t, policy.Policy{FIPS: true})
	rv(t, pkcs11.CKR_FIPS_SELF_TEST_FAILED, err)
	require.Len(t, *told, 1)
}
