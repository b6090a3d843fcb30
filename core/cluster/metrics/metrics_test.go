package metrics

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/tally"
	"github.com/coffer-hsm/coffer/core/hsm"
)

// everything is of a node that has met all that there is.
func everything() Sources {
	var h tally.Histogram
	h.Observe(60 * time.Microsecond)
	h.Observe(time.Hour)
	n := node.Stats{Running: 1, Waiting: 2, Streams: 3, StreamsMost: 4, Opened: 5, Refused: map[string]uint64{}, Bytes: 6, BytesMost: 7,
		HSM: hsm.Counts{TokenObjects: 8, SessionObjects: 9, Users: 10, Locked: 11}}
	for _, name := range node.KindNames() {
		k := node.Kind{Name: name, Answers: map[string]uint64{}, Took: h.Read()}
		for _, answer := range node.AnswerNames() {
			k.Answers[answer] = 2
		}
		n.Kinds = append(n.Kinds, k)
	}
	for _, name := range node.RefusalNames() {
		n.Refused[name] = 1
	}
	c := member.Stats{States: map[string]int{}, Voters: 3, Votes: true, Leads: true, Quorum: true, Revision: 12, Unconfirmed: 1500 * time.Millisecond,
		Settled: h.Read(), GivenUp: 13, Fenced: 14}
	for _, state := range member.States() {
		c.States[state] = 1
	}
	ends := map[string]time.Time{}
	for _, name := range member.ExpiryNames() {
		ends[name] = time.Unix(1_800_000_000, 0)
	}
	return Sources{
		Node: func() node.Stats { return n }, Cluster: func() member.Stats { return c },
		Size: func() *member.Size { return &member.Size{Bytes: 15, Used: 14, Limit: 16} }, Expiries: func() map[string]time.Time { return ends },
	}
}

