package conformance

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The stacks in this process: the machine over the engine, on a store of the test's own. Nothing is shared.
var (
	memory     = inProcess("mem", inMemory)
	sqliteFile = inProcess("sqlite", func(t *testing.T) opener { return inFile(sqlitePath(t)) })
)

// sqlitePath is where the token of a test is: its temporary folder's parent is the test's own.
func sqlitePath(t *testing.T) string {
	return filepath.Join(filepath.Dir(t.TempDir()), "token.db")
}

// opener opens a token's store, as engine.Options wants it.
type opener func(create bool) (store.Store, error)

// kept is a store in memory that outlives C_Finalize.
type kept struct{ store.Store }

func (kept) Close() error { return nil }

func inMemory(*testing.T) opener {
	var s store.Store
	return func(create bool) (store.Store, error) {
		if s == nil && !create {
			return nil, store.ErrNotFound
		}
		if s == nil {
			s = kept{mem.New()}
		}
		return s, nil
	}
}

func inFile(path string) opener {
	return func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) }
}

// cheap makes PIN checks quick.
var cheap = vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1}

// roomy is the policy of the stacks: the battery asks everything of one key, and of what is dead.
var roomy = policy.Policy{WrapAndDecrypt: true, Legacy: true}

func inProcess(name string, make func(*testing.T) opener) *Stack {
	return inProcessUnder(name, roomy, make)
}

func inProcessUnder(name string, p policy.Policy, make func(*testing.T) opener) *Stack {
	return &Stack{
		Name: name,
		Bare: func(t *testing.T) Module { return bare(t, p, make(t)) },
		Open: func(t *testing.T) Module {
			l := bare(t, p, make(t))
			require.NoError(t, l.Initialize(nil))
			setUp(t, l)
			return l
		},
	}
}

// bare returns a library over one slot.
func bare(t *testing.T, p policy.Policy, open opener) *cryptoki.Library {
	t.Helper()
	registry, err := all.Full() // the suite executes what is not offered by default too
	require.NoError(t, err)
	l := cryptoki.New(cryptoki.Options{
		Version: release.Number(),
		Slots: func() ([]cryptoki.Slot, error) {
			return []cryptoki.Slot{{Description: "conformance", Open: func() (hsm.HSM, error) {
				return engine.New(engine.Options{OpenStore: open, Mechanisms: registry, Policy: p, KDF: cheap, Log: func(err error) { t.Log(err) }})
			}}}, nil
		},
	})
	t.Cleanup(func() { l.Finalize(false) })
	return l
}

// setUp initialises the token of the first slot and sets the user's PIN.
func setUp(t *testing.T, m Module) {
	t.Helper()
	slots, err := m.GetSlotList(true)
	require.NoError(t, err)
	require.Equal(t, []uint{0}, slots)
	require.NoError(t, m.InitToken(0, soPIN, tokenLabel))
	h, err := m.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, m.Login(h, pkcs11.CKU_SO, soPIN))
	require.NoError(t, m.InitPIN(h, userPIN))
	require.NoError(t, m.CloseSession(h))
}
