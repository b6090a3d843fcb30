package migrate

import (
	"fmt"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestThousandKeysAndAKill: whoever is killed on the way goes on where he was, and nothing is there twice.
func TestThousandKeysAndAKill(t *testing.T) {
	const pairs, secrets = 250, 500
	s := newSoft(t)
	s.library(func(c *p11.Ctx, session p11.SessionHandle) {
		id := func(label string) *p11.Attribute { return a(p11.CKA_ID, []byte(label)) }
		for i := range pairs {
			label := fmt.Sprint("pair ", i)
			pair(t, c, session, p11.CKM_EC_KEY_PAIR_GEN, label, 0, attrs{a(p11.CKA_EC_PARAMS, p256), id(label)}, attrs{a(p11.CKA_SENSITIVE, true), id(label)})
		}
		for i := range secrets {
			label := fmt.Sprint("secret ", i)
			secretKey(t, c, session, p11.CKM_AES_KEY_GEN, label, 0, id(label), a(p11.CKA_VALUE_LEN, 32), a(p11.CKA_ENCRYPT, true))
		}
	})
	const all = 2*pairs + secrets
	var k *harness.Token
	there := all
	for tries := 0; there == all; tries++ { // a busy machine may not look before all have arrived
		require.Less(t, tries, 5, "it was done before it could be killed")
		k = harness.NewToken(t, "new")
		cmd := k.Command(t, harness.Coffer(t), "migrate", "--from-softhsm", s.tokens)
		cmd.Env = k.Env("COFFER_FROM_PIN=" + softPIN)
		require.NoError(t, cmd.Start())
		for begun := time.Now(); keys(t, k) == 0; {
			require.Less(t, time.Since(begun), 2*time.Minute, "nothing arrives")
		}
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		there = keys(t, k)
	}

	began := time.Now()
	r, code, stderr := migrate(t, k, softPIN, "--from-softhsm", s.tokens)
	took := time.Since(began)
	require.Zero(t, code, stderr)
	require.Equal(t, there, r.There)
	require.Equal(t, all-there, r.Moved)
	require.Equal(t, all, keys(t, k))
	require.Less(t, took, 4*time.Minute, "moving a thousand objects")
	t.Logf("%d objects were there after the kill, %d more took %v", there, r.Moved, took)
}
