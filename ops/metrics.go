// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout ends a scrape that some source holds up.
const scrapeTimeout = 10 * time.Second

// metric is one row of the table of metrics, which drives the exposition and
// docs/metrics.md alike. A name that starts with kafka_ is the one that the
// Prometheus JMX exporter's usual rules give to the same measure of Apache
// Kafka, so that dashboards made for Kafka show it; all others start with
// gregor_.
type metric struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
}

func counter(name, help string, labels ...string) *metric {
	return &metric{name, prometheus.CounterValue, labels, help}
}

// histogram is a metric that observe fills.
func histogram(name, help string, labels ...string) *metric {
	return &metric{name, prometheus.UntypedValue, labels, help}
}

func gauge(name, help string, labels ...string) *metric {
	return &metric{name, prometheus.GaugeValue, labels, help}
}

// collector reads the sources when Prometheus asks.
type collector struct {
	sources Sources
	build   Build
	descs   map[*metric]*prometheus.Desc
}

func metricsHandler(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(o.Sources, o.Build),
		pushed{o.Sources},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Timeout: scrapeTimeout})
}

func newCollector(s Sources, b Build) *collector {
	c := &collector{sources: s, build: b, descs: map[*metric]*prometheus.Desc{}}
	for _, group := range table() {
		for _, m := range group.metrics {
			c.descs[m] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	e := emitter{c.descs, to}
	for _, group := range table() {
		group.read(&e, c)
	}
}

// emitter writes samples of one scrape.
type emitter struct {
	descs map[*metric]*prometheus.Desc
	to    chan<- prometheus.Metric
}

func (e *emitter) put(m *metric, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?") // paths may be anything
	}
	e.to <- prometheus.MustNewConstMetric(e.descs[m], m.kind, v, labels...)
}

// observe writes a histogram, of seconds: buckets count up to each bound.
func (e *emitter) observe(m *metric, count int64, total time.Duration, bounds []time.Duration, buckets []int64, labels ...string) {
	upTo := make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		upTo[bound.Seconds()] = uint64(buckets[i])
	}
	e.to <- prometheus.MustNewConstHistogram(e.descs[m], uint64(count), total.Seconds(), upTo, labels...)
}

func (e *emitter) count(m *metric, v int64, labels ...string) { e.put(m, float64(v), labels...) }

func (e *emitter) flag(m *metric, v bool, labels ...string) {
	if v {
		e.put(m, 1, labels...)
		return
	}
	e.put(m, 0, labels...)
}
