// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gregor/base/kafka"
)

func TestWhatIsPushedIsShown(t *testing.T) {
	m := newManager()
	m.Subscribed("s", every(1000, "*"))
	const producer = "org.apache.kafka.producer."
	for i := range 3 { // three pushes
		m.pushed(t, at(i*2000), from(1), uuid(1), slices.Concat(
			message(dataResources, message(resourceOf, attribute(resourceAttrs, "client_rack", "r1"), attribute(resourceAttrs, "group_member_id", "m-1")), message(resourceScopes,
				sum(producer+"record.send.total", temporalityDelta, true, number(10)),
				sum(producer+"connection.creation", 2, true, number(float64(7+i))),
				sum(producer+"in-flight", temporalityDelta, false, number(-1)),
				gaugeOf(producer+"node.request.latency.avg", number(1.5, attribute(numberAttrs, "node.id", "1")), number(2.5, attribute(numberAttrs, "node.id", "2"))),
				gaugeOf("9.it's", message(listPoints, fixed(numberInt, ^uint64(0)))),
			)),
			data(histogramOf("h", temporalityDelta, []float64{1, 2}, 1, 2, 3), histogramOf("c", 2, nil)),
		))
	}
	want := []string{
		"counter client_producer_connection_creation_total{client_rack=r1} 9",
		"counter client_producer_record_send_total{client_rack=r1} 30",
		"gauge client_9_it_s{client_rack=r1} -1",
		"gauge client_producer_in_flight{client_rack=r1} -3",
		"gauge client_producer_node_request_latency_avg{client_rack=r1,node_id=1} 1.5",
		"gauge client_producer_node_request_latency_avg{client_rack=r1,node_id=2} 2.5",
		"histogram client_c{} 0/0/map[]",
		"histogram client_h{} 18/18/map[1:3 2:9]",
	}
	list := m.Exposed(at(7000))
	if got := text(list); !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	labels := []Label{{"client_id", "app"}, {"client_instance_id", uuid(1).String()}, {"client_software_name", "apache-kafka-java"}, {"client_software_version", "4.4.0"}}
	if got := list[0].Labels[:4]; !slices.Equal(got, labels) {
		t.Error(got)
	}
	// The connection ends, and what was said is shown until the client was silent for a minute.
	m.Closed(1)
	if s := m.Stats(at(64_000)); s.Instances != 0 || s.Clients != 1 || s.Series != 8 || len(m.Exposed(at(64_000))) != 8 {
		t.Errorf("%+v", s)
	}
	if s := m.Stats(at(64_001)); s.Clients != 0 || s.Series != 0 || len(m.Exposed(at(64_001))) != 0 {
		t.Errorf("%+v", s)
	}
}

