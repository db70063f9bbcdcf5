// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gregor/base/kafka"
)

// The texts are what Apache Kafka 4.4.0 answered, except where they end in "(ours)".
func TestBrokerRefusals(t *testing.T) {
	static := mustLoad(t)
	for _, c := range []struct {
		one    bool
		values []string
		want   string
	}{
		{true, []string{"num.partitions=4"}, "Cannot update these configs dynamically: [num.partitions]"},
		{false, []string{"num.partitions=4", "node.id=4", "log.retention.ms=5"}, "Cannot update these configs dynamically: [node.id, num.partitions]"},
		{false, []string{"log.retention.hours=4"}, "Cannot update these configs dynamically: [log.retention.hours]"},
		{false, []string{"ssl.keystore.type=PKCS12"}, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.type]"},
		{true, []string{"ssl.keystore.type=PKCS12"}, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.type]"},
		{false, []string{"listeners=PLAINTEXT://:1"}, "Cannot update these configs at default cluster level, broker id must be specified: [listeners]"},
		{false, []string{"cordoned.log.dirs=/nowhere"}, "Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]"},
		{true, []string{"cordoned.log.dirs=/nowhere"}, "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /nowhere"},
		{true, []string{"cordoned.log.dirs=./data"}, ""},
		{false, []string{"message.max.bytes=abc"}, "Invalid value abc for configuration message.max.bytes: Not a number of type INT"},
		{false, []string{"message.max.bytes=-1"}, "Invalid value -1 for configuration message.max.bytes: Value must be at least 0"},
		{false, []string{"log.cleanup.policy=wat"}, "Invalid value wat for configuration log.cleanup.policy: String must be one of: compact, delete"},
		{false, []string{"compression.type=wat"}, "Invalid value wat for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{false, []string{"num.io.threads=0"}, "Invalid value 0 for configuration num.io.threads: Value must be at least 1"},
		{false, []string{"log.roll.ms=0"}, "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{false, []string{"log.segment.bytes=10"}, "Invalid value 10 for configuration log.segment.bytes: Value must be at least 1048576"},
		{false, []string{"log.retention.ms=0"}, ""},
		{false, []string{"log.retention.ms=-2"}, ""},
		{false, []string{"what.is.this=4"}, ""},
		{true, []string{"leader.replication.throttled.rate=1000"}, ""},
		{false, []string{"leader.replication.throttled.rate=-1"}, "Invalid value -1 for configuration leader.replication.throttled.rate: Value must be at least 0"},
		{true, []string{"listener.name.plaintext.max.connections=100"}, ""},
		{false, []string{"listener.name.plaintext.max.connections=100"}, ""},
		{true, []string{"listener.name.plaintext.max.connections=-1"}, "Invalid value -1 for configuration max.connections: Value must be at least 0"},
		{false, []string{"max.connections.per.ip.overrides=127.0.0.1:10", "max.connections.per.ip=0"}, ""},
		{false, []string{"max.connections.per.ip=0"}, "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."},
		{false, []string{"max.connections.per.ip.overrides=wat"}, "Error parsing configuration property 'max.connections.per.ip.overrides': \"wat\" has no number"},
		{true, []string{"listeners=PLAINTEXT://127.0.0.1:1"}, "listeners changes with a restart only: set it in the configuration of the broker"},
		{true, []string{"listeners=PLAINTEXT://127.0.0.1:9092"}, ""},
		{false, []string{"gregor.produce.validaton=strict"}, "gregor.produce.validaton: no such key; did you mean gregor.produce.validation?"},
		{false, []string{"gregor.produce.validation=strict"}, ""},
		{false, []string{"group.consumer.assignment.interval.ms=15000"}, ""},
		{false, []string{"group.consumer.assignment.interval.ms=99999"}, "group.consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms"},
		{true, []string{"sasl.kerberos.min.time.before.relogin=58000"}, ""},
		{true, []string{"sasl.login.refresh.window.factor=0.5"}, ""},
		{true, []string{"sasl.enabled.mechanisms=PLAIN"}, "sasl.enabled.mechanisms: SASL is not built yet, so clients would go unauthenticated"},
		{true, []string{"listener.name.plaintext.ssl.keystore.type=PKCS12"}, "listener.name.plaintext.ssl.keystore.type: TLS is not built yet, so connections would go unencrypted"},
	} {
		err := ValidateBroker(pairs(c.values), c.one, static)
		told := ""
		if err != nil {
			told = err.Error()
			if !errors.Is(err, kafka.InvalidRequest) {
				t.Errorf("%v: %v carries no INVALID_REQUEST", c.values, err)
			}
		}
		if told != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.values, told, c.want)
		}
	}
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for _, s := range list {
		k, v, _ := strings.Cut(s, "=")
		m[k] = v
	}
	return m
}

