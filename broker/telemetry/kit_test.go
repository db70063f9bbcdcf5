// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a time in milliseconds since the begin.
func at(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

func newManager(changes ...func(*Options)) *Manager {
	var next uint64
	o := Options{ClientsMax: 10, PushBytesMax: 1000, Limits: Limits{SeriesMax: 100, ClientSeriesMax: 50}, RandomUUID: func() kafka.UUID {
		next++
		return uuid(next)
	}}
	for _, f := range changes {
		f(&o)
	}
	return NewManager(o)
}

func uuid(n uint64) (id kafka.UUID) {
	id[0] = 0x40
	binary.BigEndian.PutUint64(id[8:], n+100)
	return id
}

func from(connection uint64) Client {
	c := Client{Connection: connection, ID: "app", Remote: netip.MustParseAddrPort("10.0.0.7:4711")}
	c.Software.Name, c.Software.Version = "apache-kafka-java", "4.4.0"
	return c
}

func every(ms int, metrics ...string) Subscription {
	return Subscription{Metrics: metrics, Interval: time.Duration(ms) * time.Millisecond}
}

// message builds protobuf.
func message(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(parts...))
}

func varint(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

func double(number protowire.Number, v float64) []byte { return fixed(number, math.Float64bits(v)) }

func fixed(number protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, number, protowire.Fixed64Type), v)
}

func attribute(number protowire.Number, key, value string) []byte {
	return message(number, message(keyName, []byte(key)), message(keyValue, message(anyText, []byte(value))))
}

// data is MetricsData of one resource with metrics.
func data(metrics ...[]byte) []byte {
	return message(dataResources, message(resourceScopes, metrics...))
}

func sum(name string, temporality uint64, monotonic bool, points ...[]byte) []byte {
	more := uint64(0)
	if monotonic {
		more = 1
	}
	return message(scopeMetrics, message(metricName, []byte(name)), message(metricSum, slices.Concat(points...), varint(listTemporality, temporality), varint(listMonotonic, more)))
}

func gaugeOf(name string, points ...[]byte) []byte {
	return message(scopeMetrics, message(metricName, []byte(name)), message(metricGauge, points...))
}

func number(v float64, attrs ...[]byte) []byte {
	return message(listPoints, double(numberDouble, v), slices.Concat(attrs...))
}

func histogramOf(name string, temporality uint64, bounds []float64, counts ...uint64) []byte {
	var c, b []byte
	var all uint64
	for _, n := range counts {
		c = protowire.AppendFixed64(c, n)
		all += n
	}
	for _, x := range bounds {
		b = protowire.AppendFixed64(b, math.Float64bits(x))
	}
	return message(scopeMetrics, message(metricName, []byte(name)), message(metricHistogram,
		message(listPoints, fixed(distCount, all), double(distSum, float64(all)), message(distCounts, c), message(distBounds, b)), varint(listTemporality, temporality)))
}

// pushed subscribes a client to all and lets it push.
func (m *Manager) pushed(t testing.TB, now time.Time, c Client, id kafka.UUID, body []byte) {
	t.Helper()
	g, code := m.Get(now, c, id)
	if code == kafka.ThrottlingQuotaExceeded {
		t.Fatal("asked too early")
	}
	if code := m.Push(now.Add(time.Millisecond), c, Push{ID: g.ID, SubscriptionID: g.SubscriptionID, Metrics: body}, &compress.Coder{}); code != kafka.None {
		t.Fatalf("push: %v", code)
	}
}

// text shows series, without the labels of the client.
func text(list []Series) []string {
	var out []string
	for _, s := range list {
		var labels []string
		for _, l := range s.Labels[len(clientLabels):] {
			labels = append(labels, l.Name+"="+l.Value)
		}
		value := fmt.Sprint(s.Value)
		if s.Kind == Histogram {
			value = fmt.Sprintf("%d/%v/%v", s.Count, s.Sum, s.Buckets)
		}
		out = append(out, fmt.Sprintf("%s %s{%s} %s", [...]string{"counter", "gauge", "histogram"}[s.Kind], s.Name, strings.Join(labels, ","), value))
	}
	slices.Sort(out)
	return out
}