// told is what a registry tells, as Prometheus reads it.
func told(t testing.TB, r *Registry) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := r.Gather()
	require.NoError(t, err)
	var text bytes.Buffer
	for _, f := range list {
		_, err := expfmt.MetricFamilyToText(&text, f)
		require.NoError(t, err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	read, err := p.TextToMetricFamilies(&text)
	require.NoError(t, err)
	require.Len(t, read, len(list))
	return read
}

// TestNamesAreAsPrometheusWantsThem, by the linter of its own.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	r, s := New("1.2.3", func() error { return nil }), everything()
	few := s.Node()
	few.Kinds = few.Kinds[:1] // the linter compares each series with each
	s.Node = func() node.Stats { return few }
	r.Serve(s)
	list, err := r.Gather()
	require.NoError(t, err)
	require.Greater(t, len(list), 40)
	list = slices.DeleteFunc(list, func(f *dto.MetricFamily) bool { return f.GetName()[:7] != "coffer_" })
	problems, err := promlint.NewWithMetricFamilies(list).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestLabelsAreOfClosedSets: with everything that may be met, how many series there are is known.
func TestLabelsAreOfClosedSets(t *testing.T) {
	r := New("1.2.3", func() error { return nil })
	r.Serve(everything())
	closed, series := Labels(), 0
	for name, f := range told(t, r) {
		if name[:7] != "coffer_" || name == "coffer_build_info" {
			continue
		}
		series += len(f.Metric)
		for _, m := range f.Metric {
			for _, l := range m.Label {
				require.Contains(t, closed[l.GetName()], l.GetValue(), name)
			}
		}
	}
	kinds, answers := len(node.KindNames()), len(node.AnswerNames())
	require.Less(t, series, kinds*answers+kinds+60)
}

func TestValues(t *testing.T) {
	var notReady atomic.Bool
	r := New("1.2.3", func() error {
		if notReady.Load() {
			return errors.New("not now")
		}
		return nil
	})
	before := told(t, r)
	require.Contains(t, before, "go_goroutines")
	require.Contains(t, before, "process_resident_memory_bytes")
	require.NotContains(t, before, "coffer_requests_total", "the node does not serve yet")
	r.Serve(everything())
	got := told(t, r)
	for name, want := range map[string]float64{
		"coffer_ready": 1, "coffer_build_info": 1, "coffer_requests_running": 1, "coffer_requests_waiting": 2, "coffer_streams": 3, "coffer_streams_limit": 4,
		"coffer_request_bytes": 6, "coffer_request_limit_bytes": 7, "coffer_token_objects": 8, "coffer_session_objects_cached": 9, "coffer_users": 10,
		"coffer_users_locked": 11, "coffer_cluster_revision": 12, "coffer_store_bytes": 15, "coffer_store_used_bytes": 14, "coffer_store_limit_bytes": 16,
		"coffer_cluster_voters": 3, "coffer_cluster_votes": 1, "coffer_cluster_leads": 1, "coffer_cluster_quorum": 1, "coffer_cluster_unconfirmed_seconds": 1.5,
		"coffer_certificate_expiry_timestamp_seconds": 1_800_000_000, "coffer_cluster_members": 1,
	} {
		require.Contains(t, got, name)
		require.Equal(t, want, got[name].Metric[0].GetGauge().GetValue(), name)
	}
	for name, want := range map[string]float64{
		"coffer_requests_total": 2, "coffer_streams_opened_total": 5, "coffer_connections_refused_total": 1, "coffer_changes_unsettled_total": 13,
		"coffer_leases_ended_total": 14, "coffer_logins_failed_total": 2 * float64(len(node.KindNames())),
	} {
		require.Equal(t, want, got[name].Metric[0].GetCounter().GetValue(), name)
	}
	require.Len(t, got["coffer_logins_failed_total"].Metric, 2)
	for _, name := range []string{"coffer_request_duration_seconds", "coffer_change_settle_seconds"} {
		h := got[name].Metric[0].GetHistogram()
		require.EqualValues(t, 2, h.GetSampleCount())
		require.InDelta(t, 3600, h.GetSampleSum(), 0.001)
		require.Len(t, h.Bucket, len(tally.Bounds)+1)
		require.Equal(t, 50e-6, h.Bucket[0].GetUpperBound())
		require.Zero(t, h.Bucket[0].GetCumulativeCount())
		require.EqualValues(t, 1, h.Bucket[1].GetCumulativeCount())
		require.Equal(t, 10.0, h.Bucket[len(tally.Bounds)-1].GetUpperBound())
		require.EqualValues(t, 1, h.Bucket[len(tally.Bounds)-1].GetCumulativeCount())
	}
	notReady.Store(true)
	require.Zero(t, told(t, r)["coffer_ready"].Metric[0].GetGauge().GetValue())
}

// TestAClustersNodeHasNoMajorityUntilItServes, and says so in each scrape; then it says what is so.
func TestAClustersNodeHasNoMajorityUntilItServes(t *testing.T) {
	r, s := New("1.2.3", func() error { return errors.New("not yet") }), everything()
	r.Wait()
	before := told(t, r)
	require.Contains(t, before, "coffer_cluster_quorum")
	require.Zero(t, before["coffer_cluster_quorum"].Metric[0].GetGauge().GetValue())
	require.NotContains(t, before, "coffer_cluster_voters")

	var missing atomic.Int64
	var scrapes sync.WaitGroup
	served := make(chan struct{})
	for range 4 {
		scrapes.Go(func() {
			for last := false; !last; {
				select {
				case <-served:
					last = true
				default:
				}
				list, err := r.Gather()
				if err != nil || !slices.ContainsFunc(list, func(f *dto.MetricFamily) bool { return f.GetName() == "coffer_cluster_quorum" }) {
					missing.Add(1)
				}
			}
		})
	}
	r.Serve(s)
	close(served)
	scrapes.Wait()
	require.Zero(t, missing.Load())
	after := told(t, r)
	require.Len(t, after["coffer_cluster_quorum"].Metric, 1)
	require.Equal(t, 1.0, after["coffer_cluster_quorum"].Metric[0].GetGauge().GetValue())
}

// TestANodeWithoutOthersTellsOfNone, nor of a store that it has not.
func TestANodeWithoutOthersTellsOfNone(t *testing.T) {
	r, s := New("1.2.3", func() error { return nil }), everything()
	s.Cluster, s.Size = nil, func() *member.Size { return nil }
	r.Serve(s)
	for name := range told(t, r) {
		require.NotRegexp(t, "^(coffer_cluster|coffer_change|coffer_lease|coffer_store|etcd)_", name)
	}
}

// TestEveryMetricIsDocumented, and what is documented is told.
func TestEveryMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	r := New("1.2.3", func() error { return nil })
	r.Serve(everything())
	got := told(t, r)
	for _, name := range chosen { // there is none in a process without a copy, but for etcd's own, when that is linked in
		got[name] = nil
	}
	for name := range got {
		if strings.HasPrefix(name, "coffer_") || strings.HasPrefix(name, "etcd_") {
			require.Contains(t, string(page), "`"+name+"`")
		}
	}
	for _, name := range regexp.MustCompile("`((coffer|etcd)_\\w+)`").FindAllStringSubmatch(string(page), -1) {
		require.Contains(t, got, name[1])
	}
	for _, name := range node.RefusalNames() {
		require.Contains(t, string(page), "`"+name+"`")
	}
	for _, name := range member.ExpiryNames() {
		require.Contains(t, string(page), "`"+name+"`")
	}
}
