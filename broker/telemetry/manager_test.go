// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

var coder compress.Coder

func push(g Grant, changes ...func(*Push)) Push {
	p := Push{ID: g.ID, SubscriptionID: g.SubscriptionID}
	for _, f := range changes {
		f(&p)
	}
	return p
}

func TestNobodyIsAskedWithoutASubscription(t *testing.T) {
	m := newManager()
	g, code := m.Get(at(0), from(1), kafka.UUID{})
	if code != kafka.None || len(g.Metrics) != 0 || g.Interval != 5*time.Minute || g.BytesMax != 1000 || g.ID != uuid(1) {
		t.Errorf("%v %+v", code, g)
	}
	// It may ask again after the interval, with its id.
	if _, code := m.Get(at(299_999), from(1), g.ID); code != kafka.ThrottlingQuotaExceeded {
		t.Error(code)
	}
	if again, code := m.Get(at(300_000), from(1), g.ID); code != kafka.None || again.ID != g.ID || again.SubscriptionID != g.SubscriptionID {
		t.Errorf("%v %+v", code, again)
	}
}

func TestSubscriptionsThatMatchAreJoined(t *testing.T) {
	pattern := func(pairs ...string) map[string]*regexp.Regexp {
		out := map[string]*regexp.Regexp{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = regexp.MustCompile("^(?:" + pairs[i+1] + ")$")
		}
		return out
	}
	for _, x := range []struct {
		name     string
		have     map[string]Subscription
		metrics  []string
		interval time.Duration
	}{
		{"union and shortest interval", map[string]Subscription{"a": every(5000, "x.", "y."), "b": every(2000, "y.", "z.")}, []string{"x.", "y.", "z."}, 2 * time.Second},
		{"all wins", map[string]Subscription{"a": every(5000, "x."), "b": every(9000, "*")}, []string{"*"}, 5 * time.Second},
		{"an interval above the default does not count", map[string]Subscription{"a": every(3_600_000, "x.")}, []string{"x."}, 5 * time.Minute},
		{"one without metrics shortens the interval", map[string]Subscription{"a": every(1000)}, nil, time.Second},
		{"all selectors match", map[string]Subscription{"a": {Metrics: []string{"x"}, Interval: time.Second, Match: pattern(
			"client_id", "a.*", "client_software_name", "apache-kafka-java", "client_software_version", `4\..*`,
			"client_source_address", `10\.0\.0\.7`, "client_source_port", "47.1", "client_instance_id", uuid(1).String())}}, []string{"x"}, time.Second},
		{"one selector does not", map[string]Subscription{"a": {Metrics: []string{"x"}, Interval: time.Second, Match: pattern("client_id", "app", "client_source_port", "1")}}, nil, 5 * time.Minute},
		{"a pattern matches whole", map[string]Subscription{"a": {Metrics: []string{"x"}, Interval: time.Second, Match: pattern("client_id", "ap")}}, nil, 5 * time.Minute},
	} {
		m := newManager()
		for name, s := range x.have {
			m.Subscribed(name, s)
		}
		g, code := m.Get(at(0), from(1), kafka.UUID{})
		if code != kafka.None || !slices.Equal(g.Metrics, x.metrics) || g.Interval != x.interval {
			t.Errorf("%s: %v %v %v", x.name, code, g.Metrics, g.Interval)
		}
	}
}

