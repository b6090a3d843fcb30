package etcd

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/store"
)

// Commit implements store.Store by one transaction of etcd. It returns nil only when the mirror shows the commit. With
// ErrConflict the mirror has what the commit conflicted with, if it came in time: looking again is worth it.
//
// Besides what store.Store names, store.ErrInvalid is answered to values of more than MaxCommitBytes together, and
// store.ErrBusy by an etcd that has too much to do and changed nothing. After store.ErrUnavailable the outcome is
// unknown: the commit may be done, be done later, or never.
func (s *Store) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if err := check(compares, ops); err != nil {
		return 0, err
	}
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	within, cancel := s.bounded(ctx)
	defer cancel()
	before := s.Applied()
	r, err := s.kv.Txn(within).If(s.conditions(compares)...).Then(s.changesOf(ops)...).Else(s.look(compares)...).Commit()
	if err != nil {
		return 0, s.failure(ctx, err)
	}
	if err := s.sameHistory(r.Header, before); err != nil {
		return 0, err
	}
	if !r.Succeeded {
		_ = s.await(within, r.Header.Revision, 0) // the outcome is known whether or not the mirror is
		return 0, conflict(compares, r)
	}
	patience := eventPatience
	if !changed(r) {
		patience = 0 // no event will come
	}
	if err := s.await(within, r.Header.Revision, patience); err != nil {
		return 0, s.failure(ctx, err)
	}
	return r.Header.Revision, nil
}

func check(compares []store.Compare, ops []store.Op) error {
	if err := store.Check(compares, ops); err != nil {
		return err
	}
	size := 0
	for _, op := range ops {
		size += len(op.Value)
	}
	if size > MaxCommitBytes {
		return fmt.Errorf("%w: values of %d bytes in one commit, at most %d", store.ErrInvalid, size, MaxCommitBytes)
	}
	return nil
}

func (s *Store) conditions(compares []store.Compare) []clientv3.Cmp {
	conditions := make([]clientv3.Cmp, len(compares))
	for i, c := range compares {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(s.prefix+c.Key), "=", c.Modified) // 0 without a record
	}
	return conditions
}

// changesOf returns what the transaction does. One that does nothing reads: etcd takes a transaction without any
// operation for one that may be answered from a stale member.
func (s *Store) changesOf(ops []store.Op) []clientv3.Op {
	if len(ops) == 0 {
		return []clientv3.Op{clientv3.OpGet(s.prefix, clientv3.WithCountOnly())}
	}
	changes := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		if op.Delete {
			changes[i] = clientv3.OpDelete(s.prefix + op.Key)
		} else {
			changes[i] = clientv3.OpPut(s.prefix+op.Key, string(op.Value))
		}
	}
	return changes
}

// look reads the revisions that the compares are about, to tell which of them failed.
func (s *Store) look(compares []store.Compare) []clientv3.Op {
	reads := make([]clientv3.Op, len(compares))
	for i, c := range compares {
		reads[i] = clientv3.OpGet(s.prefix+c.Key, clientv3.WithKeysOnly())
	}
	return reads
}

func conflict(compares []store.Compare, r *clientv3.TxnResponse) error {
	for i, c := range compares {
		have := int64(0)
		if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			have = kvs[0].ModRevision
		}
		if have != c.Modified {
			return fmt.Errorf("%w: %s is at revision %d, expected %d", store.ErrConflict, c.Key, have, c.Modified)
		}
	}
	return store.ErrConflict
}

// changed reports whether a transaction that succeeded has a revision of its own.
func changed(r *clientv3.TxnResponse) bool {
	for _, o := range r.Responses {
		if o.GetResponsePut() != nil || o.GetResponseDeleteRange().GetDeleted() > 0 {
			return true
		}
	}
	return false
}

// atMostOnce keeps the client from sending a transaction a second time when the first may have been done: done twice, it
// would find its own change and look like a conflict.
//
// The client repeats a transaction by itself if there is no connection to send it by, if a server refuses it for a stale
// authentication token or because it is a learner, and if gRPC knows that the server did not take it up. None of these
// was done, and none is prevented here. But it also repeats after an answer Canceled or DeadlineExceeded while its
// context lasts; such an answer may come from a server (which gives up by its own clock, or is stopping) after the
// proposal went out. Ending the context then ends the repetition; the answer goes to the caller, as an unknown outcome.
type atMostOnce struct{ pb.KVClient }

func (o atMostOnce) Txn(ctx context.Context, in *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts = append(opts[:len(opts):len(opts)], grpc.OnFinish(func(err error) {
		if c := status.Code(err); c == codes.Canceled || c == codes.DeadlineExceeded {
			cancel()
		}
	}))
	return o.KVClient.Txn(ctx, in, opts...)
}
