// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func mustLoad(t *testing.T, set ...string) *Node {
	t.Helper()
	n, _, err := Load(Sources{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The defaults of a topic are Kafka's.
func TestTopicDefaults(t *testing.T) {
	want := Topic{
		CleanupPolicy: CleanupPolicy{Delete: true}, CompressionType: CompressionProducer,
		CompressionGzipLevel: -1, CompressionLz4Level: 9, CompressionZstdLevel: 3,
		DeleteRetentionMs: 86400000, FileDeleteDelayMs: 60000, FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64,
		IndexIntervalBytes: 4096, LocalRetentionBytes: -1, LocalRetentionMs: 604800000, MaxCompactionLagMs: math.MaxInt64,
		MaxDecompressedMessageBytes: 2147483639, MaxMessageBytes: 1048588, MessageTimestampAfterMaxMs: 3600000,
		MessageTimestampBeforeMaxMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5, MinInsyncReplicas: 1, RemoteCopyLagBytes: -1,
		RetentionBytes: -1, RetentionMs: 604800000, SegmentBytes: 1 << 30, SegmentIndexBytes: 10485760, SegmentMs: 604800000,
	}
	for _, static := range []*Node{nil, mustLoad(t)} {
		if got := Resolve(nil, nil, nil, static); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestResolveLayers(t *testing.T) {
	static := mustLoad(t, "log.retention.hours=2", "log.roll.hours=3", "log.roll.jitter.hours=1", "gregor.produce.validation=strict",
		"compression.type=lz4", "log.flush.scheduler.interval.ms=70", "message.max.bytes=5000", "log.cleanup.policy=compact,delete",
		"log.message.timestamp.type=LogAppendTime", "log.preallocate=true", "unclean.leader.election.enable=true")
	got := Resolve(nil, nil, nil, static)
	if got.RetentionMs != 7200000 || got.LocalRetentionMs != 7200000 || got.SegmentMs != 3*3600000 || got.SegmentJitterMs != 3600000 {
		t.Errorf("hours: %+v", got)
	}
	if got.ProduceValidation != ValidateStrict || got.CompressionType != CompressionLz4 || got.FlushMs != 70 || got.MaxMessageBytes != 5000 ||
		!got.LogAppendTime || !got.Preallocate || !got.UncleanLeaderElectionEnable || got.CleanupPolicy != (CleanupPolicy{true, true}) {
		t.Errorf("static: %+v", got)
	}
	if got := Resolve(nil, nil, nil, mustLoad(t, "log.retention.hours=2", "log.retention.minutes=5")); got.RetentionMs != 300000 {
		t.Errorf("minutes win over hours: %d", got.RetentionMs)
	}
	if got := Resolve(nil, nil, nil, mustLoad(t, "log.retention.hours=-1")); got.RetentionMs != -1 {
		t.Errorf("for ever: %d", got.RetentionMs)
	}
	cluster := map[string]string{"message.max.bytes": "6000", "log.retention.ms": "60"}
	broker := map[string]string{"message.max.bytes": "7000"}
	topic := map[string]string{"max.message.bytes": "8000", "internal.segment.bytes": "100", "cleanup.policy": "", "compression.type": "zstd"}
	if got := Resolve(nil, cluster, nil, static); got.MaxMessageBytes != 6000 || got.RetentionMs != 60 {
		t.Errorf("cluster over static: %+v", got)
	}
	if got := Resolve(nil, cluster, broker, static); got.MaxMessageBytes != 7000 {
		t.Errorf("broker over cluster: %+v", got)
	}
	got = Resolve(topic, cluster, broker, static)
	if got.MaxMessageBytes != 8000 || got.SegmentBytes != 100 || got.CleanupPolicy != (CleanupPolicy{}) || got.CompressionType != CompressionZstd {
		t.Errorf("topic over all: %+v", got)
	}
}

// What a Kafka of another version wrote into the metadata must not make a
// topic unusable.
func TestResolvePassesOverForeignValues(t *testing.T) {
	got := Resolve(map[string]string{"compression.type": "brotli", "retention.ms": "soon", "new.key": "1"}, map[string]string{"log.retention.hours": "x"}, nil, nil)
	if got.CompressionType != CompressionProducer || got.RetentionMs != 604800000 {
		t.Errorf("%+v", got)
	}
}

func TestValidateTopicTakesAllKeysAtTheirDefaults(t *testing.T) {
	all := map[string]string{}
	for _, d := range TopicDefinitions() {
		if !d.Null {
			all[d.Name] = d.Default
		}
	}
	if len(all) != 38 { // Kafka's 37 that are not null, and gregor's one
		t.Errorf("%d keys", len(all))
	}
	if err := ValidateTopic(all, nil, nil, mustLoad(t)); err != nil {
		t.Error(err)
	}
}

func entry(t *testing.T, list []Entry, name string) Entry {
	t.Helper()
	for _, e := range list {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no %s", name)
	return Entry{}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// Every key is there with its value, source and synonyms: clients crash on
// missing ones (protocol rules 58 and 59).
func TestDescribeTopic(t *testing.T) {
	static := mustLoad(t, "log.retention.minutes=10", "min.insync.replicas=2")
	cluster := map[string]string{"log.retention.ms": "9000"}
	list := DescribeTopic(map[string]string{"retention.ms": "5", "max.message.bytes": "10"}, cluster, nil, static)
	if len(list) != 38 {
		t.Errorf("%d entries, want Kafka's 37 that are not internal and gregor's one", len(list))
	}
	type synonym struct {
		name, value string
		source      ConfigSource
	}
	for _, c := range []struct {
		name, value string
		source      ConfigSource
		synonyms    []synonym
	}{
		{"retention.ms", "5", SourceTopic, []synonym{{"retention.ms", "5", SourceTopic}, {"log.retention.ms", "9000", SourceClusterBroker},
			{"log.retention.minutes", "10", SourceStatic}, {"log.retention.hours", "168", SourceDefault}}},
		{"max.message.bytes", "10", SourceTopic, []synonym{{"max.message.bytes", "10", SourceTopic}, {"message.max.bytes", "1048588", SourceDefault}}},
		{"min.insync.replicas", "2", SourceStatic, []synonym{{"min.insync.replicas", "2", SourceStatic}, {"min.insync.replicas", "1", SourceDefault}}},
		{"cleanup.policy", "delete", SourceDefault, []synonym{{"log.cleanup.policy", "delete", SourceDefault}}},
		{"min.cleanable.dirty.ratio", "0.5", SourceDefault, []synonym{{"log.cleaner.min.cleanable.ratio", "0.5", SourceDefault}}},
		{"remote.storage.enable", "false", SourceDefault, nil},
		{"leader.replication.throttled.replicas", "", SourceDefault, nil},
	} {
		e := entry(t, list, c.name)
		var synonyms []synonym
		for _, s := range e.Synonyms {
			synonyms = append(synonyms, synonym{s.Name, text(s.Value), s.Source})
		}
		if text(e.Value) != c.value || e.Source != c.source || !reflect.DeepEqual(synonyms, c.synonyms) {
			t.Errorf("%s: %s from %d, %v", c.name, text(e.Value), e.Source, synonyms)
		}
	}
	// Apache Kafka answers CreateTopics with what was set, DescribeConfigs with
	// what it made of it.
	e := entry(t, DescribeTopic(map[string]string{"cleanup.policy": "compact, delete"}, nil, nil, static), "cleanup.policy")
	if text(e.Set) != "compact, delete" || text(e.Value) != "compact,delete" {
		t.Errorf("set %q, value %q", text(e.Set), text(e.Value))
	}
	if e := entry(t, list, "retention.ms"); text(e.Set) != "5" || e.SetSource != SourceTopic {
		t.Errorf("set %q", text(e.Set))
	}
	hidden := DescribeTopic(map[string]string{"internal.segment.bytes": "100"}, nil, nil, static)
	if e := entry(t, hidden, "internal.segment.bytes"); text(e.Value) != "100" || e.Source != SourceTopic {
		t.Errorf("%+v", e)
	}
}

// Constants name keys of their type, so that getters cannot fail.
func TestKeyConstants(t *testing.T) {
	n := mustLoad(t)
	for _, k := range []BoolKey{AutoCreateTopicsEnable, DeleteTopicEnable, UncleanLeaderElectionEnable} {
		n.Bool(k)
	}
	for _, c := range keyConstants(t) {
		d, ok := Lookup(c.key)
		if !ok {
			t.Errorf("%s: no key %s", c.name, c.key)
			continue
		}
		want := map[Type]string{Boolean: "BoolKey", Int: "IntKey", Short: "IntKey", Long: "LongKey", List: "ListKey"}[d.Type]
		if want == "" {
			want = "TextKey"
		}
		if c.typ != want {
			t.Errorf("%s is a %s, and %s is a %s", c.name, c.typ, c.key, d.Type)
		}
	}
}

// Resolve works out what it can once; a plain look through all layers for each
// key must give the same.
func TestResolveAgreesWithLooking(t *testing.T) {
	values := map[string][]string{ // of broker and topic keys alike; some are not valid
		"log.retention.ms": {"5", "-1", "x"}, "log.retention.minutes": {"7"}, "log.retention.hours": {"1", "-1"}, "log.roll.ms": {"9"}, "log.roll.hours": {"2"},
		"message.max.bytes": {"100", "-1"}, "compression.type": {"zstd", "none"}, "min.insync.replicas": {"2", "0"}, "log.cleanup.policy": {"", "compact"},
		"retention.ms": {"11", "never"}, "max.message.bytes": {"200"}, "cleanup.policy": {"compact,delete", "shred"}, "internal.segment.bytes": {"10"},
		"local.retention.ms": {"3", "-2"}, "gregor.produce.validation": {"strict", "lax"}, "num.partitions": {"3"}, "no.such.key": {"1"},
	}
	layer := rapid.Custom(func(t *rapid.T) map[string]string {
		m := map[string]string{}
		for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(values))), rapid.ID[string]).Draw(t, "keys") {
			m[key] = rapid.SampledFrom(values[key]).Draw(t, key)
		}
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		topic, cluster, broker := layer.Draw(t, "topic"), layer.Draw(t, "cluster"), layer.Draw(t, "broker")
		var set []string
		for key, value := range layer.Draw(t, "static") {
			if d, ok := Lookup(key); ok {
				if _, err := d.parse(value); err == nil {
					set = append(set, key+"="+value)
				}
			}
		}
		static, _, err := Load(Sources{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		r := resolver{layers(topic, cluster, broker), static}
		want := topicOf(func(key string) any {
			if f := r.find(mustLookupTopic(key)); len(f) > 0 {
				return f[0].value
			}
			return nil
		})
		if got := Resolve(topic, cluster, broker, static); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		// What is told is what holds.
		for _, e := range DescribeTopic(topic, cluster, broker, static) {
			if e.Name == "retention.ms" && text(e.Value) != strconv.FormatInt(want.RetentionMs, 10) {
				t.Fatalf("retention.ms: told %s, holds %d", text(e.Value), want.RetentionMs)
			}
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	n, _, err := Load(Sources{})
	if err != nil {
		b.Fatal(err)
	}
	own := map[string]string{"retention.ms": "5"}
	cluster := map[string]string{"min.insync.replicas": "1"}
	for _, c := range []struct {
		name         string
		own, cluster map[string]string
	}{{"plain", nil, nil}, {"own", own, nil}, {"own-and-cluster", own, cluster}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Resolve(c.own, c.cluster, nil, n)
			}
		})
	}
}
