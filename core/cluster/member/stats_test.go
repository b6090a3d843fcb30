package member

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// unread is a store whose lists do not come, or are empty.
type unread struct {
	store.Store
	err error
}

func (s unread) Changed() uint64 { return 1 }

func (s unread) List(context.Context, string) ([]store.Record, int64, error) { return nil, 1, s.err }

// TestNodeThatCouldNotReadTheListSaysThat, and not that it was removed: that is for who is not in a list that was read.
func TestNodeThatCouldNotReadTheListSaysThat(t *testing.T) {
	why := errors.New("the disk makes a noise")
	s := &unread{err: why}
	m := &Member{cluster: &etcd.Store{}, records: &records{store: s}, alive: newAlive(nil, "", "m", Timing{}, time.Now, slog.Default())}
	m.id.Member = "m"
	err := m.Ready()
	require.ErrorIs(t, err, why)
	require.NotErrorIs(t, err, ErrRemoved)
	require.Empty(t, m.Members().Members)
	s.err = nil
	require.ErrorIs(t, m.Ready(), ErrRemoved)
}
