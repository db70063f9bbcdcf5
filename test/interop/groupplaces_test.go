// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

// TestPlacesOfGroups: a group's offsets lie in that one of the fifty partitions
// of __consumer_offsets in which either broker looks for them, whatever the sign
// of its hash. Apache Kafka commits for many groups; gregor finds every offset
// and commits for each; Kafka finds those.
func TestPlacesOfGroups(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	settings := []string{"offsets.topic.num.partitions=50", "offsets.topic.replication.factor=1"}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	names := []string{"", "test-consumer-group", "my-group", "orders", "group", "polygenelubricants", "größe", "😀"}
	for i := range 60 {
		names = append(names, fmt.Sprintf("connect-sink-%d", i))
	}
	var last int64
	round := func(node *kafka.Node) {
		t.Helper()
		client, err := kgo.NewClient(kgo.SeedBrokers(node.Address))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		if last == 0 {
			createTopic(ctx, t, admin, "in", 1, nil)
		}
		for _, name := range names {
			if last != 0 {
				if at, ok := committedOf(ctx, t, admin, name, "in")[0]; !ok || at != last {
					t.Errorf("%s says of %q: %d (%t), want %d", node.Name, name, at, ok, last)
				}
			}
			var next kadm.Offsets
			next.Add(kadm.Offset{Topic: "in", At: last + 1, LeaderEpoch: -1})
			for err := admin.CommitAllOffsets(ctx, name, next); err != nil; err = admin.CommitAllOffsets(ctx, name, next) {
				if ctx.Err() != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond) // the coordinator begins
			}
		}
		last++
		client.Close()
		node.Stop(t)
	}
	round(kafka.StartApache(t, dir, kafka.Options{Settings: settings}))
	round(kafka.StartGregor(t, dir, kafka.Options{Settings: settings}))
	round(kafka.StartApache(t, dir, kafka.Options{Settings: settings}))
}
