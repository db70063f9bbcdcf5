// SPDX-License-Identifier: Apache-2.0

package group

import "math"

// Options are the limits and defaults of a coordinator. A zero value of a
// number is Kafka's default unless the field says otherwise; the keys are
// Kafka's.
type Options struct {
	// Topics is the metadata as it is when the coordinator starts.
	Topics Topics
	// RandomUUID gives the random part of a member id.
	RandomUUID func() [16]byte

	// GroupMinSessionTimeoutMs is group.min.session.timeout.ms, 6000.
	GroupMinSessionTimeoutMs int32
	// GroupMaxSessionTimeoutMs is group.max.session.timeout.ms, 1800000.
	GroupMaxSessionTimeoutMs int32
	// GroupInitialRebalanceDelayMs is group.initial.rebalance.delay.ms, 3000;
	// zero is zero.
	GroupInitialRebalanceDelayMs int32
	// GroupMaxSize is group.max.size, 2147483647.
	GroupMaxSize int32
	// NewMemberJoinTimeoutMs is how long a member may wait in its first
	// JoinGroup, 300000. Kafka has no key for it.
	NewMemberJoinTimeoutMs int32

	// OffsetMetadataMaxBytes is offset.metadata.max.bytes, 4096. Kafka counts
	// characters (UTF-16 units), and so do we.
	OffsetMetadataMaxBytes int32
	// OffsetsRetentionMs is offsets.retention.minutes, 10080, in ms.
	OffsetsRetentionMs int64
	// RecordsBytesMax bounds the records of one event: max.message.bytes of
	// __consumer_offsets, 1048588, less the header of a batch.
	RecordsBytesMax int32
	// OffsetsRetentionCheckIntervalMs is offsets.retention.check.interval.ms, 600000.
	OffsetsRetentionCheckIntervalMs int64
}

// DefaultGroupInitialRebalanceDelayMs is the default that a zero cannot stand for.
const DefaultGroupInitialRebalanceDelayMs = 3000

func (o *Options) ensureDefaults() {
	setDefault(&o.GroupMinSessionTimeoutMs, 6000)
	setDefault(&o.GroupMaxSessionTimeoutMs, 1_800_000)
	setDefault(&o.GroupMaxSize, math.MaxInt32)
	setDefault(&o.NewMemberJoinTimeoutMs, 300_000)
	setDefault(&o.OffsetMetadataMaxBytes, 4096)
	setDefault(&o.RecordsBytesMax, 1_048_588-61)
	setDefault(&o.OffsetsRetentionMs, 7*24*60*60*1000)
	setDefault(&o.OffsetsRetentionCheckIntervalMs, 600_000)
}

func setDefault[T int32 | int64](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}
