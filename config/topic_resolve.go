// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"sort"
	"strconv"
	"strings"
	"sync"

	"gregor/base/kafka"
)

// layer is one place that may set a topic key, in order of precedence.
type layer struct {
	source ConfigSource
	values map[string]string
	topic  bool // names are topic keys, not their broker twins
}

// InvalidTopicError says why a topic's configuration is refused. It carries
// kafka.InvalidConfig, and its text is what the client is told.
type InvalidTopicError struct{ Message string }

func (e *InvalidTopicError) Error() string { return e.Message }

// Unwrap lets kafka.CodeOf find the code.
func (e *InvalidTopicError) Unwrap() error { return kafka.InvalidConfig }

// Resolve gives what holds for a topic: its own values over the dynamic values
// of this broker, over those of all brokers, over the static ones of the node,
// over the defaults. static may be nil. Values in metadata that this build does
// not take (a Kafka of another version wrote them) count as not set: a topic
// must stay usable, and ValidateTopic has already judged what came through us.
func Resolve(topicOverrides, clusterDynamic, brokerDynamic map[string]string, static *Node) Topic {
	b := builtInBase()
	if static != nil {
		b = static.base
	}
	if len(clusterDynamic) > 0 || len(brokerDynamic) > 0 {
		b = b.under(resolver{layers(nil, clusterDynamic, brokerDynamic), static})
	}
	if len(topicOverrides) == 0 {
		return b.topic
	}
	return topicOf(func(key string) any {
		if text, own := topicOverrides[key]; own {
			if v, err := mustLookupTopic(key).parse(text); err == nil {
				return v
			}
		}
		return b.values[key]
	})
}

// base is what holds for a topic that sets nothing: a broker may have a
// hundred thousand of those, so it is worked out once.
type base struct {
	values map[string]any
	topic  Topic
}

func newBase(r resolver) *base {
	b := &base{values: make(map[string]any, len(topicKeys))}
	for i := range topicKeys {
		if f := r.find(&topicKeys[i]); len(f) > 0 {
			b.values[topicKeys[i].Name] = f[0].value
		}
	}
	b.topic = topicOf(func(key string) any { return b.values[key] })
	return b
}

// under lays dynamic values over a base: only the topic keys whose twins they
// set are looked up again.
func (b *base) under(r resolver) *base {
	over := &base{values: maps.Clone(b.values)}
	for _, l := range r.layers {
		for key := range l.values {
			for _, name := range twinned()[key] {
				if f := r.find(mustLookupTopic(name)); len(f) > 0 {
					over.values[name] = f[0].value
				}
			}
		}
	}
	over.topic = topicOf(func(key string) any { return over.values[key] })
	return over
}

// twinned gives the topic keys behind each broker key.
var twinned = sync.OnceValue(func() map[string][]string {
	m := map[string][]string{}
	for name, list := range twins {
		for _, t := range list {
			m[t.key] = append(m[t.key], name)
		}
	}
	return m
})

// builtInBase is the base of Kafka's defaults.
var builtInBase = sync.OnceValue(func() *base { return newBase(resolver{}) })

// ValidateTopic judges a topic's own values as CreateTopics and
// (Incremental)AlterConfigs do; the error is an *InvalidTopicError with
// Kafka's text. existing are the values the topic had before, nil for a new
// topic; clusterDynamic and static are what stands below.
func ValidateTopic(overrides, existing, clusterDynamic map[string]string, static *Node) error {
	for _, key := range keysOf(overrides) {
		d, ok := LookupTopic(key)
		if !ok {
			return &InvalidTopicError{"Unknown topic config name: " + key}
		}
		if _, err := d.parse(overrides[key]); err != nil {
			return &InvalidTopicError{err.Error()}
		}
	}
	return checkTogether(Resolve(overrides, clusterDynamic, nil, static), existing)
}

func layers(topic, cluster, broker map[string]string) []layer {
	return []layer{{SourceTopic, topic, true}, {SourceBroker, broker, false}, {SourceClusterBroker, cluster, false}}
}

