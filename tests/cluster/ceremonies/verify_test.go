package ceremonies

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVerifyWhileTheTokenIsChanged: copies that are the same are never called different, whatever comes in between.
func TestVerifyWhileTheTokenIsChanged(t *testing.T) {
	c := shared(t)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for j, v := range c.views(t) {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				made, err := v.Create(t.Context(), v.cred, secretKey(fmt.Sprintf("verify-%d-%d", j, i), make([]byte, 32), true))
				if !assert.NoError(t, err) || !assert.NoError(t, v.Destroy(t.Context(), v.cred, made)) {
					return
				}
			}
		})
	}
	compared := 0
	for range 8 {
		o := c.try(t, "cluster", "verify")
		switch o.code {
		case 0:
			compared++
		case 6:
			require.Contains(t, o.err, "could not be compared")
		default:
			t.Errorf("exit code %d: %s%s", o.code, o.out, o.err)
		}
	}
	close(stop)
	writers.Wait()
	t.Logf("%d of 8 were of one revision", compared)
	c.verified(t)
}