// A delta that is no number must not spoil the sum for good.
func TestDeltasThatAreNoNumber(t *testing.T) {
	m := newManager()
	m.Subscribed("s", every(1000, "*"))
	for i, v := range []float64{3, math.NaN(), math.Inf(1), 4} {
		m.pushed(t, at(2000*i), from(1), uuid(1), data(sum("c", temporalityDelta, true, number(v)), gaugeOf("g", number(v))))
	}
	if got := text(m.Exposed(at(8000))); !slices.Equal(got, []string{"counter client_c_total{} 7", "gauge client_g{} 4"}) {
		t.Error(got)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	m := newManager(func(o *Options) {
		o.ClientsMax, o.PushBytesMax, o.Limits = 2, 1<<20, Limits{SeriesMax: 7, ClientSeriesMax: 5}
	})
	var many [][]byte
	for i := range 20 {
		many = append(many, gaugeOf(fmt.Sprint("g", i), number(1)))
	}
	m.pushed(t, at(0), from(1), uuid(1), data(many...))
	if s := m.Stats(at(1)); s.Series != 5 || s.DroppedTotal != 15 {
		t.Errorf("of one client: %+v", s)
	}
	m.pushed(t, at(10), from(2), uuid(2), data(many...))
	if s := m.Stats(at(11)); s.Series != 7 || s.DroppedTotal != 33 {
		t.Errorf("of all: %+v", s)
	}
	m.pushed(t, at(20), from(3), uuid(3), data(many...))
	if s := m.Stats(at(21)); s.Series != 7 || s.Clients != 2 || s.DroppedTotal != 34 {
		t.Errorf("clients: %+v", s)
	}
	// Where the silent are gone there is room.
	if s := m.Stats(at(1_000_000)); s.Series != 0 {
		t.Errorf("%+v", s)
	}
	m.pushed(t, at(1_000_010), from(3), uuid(3), data(many...))
	if s := m.Stats(at(1_000_020)); s.Series != 5 || s.Clients != 1 {
		t.Errorf("%+v", s)
	}
}

// No name, label or kind that clients choose may make two series the same, or a
// name two things.
func TestClientsCannotSpoilAScrape(t *testing.T) {
	long := strings.Repeat("x", 300)
	m := newManager(func(o *Options) { o.PushBytesMax = 1 << 20 })
	m.pushed(t, at(0), from(1), uuid(1), data(
		sum("a.b", 2, true, number(1)), gaugeOf("a.b.total", number(2)), gaugeOf("a_b_total", number(3)),
		histogramOf("h", 2, []float64{1}, 1, 1), gaugeOf("h.count", number(1)), histogramOf("i", 2, nil), histogramOf("i.sum", 2, nil),
		gaugeOf(long, number(1)), gaugeOf("", number(1)),
		gaugeOf("l", number(1, attribute(numberAttrs, "le", "x"), attribute(numberAttrs, "client_id", "me"), attribute(numberAttrs, "__name__", "y"),
			attribute(numberAttrs, "a.b", "1"), attribute(numberAttrs, "a-b", "2"), attribute(numberAttrs, "1st", "3"), attribute(numberAttrs, long, "4"), attribute(numberAttrs, "v", long+"\xff"))),
		gaugeOf("l", number(2, attribute(numberAttrs, "a_b", "1"), attribute(numberAttrs, "v", long))),
	))
	want := []string{
		"counter client_a_b_total{} 1", "gauge client_h_count{} 1", "gauge client_l{a_b=1,v=" + long[:255] + "} 2", "histogram client_i{} 0/0/map[]",
	}
	if got := text(m.Exposed(at(1))); !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestValuesOfAttributes(t *testing.T) {
	value := func(v []byte) []byte {
		return message(numberAttrs, message(keyName, []byte("k")), message(keyValue, v))
	}
	for want, v := range map[string][]byte{
		"k=true": varint(anyBool, 1), "k=-3": varint(anyInt, ^uint64(2)), "k=0.5": double(anyDouble, 0.5), "k=?": message(anyText, []byte("\xff\xfe")),
		"": message(5, []byte("a list")),
	} {
		m := newManager()
		m.pushed(t, at(0), from(1), uuid(1), data(gaugeOf("g", number(1, value(v)))))
		if got := text(m.Exposed(at(1))); len(got) != 1 || got[0] != "gauge client_g{"+want+"} 1" {
			t.Errorf("%s: %v", want, got)
		}
	}
}

func TestMalformedPushesLeaveNothing(t *testing.T) {
	fine := gaugeOf("g", number(1))
	for name, body := range map[string][]byte{
		"cut":                   data(fine)[:20],
		"a group":               slices.Concat(data(fine), []byte{0x0b, 0x0c}),
		"a tag of field 0":      slices.Concat(data(fine), []byte{0x02, 0x00}),
		"buckets than bounds":   data(fine, histogramOf("h", 1, []float64{1}, 1)),
		"bounds out of order":   data(fine, histogramOf("h", 1, []float64{2, 1}, 1, 1, 1)),
		"too many bounds":       data(fine, histogramOf("h", 1, make([]float64, 300), make([]uint64, 301)...)),
		"too many attributes":   data(fine, gaugeOf("x", number(1, slices.Repeat(attribute(numberAttrs, "a", "b"), 33)))),
		"a list that is ragged": data(fine, message(scopeMetrics, message(metricHistogram, message(listPoints, message(distCounts, []byte{1, 2, 3}))))),
	} {
		m := newManager(func(o *Options) { o.PushBytesMax = 1 << 20 })
		g, _ := m.Get(at(0), from(1), kafka.UUID{})
		if code := m.Push(at(1), from(1), push(g, func(p *Push) { p.Metrics = body }), &coder); code != kafka.InvalidRecord {
			t.Errorf("%s: %v", name, code)
		}
		if s := m.Stats(at(2)); s.Series != 0 || s.Clients != 0 || s.FailedTotal != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// FuzzPush pushes anything: no panic, limits hold, and what is shown is such
// that Prometheus takes it.
func FuzzPush(f *testing.F) {
	f.Add(data(sum("a", 1, true, number(1, attribute(numberAttrs, "k", "v"))), gaugeOf("b", number(2))))
	f.Add(data(histogramOf("h", 1, []float64{1, 2}, 1, 2, 3), histogramOf("h.count", 2, nil)))
	f.Add(message(dataResources, message(resourceOf, attribute(resourceAttrs, "group_id", "g")), message(resourceScopes, gaugeOf("b", number(2)))))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := newManager(func(o *Options) { o.PushBytesMax = 1 << 20 })
		for i := range 2 {
			g, _ := m.Get(at(i*300_002), from(1), uuid(1))
			code := m.Push(at(i*300_002+1), from(1), push(g, func(p *Push) { p.Metrics = body }), &coder)
			if code != kafka.None && code != kafka.InvalidRecord {
				t.Fatal(code)
			}
		}
		list := m.Exposed(at(300_010))
		if len(list) > 50 {
			t.Fatalf("%d series", len(list))
		}
		seen := map[string]bool{}
		is := map[string]Kind{}
		for _, s := range list {
			key := s.Name
			for i, l := range s.Labels {
				if i > len(clientLabels) && s.Labels[i-1].Name >= l.Name || word(l.Name) != l.Name || l.Name == "" {
					t.Fatalf("labels %v", s.Labels)
				}
				key += fmt.Sprintf("|%s=%q", l.Name, l.Value)
			}
			if k, ok := is[s.Name]; seen[key] || ok && k != s.Kind || word(s.Name) != s.Name {
				t.Fatalf("%s twice, or of two kinds", key)
			}
			seen[key], is[s.Name] = true, s.Kind
		}
		for name, k := range is {
			for _, suffix := range histogramNames[1:] {
				if _, taken := is[name+suffix]; taken && k == Histogram {
					t.Fatalf("%s beside the histogram %s", name+suffix, name)
				}
			}
		}
	})
}
