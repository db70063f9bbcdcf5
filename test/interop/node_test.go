// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"os"
	"slices"
	"testing"

	"gregor/test/interop/kafka"
)

// forever: the records are of fixed times, long ago.
var forever = []string{"log.retention.ms=-1"}

// forGroups is what one node alone needs to have consumer groups, so that the
// first member does not wait for others, and a killed one is missed soon.
var forGroups = []string{
	"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4", "group.initial.rebalance.delay.ms=0",
	"group.consumer.min.session.timeout.ms=5000", "group.consumer.session.timeout.ms=6000",
	"group.consumer.min.heartbeat.interval.ms=500", "group.consumer.heartbeat.interval.ms=1000",
}

// startGregor runs gregor on a folder, or Apache Kafka in its place.
func startGregor(t *testing.T, dir string) *kafka.Node {
	t.Helper()
	return startWith(t, dir)
}

// startWith is startGregor with lines key=value of configuration.
func startWith(t *testing.T, dir string, settings ...string) *kafka.Node {
	t.Helper()
	options := kafka.Options{Settings: slices.Concat(forever, settings)}
	if os.Getenv("INTEROP_ORACLE") != "" {
		return kafka.StartApache(t, dir, options)
	}
	return kafka.StartGregor(t, dir, options)
}

func startKafka(t *testing.T, dir string) *kafka.Node {
	t.Helper()
	return kafka.StartApache(t, dir, kafka.Options{Settings: forever})
}
