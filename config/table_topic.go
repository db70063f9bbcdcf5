// SPDX-License-Identifier: Apache-2.0

package config

import "sync"

// topicKeys holds Kafka's topic keys and gregor's. Effects of topic keys that
// have a broker twin are the twin's.
var topicKeys = []Definition{
	{Name: "cleanup.policy", Type: List, Default: "delete", Check: elements{empty: true, of: []string{"compact", "delete"}}, Effect: Works, Doc: "What happens to old segments: `delete`, `compact`, both, or nothing when empty. `compact` does not compact yet; topics with it refuse records without keys."},
	{Name: "compression.gzip.level", Type: Int, Default: "-1", Check: gzipLevel{}, Effect: Works, Doc: "Level at which the broker compresses with gzip."},
	{Name: "compression.lz4.level", Type: Int, Default: "9", Check: between(1, 17), Effect: Works, Doc: "Level at which the broker compresses with lz4."},
	{Name: "compression.type", Type: String, Default: "producer", Check: oneOf{of: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}}, Effect: Works, Doc: "Codec in which batches are kept; `producer` keeps what the producer chose."},
	{Name: "compression.zstd.level", Type: Int, Default: "3", Check: between(-131072, 22), Effect: Works, Doc: "Level at which the broker compresses with zstd."},
	{Name: "delete.retention.ms", Type: Long, Default: "86400000", Check: atLeast(0), Doc: "Compaction: how long tombstones stay."},
	{Name: "errors.deadletterqueue.group.enable", Type: Boolean, Default: "false", Doc: "Share groups: whether the topic may take dead letters."},
	{Name: "file.delete.delay.ms", Type: Long, Default: "60000", Check: atLeast(0), Effect: Works, Doc: "How long a deleted segment's files stay on disk; those of a deleted topic follow the broker key."},
	{Name: "flush.messages", Type: Long, Default: "9223372036854775807", Check: atLeast(1), Effect: Works, Doc: "Records after which the log is flushed to disk."},
	{Name: "flush.ms", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Effect: Works, Doc: "Time after which the log is flushed to disk."},
	{Name: "follower.replication.throttled.replicas", Type: List, Check: throttledReplicas{}, Doc: "Replicas whose fetching is throttled."},
	{Name: "index.interval.bytes", Type: Int, Default: "4096", Check: atLeast(0), Effect: Works, Doc: "Bytes of records between two index entries."},
	{Name: "internal.segment.bytes", Type: Int, Null: true, Effect: Works, Hidden: true, Doc: "Size at which a new segment begins, below the least that `segment.bytes` takes; for tests."},
	{Name: "leader.replication.throttled.replicas", Type: List, Check: throttledReplicas{}, Doc: "Replicas whose serving of followers is throttled."},
	{Name: "local.retention.bytes", Type: Long, Default: "-2", Check: atLeast(-2), Doc: "Tiered storage: local bytes kept; -2 follows `retention.bytes`."},
	{Name: "local.retention.ms", Type: Long, Default: "-2", Check: atLeast(-2), Doc: "Tiered storage: local time kept; -2 follows `retention.ms`."},
	{Name: "max.compaction.lag.ms", Type: Long, Default: "9223372036854775807", Check: atLeast(1), Doc: "Compaction: longest time a record stays uncompacted."},
	{Name: "max.decompressed.message.bytes", Type: Int, Default: "2147483639", Check: between(1, 2147483639), Effect: Works, Doc: "Largest size of one record after decompression."},
	{Name: "max.message.bytes", Type: Int, Default: "1048588", Check: atLeast(0), Effect: Works, Doc: "Largest record batch, as sent."},
	{Name: "message.timestamp.after.max.ms", Type: Long, Default: "3600000", Check: atLeast(0), Effect: Works, Doc: "How far ahead of the broker's clock a record's time may be."},
	{Name: "message.timestamp.before.max.ms", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Effect: Works, Doc: "How far behind the broker's clock a record's time may be."},
	{Name: "message.timestamp.type", Type: String, Default: "CreateTime", Check: oneOf{of: []string{"CreateTime", "LogAppendTime"}}, Effect: Works, Doc: "Whether records keep the producer's time or get the broker's."},
	{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", Check: between(0, 1), Doc: "Compaction: share of dirty bytes that starts it."},
	{Name: "min.compaction.lag.ms", Type: Long, Default: "0", Check: atLeast(0), Doc: "Compaction: shortest time a record stays uncompacted."},
	{Name: "min.insync.replicas", Type: Int, Default: "1", Check: atLeast(1), Effect: Works, Doc: "In-sync replicas that acks=all needs."},
	{Name: "preallocate", Type: Boolean, Default: "false", Effect: Works, Doc: "Whether segment files are allocated in full when they are made."},
	{Name: "remote.copy.lag.bytes", Type: Long, Default: "-1", Check: atLeast(-1), Doc: "Tiered storage: bytes before a segment is copied."},
	{Name: "remote.copy.lag.ms", Type: Long, Default: "0", Check: atLeast(-1), Doc: "Tiered storage: time before a segment is copied."},
	{Name: "remote.log.copy.disable", Type: Boolean, Default: "false", Doc: "Tiered storage: keep what is remote, copy no more."},
	{Name: "remote.log.delete.on.disable", Type: Boolean, Default: "false", Doc: "Tiered storage: delete what is remote when it is turned off."},
	{Name: "remote.storage.enable", Type: Boolean, Default: "false", Doc: "Tiered storage of this topic."},
	{Name: "retention.bytes", Type: Long, Default: "-1", Effect: Works, Doc: "Bytes of a partition that are kept."},
	{Name: "retention.ms", Type: Long, Default: "604800000", Check: atLeast(-1), Effect: Works, Doc: "Time that records are kept; -1 is for ever."},
	{Name: "segment.bytes", Type: Int, Default: "1073741824", Check: atLeast(1048576), Effect: Works, Doc: "Size at which a new segment begins."},
	{Name: "segment.index.bytes", Type: Int, Default: "10485760", Check: atLeast(4), Effect: Works, Doc: "Largest offset or time index of a segment."},
	{Name: "segment.jitter.ms", Type: Long, Default: "0", Check: atLeast(0), Effect: Works, Doc: "Random part taken off `segment.ms`."},
	{Name: "segment.ms", Type: Long, Default: "604800000", Check: atLeast(1), Effect: Works, Doc: "Time after which a new segment begins."},
	{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Effect: Works, Doc: "Whether a replica that may have lost records can become leader when no other is left."},
	{Name: "gregor.produce.validation", Type: String, Default: "standard", Check: oneOf{of: []string{"standard", "strict"}}, Effect: Works, Doc: "How closely produced batches are looked at; see the broker key."},
}

var topicTable = sync.OnceValue(func() map[string]*Definition {
	m := make(map[string]*Definition, len(topicKeys))
	for i := range topicKeys {
		m[topicKeys[i].Name] = &topicKeys[i]
	}
	return m
})

// LookupTopic gives the definition of a topic key.
func LookupTopic(key string) (*Definition, bool) {
	d, ok := topicTable()[key]
	return d, ok
}
