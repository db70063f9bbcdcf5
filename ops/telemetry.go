// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"github.com/prometheus/client_golang/prometheus"

	"gregor/broker/telemetry"
)

var (
	telemetryInstances = gauge("kafka_server_client_metrics_instance_count", "Clients that asked for their subscription or pushed, and are not gone.")
	telemetryClients   = gauge("gregor_client_telemetry_clients", "Clients whose metrics are shown; they are until they were silent for three push intervals, and a minute at least.")
	telemetrySeries    = gauge("gregor_client_telemetry_series", "Series that are kept of them, of gregor.telemetry.series.max.")
	telemetryPushes    = counter("gregor_client_telemetry_pushes_total", "Pushes whose metrics were taken.")
	telemetryThrottled = counter("kafka_server_client_metrics_throttle_count", "Requests of clients that came before their interval was over.")
	telemetryUnknown   = counter("kafka_server_client_metrics_unknown_subscription_request_count", "Pushes for a subscription that has changed; such a client asks anew.")
	telemetryFailed    = counter("kafka_server_client_metrics_plugin_error_count", "Pushes that could not be read.")
	telemetryDropped   = counter("gregor_client_telemetry_dropped_total", "Data points beyond a limit (gregor.telemetry.*), or without a name that can be shown.")

	telemetryGroup = group{"Client telemetry", []*metric{telemetryInstances, telemetryClients, telemetrySeries, telemetryPushes, telemetryThrottled,
		telemetryUnknown, telemetryFailed, telemetryDropped}, func(e *emitter, c *collector) {
		if c.sources.Telemetry == nil {
			return
		}
		s := c.sources.Telemetry()
		e.count(telemetryInstances, int64(s.Instances))
		e.count(telemetryClients, int64(s.Clients))
		e.count(telemetrySeries, s.Series)
		e.count(telemetryPushes, s.PushesTotal)
		e.count(telemetryThrottled, s.ThrottledTotal)
		e.count(telemetryUnknown, s.UnknownSubscriptionTotal)
		e.count(telemetryFailed, s.FailedTotal)
		e.count(telemetryDropped, s.DroppedTotal)
	}}
)

// pushed shows what clients have pushed. Their names are not known before, so
// it describes nothing; package telemetry sees to it that no client can make a
// scrape fail.
type pushed struct{ sources Sources }

const pushedHelp = "Pushed by clients."

// Describe implements prometheus.Collector.
func (pushed) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p pushed) Collect(to chan<- prometheus.Metric) {
	if p.sources.Pushed == nil {
		return
	}
	list := p.sources.Pushed()
	for i := range list {
		x := &list[i]
		names, values := make([]string, len(x.Labels)), make([]string, len(x.Labels))
		for k, l := range x.Labels {
			names[k], values[k] = l.Name, l.Value
		}
		desc := prometheus.NewDesc(x.Name, pushedHelp, names, nil)
		to <- sample(desc, x, values)
	}
}

func sample(desc *prometheus.Desc, x *telemetry.Series, labels []string) prometheus.Metric {
	switch x.Kind {
	case telemetry.Counter:
		return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, x.Value, labels...)
	case telemetry.Gauge:
		return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, x.Value, labels...)
	}
	return prometheus.MustNewConstHistogram(desc, x.Count, x.Sum, x.Buckets, labels...)
}
