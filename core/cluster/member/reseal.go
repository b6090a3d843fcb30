package member

import (
	"context"
	"fmt"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
)

// Reseal puts the root key of a stopped node under another method. The root leaves memory at no time, and the old form is
// replaced as a whole: after a crash there is the one or the other.
func Reseal(ctx context.Context, dir string, from, to custody.Method) error {
	s, err := openState(dir, false)
	if err != nil {
		return err
	}
	defer s.Close()
	id, err := s.identity()
	if err != nil {
		return err
	}
	sealed, err := s.read(fileRoot)
	if err != nil {
		return fmt.Errorf("the sealed root key cannot be read: %w; put it back from a backup", err)
	}
	fresh, err := custody.Rewrap(ctx, sealed, custody.Binding{Cluster: id.Cluster, Member: id.Member}, from, to)
	if err != nil {
		return err
	}
	return s.write(fileRoot, fresh)
}