// The ids were given by Apache Kafka 4.4.0.
func TestSubscriptionIDsAreKafkas(t *testing.T) {
	for _, x := range []struct {
		metrics    []string
		intervalMs int
		id         string
		want       int32
	}{
		{nil, 300_000, "EAAAAAAAQACAAAAAAAAAAQ", 1153899487}, {[]string{"*"}, 1000, "EAAAAAAAQACAAAAAAAAAAw", -1567886662},
		{[]string{"x"}, 100, "tSMaj5xARiGXawsSQUIXlQ", 42297517},
		{[]string{"org.apache.kafka.consumer.", "org.apache.kafka.producer."}, 3_600_000, "Zqf21V44QwuKgJElI8X8KQ", -48815904},
	} {
		id, err := kafka.ParseUUID(x.id)
		if err != nil {
			t.Fatal(err)
		}
		if got := subscriptionID(x.metrics, time.Duration(x.intervalMs)*time.Millisecond, id); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}

// What a push is answered, in the order in which it is judged.
func TestPushes(t *testing.T) {
	big := make([]byte, 1001)
	fine := data(gaugeOf("g", number(1)))
	start := func() (*Manager, Grant) {
		m := newManager()
		m.Subscribed("s", every(1000, "*"))
		g, _ := m.Get(at(0), from(1), kafka.UUID{})
		return m, g
	}
	type step struct {
		ms   int
		what string
		p    func(*Push)
		want kafka.Code
	}
	get := func(ms int, want kafka.Code) step { return step{ms: ms, what: "get", want: want} }
	ok := func(p *Push) { p.Metrics = fine }
	none := func(*Push) {}
	for name, steps := range map[string][]step{
		"one at once, others after the interval": {
			{10, "", ok, kafka.None}, {20, "", ok, kafka.ThrottlingQuotaExceeded}, {1009, "", ok, kafka.ThrottlingQuotaExceeded}, {1010, "", ok, kafka.None}},
		"a push without metrics counts as one": {{10, "", none, kafka.None}, {20, "", none, kafka.ThrottlingQuotaExceeded}},
		"the last comes whenever it likes":     {{10, "", ok, kafka.None}, {20, "", func(p *Push) { p.Metrics, p.Terminating = fine, true }, kafka.None}},
		"nothing comes behind the last": {
			{10, "", func(p *Push) { p.Terminating = true }, kafka.None}, {2000, "", ok, kafka.InvalidRequest}},
		"a refused push takes the mark of the last away": {
			{10, "", func(p *Push) { p.Terminating = true }, kafka.None}, {20, "", ok, kafka.InvalidRequest}, {2000, "", ok, kafka.None}},
		"a subscription that has changed": {
			{10, "", func(p *Push) { p.SubscriptionID++ }, kafka.UnknownSubscriptionID}, get(20, kafka.None), {30, "", ok, kafka.ThrottlingQuotaExceeded}, {1010, "", ok, kafka.None}},
		"too early is judged before the subscription": {{10, "", ok, kafka.None}, {20, "", func(p *Push) { p.SubscriptionID++ }, kafka.ThrottlingQuotaExceeded}},
		"a codec that is none": {
			{10, "", func(p *Push) { p.Codec = 5 }, kafka.UnsupportedCompressionType}, get(20, kafka.None), {1010, "", ok, kafka.None}},
		"a codec below 0":                     {{10, "", func(p *Push) { p.Codec = -1 }, kafka.UnsupportedCompressionType}},
		"too large":                           {{10, "", func(p *Push) { p.Metrics = big }, kafka.TelemetryTooLarge}, get(20, kafka.ThrottlingQuotaExceeded)},
		"not metrics":                         {{10, "", func(p *Push) { p.Metrics = []byte("no") }, kafka.InvalidRecord}, get(20, kafka.ThrottlingQuotaExceeded)},
		"not compressed, though it says so":   {{10, "", func(p *Push) { p.Metrics, p.Codec = fine, compress.Zstd }, kafka.InvalidRecord}},
		"the zero id":                         {{10, "", func(p *Push) { p.ID = kafka.UUID{} }, kafka.InvalidRequest}},
		"the id of the metadata log":          {{10, "", func(p *Push) { p.ID = kafka.UUID{15: 1} }, kafka.InvalidRequest}},
		"an id that nobody gave is a new one": {{10, "", func(p *Push) { p.ID[3]++ }, kafka.UnknownSubscriptionID}},
		"asking twice":                        {get(10, kafka.ThrottlingQuotaExceeded), get(999, kafka.ThrottlingQuotaExceeded), get(1000, kafka.None)},
		"asking behind a push":                {{500, "", ok, kafka.None}, get(1499, kafka.ThrottlingQuotaExceeded), get(1500, kafka.None)},
	} {
		m, g := start()
		for i, s := range steps {
			var code kafka.Code
			if s.what == "get" {
				_, code = m.Get(at(s.ms), from(1), g.ID)
			} else {
				code = m.Push(at(s.ms), from(1), push(g, s.p), &coder)
			}
			if code != s.want {
				t.Errorf("%s: step %d at %d ms: %v, want %v", name, i, s.ms, code, s.want)
			}
		}
	}
}

func TestEveryCodecIsTaken(t *testing.T) {
	for _, codec := range append(Codecs(), compress.None) {
		m := newManager()
		body := data(sum("n", temporalityDelta, true, number(3)))
		if codec != compress.None {
			var err error
			if body, err = coder.Compress(nil, codec, codec.DefaultLevel(), body); err != nil {
				t.Fatal(err)
			}
		}
		g, _ := m.Get(at(0), from(1), kafka.UUID{})
		if code := m.Push(at(1), from(1), push(g, func(p *Push) { p.Metrics, p.Codec = body, codec }), &coder); code != kafka.None {
			t.Errorf("%v: %v", codec, code)
		}
		if got := text(m.Exposed(at(2))); !slices.Equal(got, []string{"counter client_n_total{} 3"}) {
			t.Errorf("%v: %v", codec, got)
		}
	}
}

// A small push that decompresses to more than telemetry.max.bytes is no metrics.
func TestBombsAreRefused(t *testing.T) {
	m := newManager()
	bomb, err := coder.Compress(nil, compress.Zstd, compress.Zstd.DefaultLevel(), make([]byte, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	m.o.PushBytesMax = max(m.o.PushBytesMax, len(bomb))
	g, _ := m.Get(at(0), from(1), kafka.UUID{})
	if code := m.Push(at(1), from(1), push(g, func(p *Push) { p.Metrics, p.Codec = bomb, compress.Zstd }), &coder); code != kafka.InvalidRecord {
		t.Error(code)
	}
	if s := m.Stats(at(2)); s.FailedTotal != 1 || s.PushesTotal != 0 {
		t.Errorf("%+v", s)
	}
}

// A change of subscriptions holds from the next request on.
func TestChangesHoldAtOnce(t *testing.T) {
	m := newManager()
	g, _ := m.Get(at(0), from(1), kafka.UUID{})
	m.Subscribed("s", every(1000, "a."))
	if code := m.Push(at(10), from(1), push(g), &coder); code != kafka.UnknownSubscriptionID {
		t.Fatal(code)
	}
	asked, code := m.Get(at(20), from(1), g.ID)
	if code != kafka.None || !slices.Equal(asked.Metrics, []string{"a."}) || asked.Interval != time.Second || asked.SubscriptionID == g.SubscriptionID {
		t.Fatalf("%v %+v", code, asked)
	}
	if code := m.Push(at(1010), from(1), push(asked), &coder); code != kafka.None {
		t.Fatal(code)
	}
	m.Unsubscribed("s")
	m.Unsubscribed("nobody") // changes nothing
	if code := m.Push(at(2030), from(1), push(asked), &coder); code != kafka.UnknownSubscriptionID {
		t.Fatal(code)
	}
	if asked, code = m.Get(at(2040), from(1), g.ID); code != kafka.None || len(asked.Metrics) != 0 || asked.SubscriptionID != g.SubscriptionID {
		t.Fatalf("%v %+v", code, asked)
	}
}

func TestInstancesEnd(t *testing.T) {
	known := func(m *Manager, id kafka.UUID) bool { return m.instances[id] != nil }
	m := newManager()
	m.Subscribed("s", every(30_000, "*"))
	a, _ := m.Get(at(0), from(1), kafka.UUID{})
	b, _ := m.Get(at(10_000), from(2), kafka.UUID{})
	if s := m.Stats(at(89_999)); s.Instances != 2 {
		t.Errorf("%+v: three intervals are not over", s)
	}
	if s := m.Stats(at(90_000)); s.Instances != 1 || known(m, a.ID) {
		t.Errorf("%+v: silent for three intervals", s)
	}
	m.Closed(2)
	m.Closed(2)
	m.Closed(77)
	if known(m, b.ID) || len(m.byConnection) != 0 || m.recent.Len() != 0 || len(m.due) != 0 {
		t.Error("it stays behind its connection")
	}
	// The one that was silent longest makes room.
	var ids []kafka.UUID
	for i := range 10 {
		g, _ := m.Get(at(100_000+i), from(uint64(10+i)), kafka.UUID{})
		ids = append(ids, g.ID)
	}
	m.Push(at(100_100), from(10), push(Grant{ID: ids[0]}), &coder)
	m.Get(at(100_200), from(20), kafka.UUID{})
	if !known(m, ids[0]) || known(m, ids[1]) || len(m.instances) != 10 || len(m.byConnection) != 10 {
		t.Errorf("%d instances, %d connections", len(m.instances), len(m.byConnection))
	}
}

// A client that has come on three connections is filed under one of them, and
// forgotten there.
func TestOneConnectionAnInstance(t *testing.T) {
	m := newManager()
	g, _ := m.Get(at(0), from(1), kafka.UUID{})
	m.Subscribed("s", every(100, "*"))
	m.Get(at(1000), from(2), g.ID)
	m.Get(at(2000), from(3), g.ID)
	if m.instances[g.ID] == nil || len(m.byConnection) != 1 {
		t.Errorf("filed under %v", m.byConnection)
	}
	m.Closed(3)
	if m.instances[g.ID] == nil {
		t.Error("it ends with a connection that it is not filed under")
	}
	if s := m.Stats(at(10_000_000)); s.Instances != 0 || len(m.byConnection) != 0 {
		t.Errorf("%+v, filed under %v", s, m.byConnection)
	}
}

// Requests, changes of subscriptions, ends of connections and scrapes at once
// leave nothing behind that no longer belongs to anyone.
func TestAllAtOnce(t *testing.T) {
	m := newManager(func(o *Options) { o.ClientsMax, o.Limits = 20, Limits{SeriesMax: 30, ClientSeriesMax: 2} })
	body := data(gaugeOf("a", number(1)), gaugeOf("b", number(1)), gaugeOf("c", number(1)))
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			var own compress.Coder
			for i := range 500 {
				now := at(i * 10_000)
				connection := uint64(worker*100 + i%7)
				id := uuid(uint64(i % 30))
				g, _ := m.Get(now, from(connection), id)
				m.Push(now, from(connection), push(Grant{ID: id, SubscriptionID: g.SubscriptionID}, func(p *Push) { p.Metrics = body }), &own)
				switch i % 5 {
				case worker:
					m.Closed(connection)
				case 4:
					m.Subscribed("s", every(100+i, "*"))
					m.Exposed(now)
				}
			}
		})
	}
	all.Wait()
	if s := m.Stats(at(10_000_000)); s.Instances != 0 || s.Clients != 0 || s.Series != 0 || len(m.byConnection) != 0 || m.recent.Len() != 0 || s.PushesTotal == 0 {
		t.Errorf("%+v, %d connections", s, len(m.byConnection))
	}
}
