package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeadlineEndsAsContextsDo(t *testing.T) {
	for name, wait := range map[string]bool{"asked": false, "waited for": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(context.Background(), t, "value"))
				make := func(after time.Duration) *deadline {
					d := &deadline{parent: parent, at: time.Now().Add(after)}
					if wait {
						require.Nil(t, d.Err())
						select {
						case <-d.Done():
							require.Fail(t, "ended before its time")
						default:
						}
					}
					return d
				}
				d := make(time.Second)
				require.Equal(t, "value", d.Value(t))
				at, ok := d.Deadline()
				require.True(t, ok)
				require.Equal(t, time.Second, time.Until(at))
				require.NoError(t, d.Err())
				time.Sleep(time.Second)
				synctest.Wait()
				require.ErrorIs(t, d.Err(), context.DeadlineExceeded)
				<-d.Done()
				d.end()

				d = make(time.Second)
				child, stop := context.WithTimeout(d, time.Hour)
				defer stop()
				d.end()
				d.end()
				require.ErrorIs(t, d.Err(), context.Canceled)
				<-d.Done()
				<-child.Done()

				d = make(time.Second)
				cancel()
				synctest.Wait()
				require.ErrorIs(t, d.Err(), context.Canceled)
				<-d.Done()
				d.end()
			})
		})
	}
}
