// SPDX-License-Identifier: Apache-2.0

package config

// CleanupPolicy is cleanup.policy. The empty policy keeps everything for ever.
type CleanupPolicy struct{ Delete, Compact bool }

// Compression is compression.type.
type Compression int8

// The values of compression.type. The codecs have their numbers of the record
// batch.
const (
	CompressionProducer     Compression = -1 // keep what the producer chose
	CompressionUncompressed Compression = 0
	CompressionGzip         Compression = 1
	CompressionSnappy       Compression = 2
	CompressionLz4          Compression = 3
	CompressionZstd         Compression = 4
)

// ProduceValidation is gregor.produce.validation.
type ProduceValidation int8

// Standard validation looks into uncompressed batches only; strict validation
// decompresses every batch and checks every record, as Kafka does.
const (
	ValidateStandard ProduceValidation = iota
	ValidateStrict
)

// Topic is the configuration that holds for one topic on one broker: all of
// Kafka's topic keys and gregor's. Units are those of Kafka's keys.
type Topic struct {
	CleanupPolicy               CleanupPolicy
	CompressionType             Compression
	CompressionGzipLevel        int32
	CompressionLz4Level         int32
	CompressionZstdLevel        int32
	DeleteRetentionMs           int64
	DeadLetterQueueGroupEnable  bool
	FileDeleteDelayMs           int64
	FlushMessages               int64
	FlushMs                     int64
	FollowerThrottledReplicas   []string
	LeaderThrottledReplicas     []string
	IndexIntervalBytes          int32
	LocalRetentionBytes         int64 // retention.bytes where -2 says so
	LocalRetentionMs            int64 // retention.ms where -2 says so
	MaxCompactionLagMs          int64
	MaxDecompressedMessageBytes int32
	MaxMessageBytes             int32
	MessageTimestampAfterMaxMs  int64
	MessageTimestampBeforeMaxMs int64
	LogAppendTime               bool // message.timestamp.type
	MinCleanableDirtyRatio      float64
	MinCompactionLagMs          int64
	MinInsyncReplicas           int32
	Preallocate                 bool
	RemoteCopyLagBytes          int64
	RemoteCopyLagMs             int64
	RemoteLogCopyDisable        bool
	RemoteLogDeleteOnDisable    bool
	RemoteStorageEnable         bool
	RetentionBytes              int64
	RetentionMs                 int64
	SegmentBytes                int32 // internal.segment.bytes where that is set
	SegmentIndexBytes           int32
	SegmentJitterMs             int64
	SegmentMs                   int64
	UncleanLeaderElectionEnable bool
	ProduceValidation           ProduceValidation
}
