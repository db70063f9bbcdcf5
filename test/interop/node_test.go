// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"os"
	"testing"

	"gregor/test/interop/kafka"
)

// forever: the records are of fixed times, long ago.
var forever = []string{"log.retention.ms=-1"}

// startGregor runs gregor on a folder, or Apache Kafka in its place.
func startGregor(t *testing.T, dir string) *kafka.Node {
	t.Helper()
	if os.Getenv("INTEROP_ORACLE") != "" {
		return startKafka(t, dir)
	}
	return kafka.StartGregor(t, dir, kafka.Options{Settings: forever})
}

func startKafka(t *testing.T, dir string) *kafka.Node {
	t.Helper()
	return kafka.StartApache(t, dir, kafka.Options{Settings: forever})
}
