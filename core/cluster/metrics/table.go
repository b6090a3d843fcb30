package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coffer-hsm/coffer/core/cluster/tally"
)

// metric is a row of what is told of an S. Adding one means adding a row.
type metric[S any] struct {
	name, help string
	labels     string // in the order in which tell gives their values
	tell       func(s S, t *teller)
}

// teller takes the values of one metric.
type teller struct {
	desc *prometheus.Desc
	out  chan<- prometheus.Metric
}

func (t *teller) value(kind prometheus.ValueType, v float64, label []string) {
	t.out <- prometheus.MustNewConstMetric(t.desc, kind, v, label...)
}

// gauge, counter and histogram tell a value with those of the labels.
func (t *teller) gauge(v float64, label ...string) { t.value(prometheus.GaugeValue, v, label) }

func (t *teller) counter(v uint64, label ...string) {
	t.value(prometheus.CounterValue, float64(v), label)
}

func (t *teller) histogram(d tally.Durations, label ...string) {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, bound := range tally.Bounds {
		n += d.Counts[i]
		buckets[bound.Seconds()] = n
	}
	t.out <- prometheus.MustNewConstHistogram(t.desc, d.Count, d.Sum.Seconds(), buckets, label...)
}

// gauge, number and counter make rows without labels.
func gauge[S any](name, help string, of func(S) float64) metric[S] {
	return metric[S]{name, help, "", func(s S, t *teller) { t.gauge(of(s)) }}
}

func number[S any](name, help string, of func(S) int) metric[S] {
	return gauge(name, help, func(s S) float64 { return float64(of(s)) })
}

func counter[S any](name, help string, of func(S) uint64) metric[S] {
	return metric[S]{name, help, "", func(s S, t *teller) { t.counter(of(s)) }}
}

// collector tells the rows of a table of what ask returns, all of one moment.
type collector[S any] struct {
	rows  []metric[S]
	descs []*prometheus.Desc
	ask   func() S
}

func collectorOf[S any](rows []metric[S], ask func() S) prometheus.Collector {
	c := &collector[S]{rows: rows, ask: ask}
	for _, m := range rows {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, strings.Fields(m.labels), nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector[S]) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector[S]) Collect(out chan<- prometheus.Metric) {
	s := c.ask()
	for i, m := range c.rows {
		m.tell(s, &teller{c.descs[i], out})
	}
}

// expiries is the table of one row of when certificates end.
func expiries(ask func() map[string]time.Time) prometheus.Collector {
	return collectorOf([]metric[map[string]time.Time]{{"coffer_certificate_expiry_timestamp_seconds",
		"When a certificate of this node, or one that it is trusted by, ends.", "certificate",
		func(ends map[string]time.Time, t *teller) {
			for name, at := range ends {
				t.gauge(float64(at.Unix()), name)
			}
		}}}, ask)
}
