// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"math"
	"strconv"
	"time"

	"gregor/cluster/image"
	"gregor/config"
	"gregor/replica"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
	"gregor/storage/retention"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// resolve gives the rules that hold for a topic.
func (x *Executor) resolve(img *image.Image, topic string) *replica.Rules {
	own := image.Resource{Type: image.ResourceBroker, Name: strconv.Itoa(int(x.o.Self))}
	cluster, broker := img.Configs(image.ClusterResource), img.Configs(own)
	c := config.Resolve(img.Configs(image.TopicResource(topic)), cluster, broker, x.o.Config)
	r := rulesOf(&c, x.o.Config.Long(config.ReplicaLagTimeMaxMs))
	r.Log.ProducerIDExpirationMs = config.ResolveLive(cluster, broker, x.o.Config).ProducerIDExpirationMs
	return r
}

// rulesOf takes from a topic's configuration what its replicas obey.
func rulesOf(c *config.Topic, lagMaxMs int64) *replica.Rules {
	r := &replica.Rules{
		Batch: batch.Rules{
			Strict:          c.ProduceValidation == config.ValidateStrict,
			Compacted:       c.CleanupPolicy.Compact,
			KeepCodec:       c.CompressionType == config.CompressionProducer,
			BeforeMaxMs:     c.MessageTimestampBeforeMaxMs,
			AfterMaxMs:      c.MessageTimestampAfterMaxMs,
			RecordBytesMax:  int64(c.MaxDecompressedMessageBytes),
			MessageBytesMax: int(c.MaxMessageBytes),
		},
		CompactOnly: c.CleanupPolicy.Compact && !c.CleanupPolicy.Delete,
		ISR:         isr.Rules{MinInsyncReplicas: int(c.MinInsyncReplicas), LagMaxMs: lagMaxMs},
		Log: commitlog.Config{
			SegmentBytes: c.SegmentBytes, SegmentMs: c.SegmentMs, SegmentJitterMs: c.SegmentJitterMs,
			IndexBytes: c.SegmentIndexBytes, IndexIntervalBytes: c.IndexIntervalBytes, Preallocate: c.Preallocate,
			FlushMessages: c.FlushMessages, FlushMs: c.FlushMs, Compacted: c.CleanupPolicy.Compact,
			FileDeleteDelayMs: min(c.FileDeleteDelayMs, math.MaxInt64/int64(time.Millisecond)),
		},
		Retention: retention.Rules{Delete: c.CleanupPolicy.Delete, Ms: c.RetentionMs, Bytes: c.RetentionBytes},
	}
	if c.FileDeleteDelayMs == 0 { // as an option that is the directory's
		r.Log.FileDeleteDelayMs = -1
	}
	if c.FlushMs <= 0 { // at once
		r.Log.FlushMs, r.Log.FlushMessages = 0, 1
	}
	if c.LogAppendTime {
		r.Batch.TimestampType = batch.LogAppendTime
	}
	if !r.Batch.KeepCodec {
		r.Batch.Codec = compress.Codec(c.CompressionType)
		r.Batch.Level = levelOf(c)
	}
	return r
}

func levelOf(c *config.Topic) int {
	switch c.CompressionType {
	case config.CompressionGzip:
		return int(c.CompressionGzipLevel)
	case config.CompressionLz4:
		return int(c.CompressionLz4Level)
	case config.CompressionZstd:
		return int(c.CompressionZstdLevel)
	}
	return 0
}
