// Package migrate tests `coffer migrate` on tokens that the real SoftHSM2 has made: with softhsm2-util, with pkcs11-tool, and
// with calls of its library for what these cannot do.
package migrate

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

const (
	softModule = "/usr/lib/softhsm/libsofthsm2.so"
	softPIN    = "soft-pin-1234"
	softSOPIN  = "soft-officer-1234"
)

// soft is a token of SoftHSM2.
type soft struct {
	t      *testing.T
	dir    string
	tokens string
}

func newSoft(t *testing.T) *soft {
	t.Helper()
	harness.Need(t, "softhsm2-util")
	s := &soft{t: t, dir: t.TempDir()}
	s.tokens = filepath.Join(s.dir, "tokens")
	require.NoError(t, os.Mkdir(s.tokens, 0o700))
	conf := filepath.Join(s.dir, "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+s.tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	s.run("softhsm2-util", "--init-token", "--free", "--label", "old", "--pin", softPIN, "--so-pin", softSOPIN)
	return s
}

func (s *soft) run(name string, args ...string) {
	s.t.Helper()
	harness.Need(s.t, name)
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(s.t, err, "%s %v: %s", name, args, out)
}

// tool is pkcs11-tool on the token.
func (s *soft) tool(args ...string) {
	s.t.Helper()
	s.run("pkcs11-tool", append([]string{"--module", softModule, "--token-label", "old", "--login", "--pin", softPIN}, args...)...)
}

// sum is what the files of the objects hold: nothing may change there. SoftHSM2's library itself writes token.object when
// somebody logs in.
func (s *soft) sum() [32]byte {
	s.t.Helper()
	h := sha256.New()
	for _, path := range s.objects() {
		b, err := os.ReadFile(path)
		require.NoError(s.t, err)
		h.Write([]byte(path))
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

// objects are the files of the token's objects.
func (s *soft) objects() []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.tokens, "*", "????????-*.object"))
	require.NoError(s.t, err)
	return files
}

// library is a logged-in session of SoftHSM2's library; it ends with f.
func (s *soft) library(f func(c *p11.Ctx, session p11.SessionHandle)) {
	s.t.Helper()
	c := p11.New(softModule)
	require.NotNil(s.t, c)
	defer c.Destroy()
	require.NoError(s.t, c.Initialize())
	defer c.Finalize()
	slots, err := c.GetSlotList(true)
	require.NoError(s.t, err)
	session, err := c.OpenSession(slots[0], p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	require.NoError(s.t, err)
	require.NoError(s.t, c.Login(session, p11.CKU_USER, softPIN))
	f(c, session)
}

type attrs = []*p11.Attribute

func a(t uint, v any) *p11.Attribute { return p11.NewAttribute(t, v) }

// pair makes a key pair by the library.
func pair(t *testing.T, c *p11.Ctx, s p11.SessionHandle, mechanism uint, label string, id byte, public, private attrs) {
	t.Helper()
	head := attrs{a(p11.CKA_TOKEN, true), a(p11.CKA_LABEL, label), a(p11.CKA_ID, []byte{id})}
	_, _, err := c.GenerateKeyPair(s, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)},
		append(append(attrs{a(p11.CKA_VERIFY, true), a(p11.CKA_PRIVATE, false)}, head...), public...),
		append(append(attrs{a(p11.CKA_SIGN, true), a(p11.CKA_PRIVATE, true)}, head...), private...))
	require.NoError(t, err, label)
}

// secretKey makes a secret key by the library, which wraps nothing: SoftHSM2's own default is that it may.
func secretKey(t *testing.T, c *p11.Ctx, s p11.SessionHandle, mechanism uint, label string, id byte, more ...*p11.Attribute) {
	t.Helper()
	_, err := c.GenerateKey(s, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)},
		append(attrs{a(p11.CKA_TOKEN, true), a(p11.CKA_PRIVATE, true), a(p11.CKA_LABEL, label), a(p11.CKA_ID, []byte{id}), a(p11.CKA_WRAP, false)}, more...))
	require.NoError(t, err, label)
}

// find returns an object by class and id.
func find(t *testing.T, c *p11.Ctx, s p11.SessionHandle, class uint, id byte) p11.ObjectHandle {
	t.Helper()
	require.NoError(t, c.FindObjectsInit(s, attrs{a(p11.CKA_CLASS, class), a(p11.CKA_ID, []byte{id})}))
	found, _, err := c.FindObjects(s, 2)
	require.NoError(t, err)
	require.NoError(t, c.FindObjectsFinal(s))
	require.Len(t, found, 1, "objects of class %d with the id %02x", class, id)
	return found[0]
}

// object and report are what coffer migrate says in JSON.
type object struct {
	Result, Class, Type, Label, ID, Way, Proof, Reason, Hint string
	Notes                                                    []string
}

type report struct {
	Source                       string
	DryRun                       bool `json:"dry_run"`
	Moved, There, Unproven, Left int
	Objects                      []object
}

func (r report) of(class, label string) object {
	for _, o := range r.Objects {
		if o.Class == class && o.Label == label {
			return o
		}
	}
	return object{}
}

// migrate runs the command and returns its report and exit code.
func migrate(t *testing.T, k *harness.Token, pin string, args ...string) (r report, code int, stderr string) {
	t.Helper()
	return migrateEnv(t, k, []string{"COFFER_FROM_PIN=" + pin}, args...)
}

func migrateEnv(t *testing.T, k *harness.Token, env []string, args ...string) (r report, code int, stderr string) {
	t.Helper()
	cmd := k.Command(t, harness.Coffer(t), append([]string{"migrate", "--output", "json"}, args...)...)
	cmd.Env = k.Env(env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, stderr = exit.ExitCode(), string(exit.Stderr)
	} else {
		require.NoError(t, err)
	}
	if len(out) > 0 {
		require.NoError(t, json.Unmarshal(out, &r), "%s", out)
	}
	return r, code, stderr
}

// keys counts what the token lists.
func keys(t *testing.T, k *harness.Token) (n int) {
	t.Helper()
	cmd := k.Command(t, harness.Coffer(t), "key", "list", "--output", "json")
	out, err := cmd.Output()
	require.NoError(t, err)
	var list struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal(out, &list))
	return len(list.Keys)
}
