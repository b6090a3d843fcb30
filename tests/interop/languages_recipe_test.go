package interop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLanguageRecipes: what the pages say works when it is pasted. Rust's fetches packages.
func TestLanguageRecipes(t *testing.T) {
	for _, name := range []string{"csharp", "rust"} {
		t.Run(name, func(t *testing.T) {
			client(t, name)
			long(t) // with the client's other tests
			require.Contains(t, pasted(t, name), "64 bytes\n")
		})
	}
}
