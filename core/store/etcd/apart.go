package etcd

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/store"
)

// The records that are not mirrored.

// isApart reports whether a key, or all keys with a prefix, are kept apart.
func (s *Store) isApart(key string) bool { return s.apart != "" && strings.HasPrefix(key, s.apart) }

func (s *Store) getApart(ctx context.Context, key string) (store.Record, error) {
	within, cancel := s.bounded(ctx)
	defer cancel()
	r, err := s.kv.Get(within, s.prefix+key)
	if err != nil {
		return store.Record{}, s.failure(ctx, err)
	}
	if len(r.Kvs) == 0 {
		return store.Record{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	kv := r.Kvs[0]
	return store.Record{Key: key, Value: kv.Value, Created: kv.CreateRevision, Modified: kv.ModRevision}, nil
}

func (s *Store) listApart(ctx context.Context, prefix string) ([]store.Record, int64, error) {
	var records []store.Record
	from := s.prefix + prefix
	header, err := s.pages(ctx, span{from: from, end: clientv3.GetPrefixRangeEnd(from), only: true}, func(kv *mvccpb.KeyValue) {
		if key := s.own(kv.Key); store.CheckKey(key) == nil {
			records = append(records, store.Record{Key: key, Created: kv.CreateRevision, Modified: kv.ModRevision})
		}
	})
	if err != nil {
		return nil, 0, s.failure(ctx, err)
	}
	return records, header.Revision, nil
}
