package ceremonies

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

const (
	usualKeys = 3000 // COFFER_KEYS is another number
	makers    = 64
	mostBytes = 600 << 20 // of memory that a node with 100,000 keys may take
	mostStart = 30 * time.Second
)

// TestNodeWithManyKeys: what a node takes that holds many private keys, from its start until a key of a user is used.
func TestNodeWithManyKeys(t *testing.T) {
	keys := usualKeys
	if s := os.Getenv("COFFER_KEYS"); s != "" {
		var err error
		keys, err = strconv.Atoi(s)
		require.NoError(t, err, "COFFER_KEYS")
	}
	c := newCluster(t)
	defer c.end()
	n := c.place(t, "many")
	code := c.create(t, n)
	n.start(t)
	n.serves(t)
	c.activate(t, n, code)
	k, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: patience})
	require.NoError(t, err)
	defer k.Close()
	cred := user(t, k)
	began := time.Now()
	var left, failed atomic.Int64
	left.Store(int64(keys))
	var wg sync.WaitGroup
	for range makers {
		wg.Go(func() {
			for i := left.Add(-1); i >= 0 && failed.Load() == 0; i = left.Add(-1) {
				if _, _, err := k.GenerateKeyPair(context.Background(), cred, ck.Mechanism{Type: ck.CKM_EC_KEY_PAIR_GEN},
					ck.Template{{Type: ck.CKA_EC_PARAMS, Value: p256}, {Type: ck.CKA_VERIFY, Value: true}},
					ck.Template{{Type: ck.CKA_TOKEN, Value: true}, ck.AttrString(ck.CKA_LABEL, fmt.Sprint("key-", i)), {Type: ck.CKA_SIGN, Value: true}}); err != nil {
					failed.Add(1)
					t.Errorf("key %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	t.Logf("%d keys were made in %v", keys, time.Since(began).Round(time.Millisecond))

	n.kill()
	began = time.Now()
	n.start(t)
	n.serves(t)
	served := time.Since(began)
	cred = user(t, k)
	found, err := k.Find(t.Context(), cred, ck.Template{ck.AttrString(ck.CKA_LABEL, fmt.Sprint("key-", keys/2))})
	require.NoError(t, err)
	require.Len(t, found, 1)
	op, err := k.Begin(t.Context(), cred, hsm.OpSign, ck.Mechanism{Type: ck.CKM_ECDSA}, found[0])
	require.NoError(t, err)
	defer op.Close()
	_, err = op.Finish(t.Context(), nil, make([]byte, 32))
	require.NoError(t, err)
	t.Logf("it serves after %v, and has signed after %v", served.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	now, peak := n.memory(t, "VmRSS"), n.memory(t, "VmHWM")
	t.Logf("it takes %d MiB of memory, and took %d at most", now>>20, peak>>20)
	require.Less(t, served, mostStart)
	require.Less(t, peak, mostBytes)
}

// p256 is the curve's name in DER.
var p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// memory reads a size of the daemon's process from the kernel, in bytes.
func (n *node) memory(t testing.TB, what string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatalf("the kernel does not tell %s", what)
	return 0
}
