// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"
	"slices"

	"gregor/coordinator/assignor"
)

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

	// ConsumerSessionTimeoutMs is group.consumer.session.timeout.ms, 45000.
	ConsumerSessionTimeoutMs int32
	// ConsumerHeartbeatIntervalMs is group.consumer.heartbeat.interval.ms, 5000.
	ConsumerHeartbeatIntervalMs int32
	// ConsumerRebalanceIntervalMs is gregor.group.consumer.rebalance.heartbeat.interval.ms:
	// how soon members come again while their group changes. Zero is as in Kafka:
	// at the interval of all times.
	ConsumerRebalanceIntervalMs int32
	// ConsumerAssignmentIntervalMs is group.consumer.assignment.interval.ms, 1000; zero is zero.
	ConsumerAssignmentIntervalMs int32
	// ConsumerMaxSize is group.consumer.max.size, 2147483647.
	ConsumerMaxSize int32
	// ConsumerAssignors is group.consumer.assignors, uniform and range; the first is the default one.
	ConsumerAssignors []string
	// ConsumerMigration is group.consumer.migration.policy, both ways.
	ConsumerMigration Migration
	// ConsumerRegexRefreshIntervalMs is group.consumer.regex.refresh.interval.ms, 600000.
	ConsumerRegexRefreshIntervalMs int32
	// ConsumerRegexBytesMax is gregor.group.consumer.regex.max.bytes, 4096.
	ConsumerRegexBytesMax int32
	// GroupConfig gives the settings that a group has for itself; nil if none has.
	GroupConfig func(groupID string) GroupConfig

	// OffsetMetadataMaxBytes is offset.metadata.max.bytes, 4096. Kafka counts
	// characters (UTF-16 units), and so do we.
	OffsetMetadataMaxBytes int32
	// OffsetsRetentionMs is offsets.retention.minutes, 10080, in ms.
	OffsetsRetentionMs int64
	// RecordsBytesMax bounds the records of one event: max.message.bytes of
	// __consumer_offsets, 1048588, less the header of a batch. It may change
	// (Groups.LimitRecords).
	RecordsBytesMax int32
	// OffsetsRetentionCheckIntervalMs is offsets.retention.check.interval.ms, 600000.
	OffsetsRetentionCheckIntervalMs int64
}

// GroupConfig are settings of one group; nil is the broker's.
type GroupConfig struct {
	ConsumerSessionTimeoutMs     *int32
	ConsumerHeartbeatIntervalMs  *int32
	ConsumerAssignmentIntervalMs *int32
}

// consumerConfig is what counts for one group.
type consumerConfig struct{ SessionTimeoutMs, HeartbeatIntervalMs, AssignmentIntervalMs int32 }

func (g *Groups) groupConfig(id string) consumerConfig {
	o := &g.options
	c := consumerConfig{o.ConsumerSessionTimeoutMs, o.ConsumerHeartbeatIntervalMs, o.ConsumerAssignmentIntervalMs}
	if o.GroupConfig == nil {
		return c
	}
	own := o.GroupConfig(id)
	for _, f := range [...]struct {
		to  *int32
		own *int32
	}{{&c.SessionTimeoutMs, own.ConsumerSessionTimeoutMs}, {&c.HeartbeatIntervalMs, own.ConsumerHeartbeatIntervalMs}, {&c.AssignmentIntervalMs, own.ConsumerAssignmentIntervalMs}} {
		if f.own != nil {
			*f.to = *f.own
		}
	}
	return c
}

// LimitRecords changes Options.RecordsBytesMax, from the next event on.
func (g *Groups) LimitRecords(bytesMax int32) { g.options.RecordsBytesMax = bytesMax }

func (o *Options) hasAssignor(name string) bool { return slices.Contains(o.ConsumerAssignors, name) }

func (o *Options) ensureDefaults() {
	setDefault(&o.GroupMinSessionTimeoutMs, 6000)
	setDefault(&o.GroupMaxSessionTimeoutMs, 1_800_000)
	setDefault(&o.GroupMaxSize, math.MaxInt32)
	setDefault(&o.NewMemberJoinTimeoutMs, 300_000)
	setDefault(&o.ConsumerSessionTimeoutMs, 45_000)
	setDefault(&o.ConsumerHeartbeatIntervalMs, 5000)
	setDefault(&o.ConsumerMaxSize, math.MaxInt32)
	setDefault(&o.ConsumerRegexRefreshIntervalMs, 600_000)
	setDefault(&o.ConsumerRegexBytesMax, 4096)
	if len(o.ConsumerAssignors) == 0 {
		o.ConsumerAssignors = assignor.Names()
	}
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
