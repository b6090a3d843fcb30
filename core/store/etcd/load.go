package etcd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/store"
)

const (
	pageBytes = 4 << 20 // about as much as a page of a list has
	firstPage = 64      // records of the first page, when nothing is known of their size
	mostPage  = 4096    // records of any page
	loadTries = 5       // lists that may be overtaken by a compaction
	pageTries = 5       // of one page, each smaller than the last
)

// load brings the mirror to a list of all records at one revision. It tells what vanished since the mirror's own
// revision as deleted at that of the list.
func (s *Store) load(ctx context.Context) error {
	var err error
	for range loadTries {
		err = s.loadOnce(ctx)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
	}
	return s.failure(ctx, err)
}

func (s *Store) loadOnce(ctx context.Context) error {
	m := &s.mirror
	first := m.compacted == 0
	round := m.rounds + 1
	m.rounds = round

	var changes []change
	header, err := s.mirrored(ctx, func(kv *mvccpb.KeyValue) {
		key := s.own(kv.Key)
		if store.CheckKey(key) != nil {
			return
		}
		if e := m.entries[key]; e != nil {
			e.seen = round
			if e.created != 0 && e.modified == kv.ModRevision {
				return
			}
		}
		changes = append(changes, change{key, kv.Value, kv.CreateRevision, kv.ModRevision})
	})
	if err != nil {
		return err
	}
	if first {
		s.cluster = header.ClusterId
	} else if err := s.sameHistory(header, m.applied.Load()); err != nil {
		return err
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.modified, b.modified) })
	if first {
		m.begin(changes, header.Revision)
		return nil
	}
	for e := m.live.head; e != nil; e = e.next {
		if e.seen != round {
			changes = append(changes, change{key: e.key, modified: header.Revision})
		}
	}
	m.apply(changes, header.Revision)
	return nil
}

// mirrored calls take for each key under the prefix that is not kept apart, all as of the revision of the header that it
// returns.
func (s *Store) mirrored(ctx context.Context, take func(*mvccpb.KeyValue)) (*pb.ResponseHeader, error) {
	end := clientv3.GetPrefixRangeEnd(s.prefix)
	if s.apart == "" {
		return s.pages(ctx, span{from: s.prefix, end: end}, take)
	}
	header, err := s.pages(ctx, span{from: s.prefix, end: s.prefix + s.apart}, take)
	if err != nil {
		return nil, err
	}
	_, err = s.pages(ctx, span{from: clientv3.GetPrefixRangeEnd(s.prefix + s.apart), end: end, revision: header.Revision}, take)
	return header, err
}

// span is the keys from from to before end.
type span struct {
	from, end string
	revision  int64 // as of which; 0: the newest
	only      bool  // without their values
}

// pages calls take for each of the keys, all as of the one revision of the header that it returns.
func (s *Store) pages(ctx context.Context, k span, take func(*mvccpb.KeyValue)) (*pb.ResponseHeader, error) {
	var header *pb.ResponseHeader
	limit, tries := firstPage, 0
	for {
		options := []clientv3.OpOption{clientv3.WithRange(k.end), clientv3.WithLimit(int64(limit)), clientv3.WithRev(k.revision)}
		if k.only {
			options = append(options, clientv3.WithKeysOnly())
		}
		r, err := s.page(ctx, k.from, options)
		if err != nil {
			// What has been read is of that revision and stays good: a server that is slow is asked for less.
			if tries++; k.revision == 0 || tries == pageTries || ctx.Err() != nil || errors.Is(err, rpctypes.ErrCompacted) {
				return nil, err
			}
			limit = max(limit/2, 1)
			continue
		}
		tries = 0
		if header == nil {
			header = r.Header
			if k.revision == 0 {
				k.revision = header.Revision
			}
		}
		size := 0
		for _, kv := range r.Kvs {
			size += len(kv.Key) + len(kv.Value)
			take(kv)
		}
		if !r.More || len(r.Kvs) == 0 {
			return header, nil
		}
		k.from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		limit = min(max(pageBytes/max(size/len(r.Kvs), 1), 1), mostPage)
	}
}

func (s *Store) page(ctx context.Context, from string, options []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if s.local != nil {
		return s.local.Get(ctx, from, append(options, clientv3.WithSerializable())...)
	}
	return s.kv.Get(ctx, from, options...)
}
