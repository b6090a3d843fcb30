package migrate

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestCofferIsASourceToo: through Coffer's own library, by each way of wrapping that its policy leaves.
func TestCofferIsASourceToo(t *testing.T) {
	from := harness.NewToken(t, "from")
	for _, args := range [][]string{
		{"--type", "ec:p256", "--label", "web", "--extractable"},
		{"--type", "aes:256", "--label", "backup", "--extractable"},
		{"--type", "rsa:2048", "--label", "ca"},
	} {
		from.Run(t, harness.Coffer(t), append([]string{"key", "generate"}, args...)...)
	}
	slot, err := os.ReadFile(from.Conf)
	require.NoError(t, err)
	for _, c := range []struct{ name, policy, way string }{
		{"KWP", "", "CKM_AES_KEY_WRAP_KWP"},
		{"PAD", `deny = ["CKM_AES_KEY_WRAP_KWP"]`, "CKM_AES_KEY_WRAP_PAD"},
		{"PKCS7", `deny = ["CKM_AES_KEY_WRAP_KWP", "CKM_AES_KEY_WRAP_PAD"]`, "CKM_AES_KEY_WRAP_PKCS7"},
		{"CBC", `deny = ["CKM_AES_KEY_WRAP*"]`, "CKM_AES_CBC_PAD"},
		{"none", `deny = ["CKM_RSA_PKCS_OAEP"]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(from.Conf, append(append([]byte{}, slot...), "[slot.policy]\n"+c.policy+"\n"...), 0o600))
			k := harness.NewToken(t, "to")
			r, code, stderr := migrateEnv(t, k, []string{"COFFER_CONF=" + from.Conf, "COFFER_FROM_PIN=" + harness.UserPIN},
				"--config", k.Conf, "--from-module", harness.Module(t))
			require.Equal(t, 1, code, stderr)
			require.Contains(t, r.of("private", "ca").Reason, "CKA_EXTRACTABLE is false")
			if c.way == "" {
				require.Contains(t, r.of("private", "web").Reason, "share no way to wrap keys")
				require.Equal(t, []int{2, 0, 0, 3}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
				return
			}
			require.Equal(t, []int{4, 0, 0, 1}, []int{r.Moved, r.There, r.Unproven, r.Left}, "%+v", r.Objects)
			for _, o := range []object{r.of("private", "web"), r.of("secret", "backup")} {
				require.Equal(t, c.way, o.Way)
				require.NotEmpty(t, o.Proof)
			}
		})
	}
}