func keysOf(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

type resolver struct {
	layers []layer
	static *Node
}

// twin is a broker key that stands in for a topic key that is not set.
type twin struct {
	key     string
	scaleMs int64 // what one unit of the broker key is in the topic key's; 0: the same
}

const (
	hourMs   = int64(3600_000)
	minuteMs = int64(60_000)
)

// twins of topic keys, in order of precedence. Topic keys that are missing
// here have none.
var twins = map[string][]twin{
	"cleanup.policy":                  {{key: "log.cleanup.policy"}},
	"compression.gzip.level":          {{key: "compression.gzip.level"}},
	"compression.lz4.level":           {{key: "compression.lz4.level"}},
	"compression.type":                {{key: "compression.type"}},
	"compression.zstd.level":          {{key: "compression.zstd.level"}},
	"delete.retention.ms":             {{key: "log.cleaner.delete.retention.ms"}},
	"file.delete.delay.ms":            {{key: "log.segment.delete.delay.ms"}},
	"flush.messages":                  {{key: "log.flush.interval.messages"}},
	"flush.ms":                        {{key: "log.flush.interval.ms"}, {key: "log.flush.scheduler.interval.ms"}},
	"gregor.produce.validation":       {{key: "gregor.produce.validation"}},
	"index.interval.bytes":            {{key: "log.index.interval.bytes"}},
	"local.retention.bytes":           {{key: "log.local.retention.bytes"}},
	"local.retention.ms":              {{key: "log.local.retention.ms"}},
	"max.compaction.lag.ms":           {{key: "log.cleaner.max.compaction.lag.ms"}},
	"max.decompressed.message.bytes":  {{key: "max.decompressed.message.bytes"}},
	"max.message.bytes":               {{key: "message.max.bytes"}},
	"message.timestamp.after.max.ms":  {{key: "log.message.timestamp.after.max.ms"}},
	"message.timestamp.before.max.ms": {{key: "log.message.timestamp.before.max.ms"}},
	"message.timestamp.type":          {{key: "log.message.timestamp.type"}},
	"min.cleanable.dirty.ratio":       {{key: "log.cleaner.min.cleanable.ratio"}},
	"min.compaction.lag.ms":           {{key: "log.cleaner.min.compaction.lag.ms"}},
	"min.insync.replicas":             {{key: "min.insync.replicas"}},
	"preallocate":                     {{key: "log.preallocate"}},
	"remote.copy.lag.bytes":           {{key: "log.remote.copy.lag.bytes"}},
	"remote.copy.lag.ms":              {{key: "log.remote.copy.lag.ms"}},
	"retention.bytes":                 {{key: "log.retention.bytes"}},
	"retention.ms":                    {{key: "log.retention.ms", scaleMs: 1}, {key: "log.retention.minutes", scaleMs: minuteMs}, {key: "log.retention.hours", scaleMs: hourMs}},
	"segment.bytes":                   {{key: "log.segment.bytes"}},
	"segment.index.bytes":             {{key: "log.index.size.max.bytes"}},
	"segment.jitter.ms":               {{key: "log.roll.jitter.ms"}, {key: "log.roll.jitter.hours", scaleMs: hourMs}},
	"segment.ms":                      {{key: "log.roll.ms"}, {key: "log.roll.hours", scaleMs: hourMs}},
	"unclean.leader.election.enable":  {{key: "unclean.leader.election.enable"}},
}

// found is one place that sets a topic key.
type found struct {
	name   string // of the key that is set there
	raw    string // as it is set there
	told   string // the same in the topic key's unit
	value  any    // in the topic key's type and unit
	source ConfigSource
}

// find gives all places that set a topic key, the one in force first. It ends
// with the default where the key has one.
func (r *resolver) find(d *Definition) []found {
	var out []found
	for _, l := range r.layers {
		if l.topic {
			if text, ok := l.values[d.Name]; ok {
				out = r.add(out, d, d.Name, text, 0, l.source)
			}
			continue
		}
		for _, t := range twins[d.Name] {
			if text, ok := l.values[t.key]; ok {
				out = r.add(out, d, t.key, text, t.scaleMs, l.source)
			}
		}
	}
	for _, t := range twins[d.Name] {
		if r.static == nil {
			break
		}
		if text, ok := r.static.raw(t.key); ok {
			out = r.add(out, d, t.key, text, t.scaleMs, SourceStatic)
		}
	}
	return r.addDefault(out, d)
}

// addDefault appends the defaults of the broker twins, as Kafka tells them
// (log.retention.hours=168); for a topic key without twins, its own.
func (r *resolver) addDefault(out []found, d *Definition) []found {
	for _, t := range twins[d.Name] {
		if b, ok := Lookup(t.key); ok && !b.Null {
			out = r.add(out, d, t.key, b.Default, t.scaleMs, SourceDefault)
		}
	}
	if len(twins[d.Name]) == 0 && !d.Null {
		out = r.add(out, d, d.Name, d.Default, 0, SourceDefault)
	}
	return out
}

func (r *resolver) add(out []found, d *Definition, name, text string, scaleMs int64, source ConfigSource) []found {
	raw := text
	if scaleMs != 0 {
		n, err := strconv.ParseInt(strings.TrimSpace(raw), 10, 64)
		if err != nil {
			return out
		}
		text = scaled(n, scaleMs)
	}
	v, err := d.parse(text)
	if err != nil {
		return out
	}
	return append(out, found{name, raw, text, v, source})
}

// scaled turns hours or minutes into milliseconds; a negative number of them
// is for ever.
func scaled(n, scaleMs int64) string {
	if n < 0 {
		return "-1"
	}
	return strconv.FormatInt(n*scaleMs, 10)
}

func mustLookupTopic(key string) *Definition {
	d, ok := LookupTopic(key)
	if !ok {
		panic("config: no such topic key: " + key)
	}
	return d
}

// reader gives the value in force of a topic key; nil is null.
type reader func(key string) any

func (r reader) long(key string) int64     { v, _ := r(key).(int64); return v }
func (r reader) int(key string) int32      { return int32(r.long(key)) }
func (r reader) bool(key string) bool      { v, _ := r(key).(bool); return v }
func (r reader) text(key string) string    { v, _ := r(key).(string); return v }
func (r reader) list(key string) []string  { v, _ := r(key).([]string); return v }
func (r reader) double(key string) float64 { v, _ := r(key).(float64); return v }

func topicOf(r reader) Topic {
	t := Topic{
		CleanupPolicy:               cleanupPolicy(r.list("cleanup.policy")),
		CompressionType:             compression(r.text("compression.type")),
		CompressionGzipLevel:        r.int("compression.gzip.level"),
		CompressionLz4Level:         r.int("compression.lz4.level"),
		CompressionZstdLevel:        r.int("compression.zstd.level"),
		DeleteRetentionMs:           r.long("delete.retention.ms"),
		DeadLetterQueueGroupEnable:  r.bool("errors.deadletterqueue.group.enable"),
		FileDeleteDelayMs:           r.long("file.delete.delay.ms"),
		FlushMessages:               r.long("flush.messages"),
		FlushMs:                     r.long("flush.ms"),
		FollowerThrottledReplicas:   r.list("follower.replication.throttled.replicas"),
		LeaderThrottledReplicas:     r.list("leader.replication.throttled.replicas"),
		IndexIntervalBytes:          r.int("index.interval.bytes"),
		LocalRetentionBytes:         r.long("local.retention.bytes"),
		LocalRetentionMs:            r.long("local.retention.ms"),
		MaxCompactionLagMs:          r.long("max.compaction.lag.ms"),
		MaxDecompressedMessageBytes: r.int("max.decompressed.message.bytes"),
		MaxMessageBytes:             r.int("max.message.bytes"),
		MessageTimestampAfterMaxMs:  r.long("message.timestamp.after.max.ms"),
		MessageTimestampBeforeMaxMs: r.long("message.timestamp.before.max.ms"),
		LogAppendTime:               r.text("message.timestamp.type") == "LogAppendTime",
		MinCleanableDirtyRatio:      r.double("min.cleanable.dirty.ratio"),
		MinCompactionLagMs:          r.long("min.compaction.lag.ms"),
		MinInsyncReplicas:           r.int("min.insync.replicas"),
		Preallocate:                 r.bool("preallocate"),
		RemoteCopyLagBytes:          r.long("remote.copy.lag.bytes"),
		RemoteCopyLagMs:             r.long("remote.copy.lag.ms"),
		RemoteLogCopyDisable:        r.bool("remote.log.copy.disable"),
		RemoteLogDeleteOnDisable:    r.bool("remote.log.delete.on.disable"),
		RemoteStorageEnable:         r.bool("remote.storage.enable"),
		RetentionBytes:              r.long("retention.bytes"),
		RetentionMs:                 r.long("retention.ms"),
		SegmentBytes:                r.int("segment.bytes"),
		SegmentIndexBytes:           r.int("segment.index.bytes"),
		SegmentJitterMs:             r.long("segment.jitter.ms"),
		SegmentMs:                   r.long("segment.ms"),
		UncleanLeaderElectionEnable: r.bool("unclean.leader.election.enable"),
	}
	if internal, ok := r("internal.segment.bytes").(int64); ok {
		t.SegmentBytes = int32(internal)
	}
	if t.LocalRetentionBytes == -2 {
		t.LocalRetentionBytes = t.RetentionBytes
	}
	if t.LocalRetentionMs == -2 {
		t.LocalRetentionMs = t.RetentionMs
	}
	if r.text("gregor.produce.validation") == "strict" {
		t.ProduceValidation = ValidateStrict
	}
	return t
}

func cleanupPolicy(list []string) (p CleanupPolicy) {
	for _, s := range list {
		switch s {
		case "delete":
			p.Delete = true
		case "compact":
			p.Compact = true
		}
	}
	return p
}

func compression(name string) Compression {
	switch name {
	case "uncompressed":
		return CompressionUncompressed
	case "gzip":
		return CompressionGzip
	case "snappy":
		return CompressionSnappy
	case "lz4":
		return CompressionLz4
	case "zstd":
		return CompressionZstd
	}
	return CompressionProducer
}

// checkTogether holds Kafka's rules over several topic keys. Those over sizes
// and times of tiered storage come with it.
func checkTogether(t Topic, existing map[string]string) error {
	wasRemote, _ := parseType(Boolean, existing["remote.storage.enable"])
	switch {
	case t.MinCompactionLagMs > t.MaxCompactionLagMs:
		return &InvalidTopicError{fmt.Sprintf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)",
			t.MinCompactionLagMs, t.MaxCompactionLagMs)}
	case t.RemoteStorageEnable:
		return &InvalidTopicError{"Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."}
	case wasRemote == true && !t.RemoteLogDeleteOnDisable:
		return &InvalidTopicError{"Remote storage cannot be turned off while its data is kept; set remote.log.delete.on.disable=true to delete the data, " +
			"or remote.log.copy.disable=true to keep it and copy no more."}
	}
	return nil
}
