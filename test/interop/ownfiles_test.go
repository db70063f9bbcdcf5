// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	basekafka "gregor/base/kafka"
	"gregor/storage/scrub"
	"gregor/test/interop/kafka"
)

// The files of gregor's own at the top of a log directory, and how each begins.
var ownFiles = map[string]string{"gregor.checksums": "GREGSUMS", "gregor.checkpoints": "GREGCKPT", "gregor.manifest": "GREGMANI"}

// ownTopics are what happens to each behind gregor's back: Apache Kafka appends,
// deletes segments in front, cleans, so that another file stands under the old
// name, and deletes a topic and makes it anew with other records.
var ownTopics = []string{"appended", "trimmed", "cleaned", "again"}

// TestOwnFilesBesideKafka: Apache Kafka starts on a directory that holds
// gregor.checksums, gregor.checkpoints and gregor.manifest, works beside them and
// leaves them alone. gregor then finds that what they say of segments and
// checkpoint files is of files that are gone: it serves what Kafka left, a scrub
// of everything finds nothing wrong, and it makes them anew.
func TestOwnFilesBesideKafka(t *testing.T) {
	t.Parallel() // the scrub begins a minute after the start
	for name, kill := range map[string]bool{"stopped": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			besideKafka(t, kill)
		})
	}
}

func besideKafka(t *testing.T, kill bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "data")
	b := &bothWays{ctx: ctx, t: t, dir: dir}
	own := append(slices.Clone(bothSettings), "gregor.admin.listener=127.0.0.1:0")

	n := kafka.StartGregor(t, dir, kafka.Options{Settings: own})
	b.at(n)
	for _, topic := range ownTopics {
		b.createOwn(topic)
		b.fill(topic, "gregor's")
	}
	before := awaitSums(ctx, t, dir, ownTopics)
	n.Stop(t)
	files := readOwnFiles(t, dir)

	n = kafka.StartApache(t, dir, kafka.Options{Settings: bothSettings})
	b.at(n)
	b.fill("appended", "Kafka's")
	b.trim("trimmed")
	b.clean("cleaned")
	_, err := b.admin.DeleteTopic(ctx, "again")
	b.check("delete a topic", err)
	b.createOwn("again")
	b.at(n) // a client that knows nothing of the old one
	b.fill("again", "Kafka's other")
	want := settledBy(b, b.own)
	if kill {
		n.Kill()
	} else {
		n.Stop(t)
	}
	if diff := cmp.Diff(files, readOwnFiles(t, dir)); diff != "" {
		t.Fatalf("Kafka did not leave gregor's files alone: %s", head(diff))
	}

	began := time.Now()
	n = kafka.StartGregor(t, dir, kafka.Options{Settings: own})
	b.at(n)
	if diff := cmp.Diff(want, b.own()); diff != "" {
		t.Fatalf("Kafka left (-), gregor serves (+):\n%s", head(diff))
	}
	for _, topic := range ownTopics {
		b.fill(topic, "gregor's again")
	}
	want = b.own()
	awaitScrub(ctx, t, n, began)
	for _, damage := range []string{"gregor_log_bad_ranges_total", "gregor_log_rotten_segments_total", "gregor_log_wrong_indexes_total"} {
		if found := pushedValue(t, n, damage+"{*}"); found != 0 {
			t.Errorf("%s is %v", damage, found)
		}
	}
	after := awaitSums(ctx, t, dir, []string{"appended", "cleaned", "again"})
	for deadline := time.Now().Add(loadTimeout); time.Now().Before(deadline) && (after[firstSegment("cleaned")] == before[firstSegment("cleaned")] || after[firstSegment("again")] == before[firstSegment("again")]); {
		time.Sleep(100 * time.Millisecond)
		after = awaitSums(ctx, t, dir, []string{"appended", "cleaned", "again"})
	}
	for topic, same := range map[string]bool{"appended": true, "cleaned": false, "again": false} {
		if first := firstSegment(topic); (after[first] == before[first]) != same {
			t.Errorf("the checksum of the first segment of %s is %v, was %v", topic, after[first], before[first])
		}
	}
	n.Stop(t)

	n = kafka.StartGregor(t, dir, kafka.Options{Settings: own})
	b.at(n)
	if diff := cmp.Diff(want, b.own()); diff != "" {
		t.Errorf("gregor left (-), gregor serves (+):\n%s", head(diff))
	}
	n.Stop(t)
}

// createOwn makes a topic of small segments that are cleaned only when told to.
func (b *bothWays) createOwn(topic string) {
	b.t.Helper()
	configs := map[string]*string{"segment.bytes": value("1048576")}
	if topic == "cleaned" {
		configs["cleanup.policy"], configs["min.cleanable.dirty.ratio"] = value("compact"), value("1.0")
	}
	createTopic(b.ctx, b.t, b.admin, topic, 1, configs)
}

// fill writes more than two segments. Of every ten records one has a key of its
// own, and is there after a cleaning too.
func (b *bothWays) fill(topic, who string) {
	b.t.Helper()
	for i := range 50 {
		r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "key-", i%5), Value: bytes.Repeat(fmt.Append(nil, who, " ", i, " "), 60_000/len(who))}
		if i%10 == 0 {
			r.Key = fmt.Append(nil, who, i)
		}
		b.check("produce to "+topic, b.client.ProduceSync(b.ctx, r).FirstErr())
	}
}

// trim deletes the records of the first segments, and with them the files.
func (b *bothWays) trim(topic string) {
	b.t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, At: 40})
	deleted, err := b.admin.DeleteRecords(b.ctx, offsets)
	if err == nil {
		err = deleted.Error()
	}
	b.check("delete records of "+topic, err)
}

// own is what a node serves of the topics.
func (b *bothWays) own() map[string][]string {
	b.t.Helper()
	served := map[string][]string{}
	for _, topic := range ownTopics {
		start, end := bounds(b.ctx, b.t, b.admin, topic)
		served[topic] = append(b.read(topic, 0, kgo.ReadUncommitted()), fmt.Sprintf("from %d to %d", start, end))
	}
	return served
}

func readOwnFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for name, magic := range ownFiles {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.HasPrefix(text, []byte(magic)) {
			t.Fatalf("%s begins with %.8q, %v", name, text, err)
		}
		files[name] = string(text)
	}
	return files
}

func firstSegment(topic string) scrub.Key {
	return scrub.Key{TopicPartition: basekafka.TopicPartition{Topic: topic}}
}

// awaitSums waits until gregor.checksums speaks of the first segments of topics.
func awaitSums(ctx context.Context, t *testing.T, dir string, topics []string) map[scrub.Key]scrub.Sum {
	t.Helper()
	for {
		text, err := os.ReadFile(filepath.Join(dir, "gregor.checksums"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		sums := scrub.Parse(text).Sums
		if !slices.ContainsFunc(topics, func(topic string) bool {
			_, known := sums[firstSegment(topic)]
			return !known
		}) {
			return maps.Clone(sums)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("gregor.checksums knows %d segments, and not the first ones of all of %v", len(sums), topics)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitScrub waits for the end of a pass over everything that began after the
// start.
func awaitScrub(ctx context.Context, t *testing.T, n *kafka.Node, began time.Time) {
	t.Helper()
	for pushedValue(t, n, "gregor_log_scrub_last_full_pass_seconds{*}") < float64(began.Unix()) {
		select {
		case <-ctx.Done():
			t.Fatal("the scrub does not come to an end")
		case <-time.After(200 * time.Millisecond):
		}
	}
}
