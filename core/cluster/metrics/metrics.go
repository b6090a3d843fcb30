// Package metrics gives what a node counts to Prometheus: names, units and help, and nothing on the way of a request. All that
// it tells is read when somebody asks.
//
// Every label has a closed set of values (Labels), so that how much there is to keep does not depend on what clients do, and
// nothing that they name, no user, no key, no address, is ever in it.
package metrics

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Sources are what a node that serves is asked for at each scrape. They answer from memory, but for the ends of certificates
// and the size of a file.
type Sources struct {
	Node     func() node.Stats
	Cluster  func() member.Stats // nil: a node without others
	Size     func() *member.Size
	Expiries func() map[string]time.Time
}

// Registry is all that one node tells. It may be asked by many goroutines at once.
type Registry struct {
	own     *prometheus.Registry
	waiting prometheus.Collector        // of a cluster's node that does not serve yet; nil: of another
	change  sync.RWMutex                // no scrape is between what waiting tells and what takes its place
	hasCopy atomic.Pointer[func() bool] // whether there is a copy of the store in this process; nil: never
}

// New returns the registry of a node that does not serve yet. ready says at any time why the node is not ready, or nil.
func New(version string, ready func() error) *Registry {
	r := &Registry{own: prometheus.NewRegistry()}
	r.own.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffer_build_info", Help: "1; the labels have the version of the program, and Go's.",
			ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffer_ready", Help: "1 while /healthz answers 200, else 0."},
			func() float64 { return flag(ready() == nil) }),
	)
	return r
}

// Wait says that the node is a cluster's, which has no majority until it serves: a node that waits for one, however long,
// is then known to have none. It is called before Serve, at most once.
func (r *Registry) Wait() {
	r.waiting = collectorOf([]metric[member.Stats]{quorum}, func() member.Stats { return member.Stats{} })
	r.own.MustRegister(r.waiting)
}

// Serve adds what there is to tell of a node that serves. It is called once.
func (r *Registry) Serve(s Sources) {
	r.change.Lock()
	defer r.change.Unlock()
	if r.waiting != nil {
		r.own.Unregister(r.waiting)
	}
	r.own.MustRegister(collectorOf(nodeTable, s.Node), expiries(s.Expiries), collectorOf(sizeTable, s.Size))
	if s.Cluster == nil {
		return
	}
	r.own.MustRegister(collectorOf(clusterTable, s.Cluster))
	hasCopy := func() bool { return s.Size() != nil }
	r.hasCopy.Store(&hasCopy)
}

// Gather implements prometheus.Gatherer.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	r.change.RLock()
	defer r.change.RUnlock()
	from := prometheus.Gatherers{r.own}
	if has := r.hasCopy.Load(); has != nil && (*has)() {
		from = append(from, prometheus.GathererFunc(fromEtcd))
	}
	return from.Gather()
}

// Labels are the values that each label may have; those of coffer_build_info do not change while the node runs.
func Labels() map[string][]string {
	return map[string][]string{
		"kind": node.KindNames(), "answer": node.AnswerNames(), "reason": node.RefusalNames(),
		"state": member.States(), "certificate": member.ExpiryNames(),
	}
}

// wrongPIN are the answers to a PIN that was wrong, or that too many wrong ones came before.
var wrongPIN = []string{pkcs11.CKR_PIN_INCORRECT.String(), pkcs11.CKR_PIN_LOCKED.String()}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
