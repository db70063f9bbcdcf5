// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"math"
	"strings"
	"testing"

	"gregor/broker/telemetry"
)

// What clients push is shown by its own names, whatever those are.
func TestPushedSeriesAreShown(t *testing.T) {
	label := func(pairs ...string) (out []telemetry.Label) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, telemetry.Label{Name: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	s := full(t)
	s.Pushed = func() []telemetry.Series {
		return []telemetry.Series{
			{Name: "client_a_total", Kind: telemetry.Counter, Labels: label("client_id", "x"), Value: 3},
			{Name: "client_a_total", Kind: telemetry.Counter, Labels: label("client_id", "x", "topic", `"t"`), Value: math.Inf(1)},
			{Name: "client_g", Kind: telemetry.Gauge, Labels: label("client_id", "x"), Value: math.NaN()},
			{Name: "client_h", Kind: telemetry.Histogram, Labels: label("client_id", "x"), Count: 5, Sum: 2.5, Buckets: map[float64]uint64{1: 2, 2: 4, math.Inf(1): 5}},
			{Name: "client_e", Kind: telemetry.Histogram, Labels: label("client_id", "x")},
		}
	}
	base := start(t, Options{Sources: s})
	code, body := get(t, base+"/metrics")
	for _, want := range []string{
		`client_a_total{client_id="x"} 3`, `client_a_total{client_id="x",topic="\"t\""} +Inf`, `client_g{client_id="x"} NaN`,
		`client_h_bucket{client_id="x",le="1"} 2`, `client_h_bucket{client_id="x",le="2"} 4`, `client_h_bucket{client_id="x",le="+Inf"} 5`,
		`client_h_sum{client_id="x"} 2.5`, `client_h_count{client_id="x"} 5`, `client_e_bucket{client_id="x",le="+Inf"} 0`,
		"# TYPE client_a_total counter", "kafka_server_client_metrics_instance_count 6",
	} {
		if code != 200 || !strings.Contains(body, want+"\n") {
			t.Errorf("%d: no %s", code, want)
		}
	}
}
