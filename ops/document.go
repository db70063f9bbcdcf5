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
## What clients push

Clients that a telemetry subscription asks (KIP-714: ` + "`kafka-client-metrics.sh`, `kafka-configs.sh --entity-type client-metrics`" + `) push their metrics to the
brokers, and what they push is shown here, under ` + "`client_`" + ` and OpenTelemetry's name without ` + "`org.apache.kafka.`" + `; what Prometheus does not take in names
becomes ` + "`_`" + `, and counters end in ` + "`_total`" + `: ` + "`org.apache.kafka.producer.record.send.total`" + ` is ` + "`client_producer_record_send_total`" + `. Deltas are added up.

Each series has the labels ` + "`client_id`, `client_instance_id`, `client_software_name`, `client_software_version`" + `, all attributes of its data point, and
` + "`client_rack`, `group_id`, `group_instance_id`, `transactional_id`" + ` where the client has them. A client's series are there until it was silent for three push
intervals, and a minute at least. ` + "`gregor.telemetry.clients.max`, `gregor.telemetry.client.series.max` and `gregor.telemetry.series.max`" + ` bound them; data
points beyond are counted in ` + "`gregor_client_telemetry_dropped_total`" + `. A name that clients use for different things is shown as a counter, if it is one anywhere,
else as a gauge.

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
