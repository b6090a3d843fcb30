package interop

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// tokenKey is a key or certificate as `coffer key show` tells it.
type tokenKey struct {
	Class       string         `json:"class"`
	Label       string         `json:"label"`
	UniqueID    string         `json:"unique_id"`
	Sensitive   bool           `json:"sensitive"`
	Extractable bool           `json:"extractable"`
	Attributes  map[string]any `json:"attributes"`
}

// tokenKeys are all keys and certificates of the token.
func tokenKeys(t *testing.T, k *harness.Token) []tokenKey {
	t.Helper()
	coffer := harness.Coffer(t)
	ask := func(args ...string) []tokenKey {
		var answer struct{ Keys []tokenKey }
		b := k.Run(t, coffer, append([]string{"key", "--output", "json"}, args...)...)
		require.NoError(t, json.Unmarshal([]byte(b), &answer), b)
		return answer.Keys
	}
	var all []tokenKey
	for _, o := range ask("list") {
		all = append(all, ask("show", "uid:"+o.UniqueID)...)
	}
	return all
}

// staysInside checks that no private or secret key of the token can leave it, and counts those that were made there.
func staysInside(t *testing.T, k *harness.Token) (made int) {
	t.Helper()
	for _, o := range tokenKeys(t, k) {
		if o.Class != "private" && o.Class != "secret" {
			continue
		}
		what := fmt.Sprintf("%+v", o)
		require.True(t, o.Sensitive, what)
		require.False(t, o.Extractable, what)
		if o.Attributes["CKA_LOCAL"] == true {
			require.Equal(t, true, o.Attributes["CKA_ALWAYS_SENSITIVE"], what)
			require.Equal(t, true, o.Attributes["CKA_NEVER_EXTRACTABLE"], what)
			made++
		}
	}
	return made
}