func told(e Entry) string {
	var b strings.Builder
	b.WriteString(text(e.Value))
	for _, s := range e.Synonyms {
		b.WriteString(" " + s.Name + "=" + text(s.Value) + "@" + string('0'+rune(s.Source)))
	}
	return b.String()
}

// What Apache Kafka 4.4.0 tells of its broker's keys under the same settings.
func TestDescribeBroker(t *testing.T) {
	static := mustLoad(t, "log.retention.hours=100", "message.max.bytes=900000")
	cluster := pairs([]string{"log.retention.ms=100000", "message.max.bytes=800000", "what.is.this=4", "log.cleanup.policy=delete, compact"})
	own := pairs([]string{"message.max.bytes=810000", "listener.name.plaintext.max.connections=100", "leader.replication.throttled.rate=1000"})
	list := DescribeBroker(7, cluster, own, static)
	for _, c := range []struct{ name, want string }{
		{"log.retention.hours", "100 log.retention.hours=100@4 log.retention.hours=168@5"},
		{"log.retention.ms", "100000 log.retention.ms=100000@3 log.retention.hours=100@4 log.retention.hours=168@5"},
		{"log.retention.minutes", "null"},
		{"log.roll.hours", "168 log.roll.hours=168@5"},
		{"log.roll.ms", "null"},
		{"log.cleanup.policy", "delete,compact log.cleanup.policy=delete, compact@3 log.cleanup.policy=delete@5"},
		{"message.max.bytes", "810000 message.max.bytes=810000@2 message.max.bytes=800000@3 message.max.bytes=900000@4 message.max.bytes=1048588@5"},
		{"what.is.this", "null what.is.this=null@3"},
		{"leader.replication.throttled.rate", "1000 leader.replication.throttled.rate=1000@2"},
		{"listener.name.plaintext.max.connections", "100 listener.name.plaintext.max.connections=100@2 max.connections=2147483647@5"},
		{"node.id", "7 node.id=7@4"},
		{"broker.id", "7 broker.id=7@4 broker.id=-1@5"},
		{"ssl.keystore.password", "null"},
		{"advertised.listeners", "null"},
		{"log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308 log.cleaner.io.max.bytes.per.second=1.7976931348623157E308@5"},
	} {
		if got := told(entry(t, list, c.name)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name                string
		readOnly, sensitive bool
		typ                 Type
	}{
		{"num.partitions", true, false, Int}, {"message.max.bytes", false, false, Int}, {"listeners", false, false, List},
		{"ssl.keystore.password", false, true, Password}, {"what.is.this", true, true, UnknownType},
		{"listener.name.plaintext.max.connections", true, false, Int}, {"leader.replication.throttled.rate", false, false, Long},
	} {
		if e := entry(t, list, c.name); e.ReadOnly != c.readOnly || e.Sensitive != c.sensitive || e.Type != c.typ {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
	if e := entry(t, DescribeBroker(7, nil, nil, mustLoad(t, "node.id=7", "process.roles=broker,controller", "controller.listener.names=C",
		"listeners=PLAINTEXT://127.0.0.1:0,C://127.0.0.1:0", "listener.security.protocol.map=C:PLAINTEXT,PLAINTEXT:PLAINTEXT", "controller.quorum.bootstrap.servers=localhost:0")), "node.id"); told(e) != "7 node.id=7@4" {
		t.Errorf("node.id: %s", told(e))
	}
	all := DescribeCluster(cluster, static)
	for _, c := range []struct{ name, want string }{
		{"log.retention.ms", "100000 log.retention.ms=100000@3"},
		{"log.cleanup.policy", "delete, compact log.cleanup.policy=delete, compact@3"},
		{"what.is.this", "null what.is.this=null@3"},
	} {
		if got := told(entry(t, all, c.name)); got != c.want {
			t.Errorf("all brokers: %s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if len(all) != len(cluster) {
		t.Errorf("%d entries for all brokers", len(all))
	}
}

// Kafka's list of a broker's keys: all but the internal ones, and ours.
func TestDescribeBrokerIsWhole(t *testing.T) {
	list := DescribeBroker(1, nil, nil, mustLoad(t))
	want := 0
	for _, d := range Definitions() {
		if !d.Hidden {
			want++
		}
	}
	if len(list) != want {
		t.Errorf("%d entries, want %d", len(list), want)
	}
	for i, e := range list {
		if e.Doc == "" || e.Type == UnknownType || i > 0 && list[i-1].Name >= e.Name {
			t.Errorf("%+v", e)
		}
	}
}

// A topic's keys follow the broker keys that stand in for them, and are told as
// DescribeConfigs of Apache Kafka 4.4.0 tells them, in another unit without
// synonyms.
func TestDescribeTopicBelowBrokers(t *testing.T) {
	static := mustLoad(t, "log.retention.hours=100")
	e := entry(t, DescribeTopic(nil, nil, nil, static), "retention.ms")
	if told(e) != "360000000" || e.Source != SourceDefault || e.SetSource != SourceStatic {
		t.Errorf("%s, sources %d and %d", told(e), e.Source, e.SetSource)
	}
	e = entry(t, DescribeTopic(pairs([]string{"retention.ms= 77 "}), pairs([]string{"log.retention.ms=-2"}), nil, static), "retention.ms")
	if want := "77 retention.ms=77@1 log.retention.ms=-2@3 log.retention.hours=100@4 log.retention.hours=168@5"; told(e) != want {
		t.Errorf("\n got %s\nwant %s", told(e), want)
	}
	if got := Resolve(nil, pairs([]string{"log.retention.ms=-2"}), nil, static).RetentionMs; got != -1 {
		t.Errorf("log.retention.ms=-2 keeps for %d ms, want for ever", got)
	}
}

func TestResolveLive(t *testing.T) {
	static := mustLoad(t, "max.connections=5", "max.connections.per.ip.overrides=127.0.0.1:3")
	got := ResolveLive(pairs([]string{"max.connections=9", "producer.id.expiration.ms=7", "log.segment.delete.delay.ms=x"}),
		pairs([]string{"max.connections=8", "max.connections.per.ip=4", "max.connections.per.ip.overrides=127.0.0.2:1"}), static)
	want := Live{ConnectionsMax: 8, ConnectionCreationRate: math.MaxInt32, ConnectionsPerIPMax: 4, ConnectionsPerIP: map[netip.Addr]int{netip.MustParseAddr("127.0.0.2"): 1},
		SegmentDeleteDelayMs: 60000, ProducerIDExpirationMs: 7}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestListKeys(t *testing.T) {
	static := mustLoad(t, "log.cleanup.policy=compact")
	for _, c := range []struct {
		topic bool
		name  string
		base  string
		ok    bool
	}{
		{true, "cleanup.policy", "compact", true}, {true, "leader.replication.throttled.replicas", "", true}, {true, "retention.ms", "", false},
		{true, "log.cleanup.policy", "", false}, {false, "log.cleanup.policy", "compact", true}, {false, "metric.reporters", "org.apache.kafka.common.metrics.JmxReporter", true},
		{false, "message.max.bytes", "", false}, {false, "nope", "", false}, {false, "listener.name.x.ssl.cipher.suites", "", true},
	} {
		if base, ok := IsListKey(c.topic, c.name, static); base != c.base || ok != c.ok {
			t.Errorf("%s: %q %v", c.name, base, ok)
		}
	}
}

// What is taken and does nothing is known, so that it can be told once.
func TestIdle(t *testing.T) {
	names := func(list []Warning) (out []string) {
		for _, w := range list {
			if w.Message == "" {
				t.Errorf("%s: no reason", w.Key)
			}
			out = append(out, w.Key)
		}
		return out
	}
	topic := pairs([]string{"retention.bytes=-1", "min.compaction.lag.ms=1", "segment.bytes=2000000", "no.key=1", "delete.retention.ms=oops"})
	if got := names(Idle(true, topic)); !reflect.DeepEqual(got, []string{"min.compaction.lag.ms"}) {
		t.Errorf("topic: %v", got)
	}
	broker := pairs([]string{"num.io.threads=9", "num.network.threads=3", "max.connections=1", "retention.ms=1", "listener.name.x.max.connections=3"})
	if got := names(Idle(false, broker)); !reflect.DeepEqual(got, []string{"listener.name.x.max.connections", "num.io.threads", "retention.ms"}) {
		t.Errorf("broker: %v", got)
	}
}
