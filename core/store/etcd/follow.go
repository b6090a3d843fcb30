package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/store"
)

const (
	firstPause = 20 * time.Millisecond // before a watch that ended is begun again
	mostPause  = time.Second
	askWithin  = time.Second // a request for progress that the stream does not take by then is given up
)

var errEnded = errors.New("etcd: the watch ended")

// run keeps the mirror up to date until the store is stopped.
func (s *Store) run() {
	defer close(s.done)
	pause := firstPause
	for {
		before := s.Applied()
		err := s.follow()
		if errors.Is(err, rpctypes.ErrCompacted) {
			err = s.load(s.ctx)
		}
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		s.report(err)
		if s.Applied() != before {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		pause = min(2*pause, mostPause)
	}
}

// report notes the trouble of following, or with nil that there is none.
func (s *Store) report(err error) {
	if err == nil {
		s.trouble.Store(nil)
		return
	}
	err = fmt.Errorf("%w: cannot follow etcd's changes after revision %d: %v", store.ErrUnavailable, s.Applied(), err)
	if s.trouble.Swap(&err) == nil {
		s.log(err)
	}
}

// follow applies what a watch brings until it ends. The client resumes a watch by itself while there are servers that
// answer; the watch is ended by a compaction, and by a server without a leader, so that another one is tried.
// The stream is this watch's own: progress is asked of it alone, and it is made where the client now is. nil: the client
// has moved.
func (s *Store) follow() error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(s.ctx))
	defer cancel()
	moved := s.moved()
	watcher := clientv3.NewWatcher(s.client)
	defer watcher.Close()
	responses := watcher.Watch(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(s.Applied()+1),
		clientv3.WithFragment(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for {
		select {
		case r, ok := <-responses:
			if !ok {
				return errEnded
			}
			if err := r.Err(); err != nil {
				return err
			}
			if err := s.take(&r); err != nil {
				return err
			}
			s.report(nil)
		case <-moved:
			return nil
		case <-s.nudge:
			// Without an answer, because the server is itself behind, whoever waits will nudge again.
			_ = askProgress(ctx, watcher)
		}
	}
}

func askProgress(ctx context.Context, w clientv3.Watcher) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return w.RequestProgress(ctx)
}

// take applies one response. The client has put its fragments together. The header's revision counts only when there
// are no events: beside events it is the server's, which may have more to send.
func (s *Store) take(r *clientv3.WatchResponse) error {
	switch {
	case r.Created:
		// A server that is behind the mirror will catch up, or it was put back: the cluster knows.
		if r.Header.Revision < s.Applied() || r.Header.ClusterId != s.cluster {
			_, err := s.current(s.ctx)
			return err
		}
	case r.IsProgressNotify():
		s.mirror.apply(nil, r.Header.Revision)
	case len(r.Events) > 0:
		s.mirror.apply(s.changes(r.Events), r.Events[len(r.Events)-1].Kv.ModRevision)
	}
	return nil
}

// own is a key without the prefix, in memory of its own: it is kept for as long as the record.
func (s *Store) own(key []byte) string { return string(bytes.TrimPrefix(key, []byte(s.prefix))) }

func (s *Store) changes(events []*clientv3.Event) []change {
	changes := make([]change, 0, len(events))
	for _, e := range events {
		key := s.own(e.Kv.Key)
		if store.CheckKey(key) != nil || s.isApart(key) {
			continue
		}
		c := change{key: key, modified: e.Kv.ModRevision}
		if e.Type != mvccpb.Event_DELETE {
			c.value, c.created = e.Kv.Value, e.Kv.CreateRevision
		}
		changes = append(changes, c)
	}
	return changes
}

// sameHistory ends the store if an answer that etcd vouches for is of another cluster, or is older than the revision that
// the mirror had before it was asked.
func (s *Store) sameHistory(h *pb.ResponseHeader, before int64) error {
	if h.ClusterId == s.cluster && h.Revision >= before {
		return nil
	}
	err := fmt.Errorf("%w (cluster %x at revision %d, known is cluster %x at %d)", ErrReplaced, h.ClusterId, h.Revision, s.cluster, before)
	s.stop(err)
	s.mirror.touch()
	s.log(err)
	return err
}
