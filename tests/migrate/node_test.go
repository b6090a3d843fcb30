package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// newNode starts a daemon whose token is the target, behind its socket.
func newNode(t *testing.T) *harness.Token {
	t.Helper()
	dir, err := os.MkdirTemp("", "cm") // short: the path of a socket has at most 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := harness.NewSlot(t)
	address := fmt.Sprint("127.0.0.1:", harness.FreePort(t))

	conf := filepath.Join(dir, "node.toml")
	var made struct {
		Code   string `json:"activation_code"`
		Socket string
	}
	out, err := k.Command(t, harness.Coffer(t), "cluster", "create", "--label", "new", "--store", "file", "--node-config", conf, "--name", "a",
		"--listen", address, "--state-dir", filepath.Join(dir, "state"), "--output", "json").Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &made), "%s", out)

	daemon := exec.Command(harness.Cofferd(t), "--config", conf)
	var said bytes.Buffer
	daemon.Stderr = &said
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, daemon.Start())
	t.Cleanup(func() {
		daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for begun := time.Now(); k.Command(t, harness.Coffer(t), "cluster", "status", "--socket", made.Socket).Run() != nil; {
		require.Less(t, time.Since(begun), 2*time.Minute, "the node does not serve: %s", &said)
		time.Sleep(50 * time.Millisecond)
	}
	with := func(env []string, args ...string) {
		cmd := k.Command(t, harness.Coffer(t), append(args, "--socket", made.Socket)...)
		cmd.Env = k.Env(env...)
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, b)
	}
	with([]string{"COFFER_SO_PIN=" + made.Code, "COFFER_NEW_PIN=" + harness.SOPIN}, "cluster", "activate")
	with([]string{"COFFER_NEW_PIN=" + harness.UserPIN}, "pin", "reset")
	require.NoError(t, os.WriteFile(k.Conf, []byte("[[slot]]\nid = 0\nsocket = \""+made.Socket+"\"\n"), 0o600))
	return k
}

// TestIntoANode moves both ways into a token that a daemon keeps: the keys of the session, of a dry run and of the wrapping,
// travel sealed there.
func TestIntoANode(t *testing.T) {
	s := newSoft(t)
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		hidden := attrs{a(p11.CKA_SENSITIVE, true), a(p11.CKA_EXTRACTABLE, true)}
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "wrapped", 1, attrs{a(p11.CKA_EC_PARAMS, p256)}, hidden)
		secretKey(t, c, session, p11.CKM_AES_KEY_GEN, "aes", 2, append(attrs{a(p11.CKA_VALUE_LEN, 32), a(p11.CKA_ENCRYPT, true)}, hidden...)...)
		pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, "kept", 3, attrs{a(p11.CKA_EC_PARAMS, p256)}, attrs{a(p11.CKA_SENSITIVE, true)})
	})
	k := newNode(t)
	r, code, stderr := migrate(t, k, softPIN, "--from-module", softModule, "--dry-run")
	require.Equal(t, 1, code, stderr)
	require.Equal(t, []int{4, 0, 0, 1}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	require.Zero(t, keys(t, k))
	r, code, stderr = migrate(t, k, softPIN, "--from-module", softModule)
	require.Equal(t, 1, code, stderr)
	require.Equal(t, []int{4, 0, 0, 1}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	require.Equal(t, "signature", r.of("private", "wrapped").Proof)
	r, code, stderr = migrate(t, k, softPIN, "--from-softhsm", s.tokens)
	require.Zero(t, code, stderr)
	require.Equal(t, []int{1, 4, 0, 0}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
	require.Equal(t, 5, keys(t, k))
}
