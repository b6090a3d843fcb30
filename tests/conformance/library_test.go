package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/conformance/cclient"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// library is the built library, loaded once into this process, as a client in C sees it.
//
// Its tests share one token: a PIN costs the library its full KDF, so one session stays open and logged in from test to
// test. A test that wants nobody to be logged in closes all sessions; the next one logs in again. Tests that change PINs
// have tokens of their own.
var library = &Stack{Name: "library", Open: loaded.open, Bare: loaded.bare}

var loaded loader

type loader struct {
	module *cModule
	dir    string // of the shared token
	shared bool   // the library shows the shared token
	anchor session
}

// load loads the library at its first use. It cannot be unloaded.
func (l *loader) load(t *testing.T) *cModule {
	t.Helper()
	if l.module == nil {
		lib, err := cclient.Load(harness.Module(t))
		require.NoError(t, err)
		l.module = &cModule{lib: lib, pending: map[string]*cCall{}}
	}
	return l.module
}

// point makes the token in a folder the one that the next C_Initialize shows.
func (l *loader) point(t *testing.T, dir string) *cModule {
	t.Helper()
	conf := filepath.Join(dir, "coffer.toml")
	lines := fmt.Sprintf("[[slot]]\nid = 0\npath = %q\npolicy = { wrap_and_decrypt = true, legacy = true }\n", filepath.Join(dir, "token.db"))
	require.NoError(t, os.WriteFile(conf, []byte(lines), 0o600))
	require.NoError(t, os.Setenv("COFFER_CONF", conf))
	m := l.load(t)
	oneOf(t, m.Finalize(false), ck.CKR_OK, ck.CKR_CRYPTOKI_NOT_INITIALIZED)
	l.shared = false
	return m
}

// bare is for one test: the next one gets its own folder or the shared one.
func (l *loader) bare(t *testing.T) Module { return l.point(t, t.TempDir()) }

// ownToken are the tests that leave a token that others could not use.
var ownToken = []string{"TestSetPIN", "TestSetPINOfTheSO", "TestTheSOSetsThePINAndSeesNoPrivateObjects", "TestInitTokenErasesTheOldToken",
	"TestPINsOf4To32BytesAndMore", "TestWrongPINsLock", "TestLockoutSurvivesFinalize"}

func (l *loader) open(t *testing.T) Module {
	if test, _, _ := strings.Cut(t.Name(), "/"); slices.Contains(ownToken, test) {
		m := l.bare(t)
		require.NoError(t, m.Initialize(nil))
		setUp(t, m)
		return m
	}
	fresh := l.dir == ""
	if fresh {
		dir, err := os.MkdirTemp("", "coffer-conformance-")
		require.NoError(t, err)
		l.dir = dir
	}
	if !l.shared {
		require.NoError(t, l.point(t, l.dir).Initialize(nil))
		l.shared = true
	}
	if fresh {
		setUp(t, l.module)
	}
	if info, err := l.module.GetSessionInfo(l.anchor); err == nil && info.State == ck.CKS_RW_USER_FUNCTIONS {
		return l.module
	}
	require.NoError(t, l.module.CloseAllSessions(0))
	var err error
	l.anchor, err = l.module.OpenSession(0, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, l.module.Login(l.anchor, ck.CKU_USER, userPIN))
	return l.module
}

// remove deletes the shared token.
func (l *loader) remove() {
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}
