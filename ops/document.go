// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Document writes docs/metrics.md from the table of metrics.
func Document() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Written by ` + "`make generate`" + ` from ops/table.go; do not edit.

` + "`GET /metrics`" + ` on the admin listener (` + "`gregor.admin.listener`" + `, 127.0.0.1:9644) answers in Prometheus' text format. Counters start at 0 with
the process. Names that start with ` + "`kafka_`" + ` are those which the Prometheus JMX exporter's usual rules give to the same measure of Apache
Kafka, so dashboards made for Kafka work; names that start with ` + "`gregor_`" + ` are our own. The Go runtime's ` + "`go_*`" + ` and the process's
` + "`process_*`" + ` are there too. Parts that a node does not have leave no metrics.
`)
	for _, g := range table() {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | what it says |\n|---|---|---|---|\n", g.title)
		for _, m := range g.metrics {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kindName(m.kind), strings.Join(m.labels, ", "), m.help)
		}
	}
	b.WriteString(`
## Other paths

| path | answer |
|---|---|
| ` + "`/livez`" + ` | 200 while the process does its work, else 503 and why not |
| ` + "`/readyz`" + ` | 200 while clients are served (started, and not fenced), else 503 and why not |
| ` + "`/version`" + ` | version, revision and Go version, as JSON |
| ` + "`/debug/pprof/`" + ` | profiles of the Go runtime |
`)
	return b.String()
}

func kindName(k prometheus.ValueType) string {
	switch k {
	case prometheus.CounterValue:
		return "counter"
	case prometheus.GaugeValue:
		return "gauge"
	}
	return "histogram"
}
