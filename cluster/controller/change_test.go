// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// TestKafkaChanges: of the same state of a partition comes the same record as of
// Apache Kafka 4.4, to the byte. testdata/Changes.java has written the vectors.
func TestKafkaChanges(t *testing.T) {
	text, err := os.ReadFile("testdata/changes.vectors")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) < 500 {
		t.Fatalf("%d vectors", len(lines))
	}
	wrong := 0
	for i, line := range lines {
		w := strings.Fields(line)
		got := "none"
		c := changeFromVector(t, w)
		if rec := c.record(); rec != nil {
			got = hex.EncodeToString(metarec.Marshal(nil, rec, c.level))
		}
		if want := w[len(w)-1]; got != want {
			if wrong++; wrong < 10 {
				t.Errorf("line %d: %s\ngot  %s\nwant %s", i+1, strings.Join(w[:len(w)-1], " "), describe(got), describe(want))
			}
		}
	}
	if wrong != 0 {
		t.Errorf("%d of %d differ", wrong, len(lines))
	}
}

func changeFromVector(t *testing.T, w []string) change {
	number := func(i int) int {
		n, err := strconv.Atoi(w[i])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	list := func(i int) []kafka.NodeID {
		var out []kafka.NodeID
		for _, s := range strings.Split(w[i], ",") {
			if s != "-" {
				n, err := strconv.Atoi(s)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, kafka.NodeID(n))
			}
		}
		return out
	}
	rec := &metarec.Partition{
		TopicID: kafka.TopicID{7: 1, 15: 1}, Leader: kafka.NodeID(number(4)), LeaderEpoch: 7, PartitionEpoch: 9, LeaderRecoveryState: int8(number(5)),
		Replicas: list(6), ISR: list(7), RemovingReplicas: list(8), AddingReplicas: list(9), ELR: list(10), LastKnownELR: list(11),
	}
	for _, r := range rec.Replicas {
		rec.Directories = append(rec.Directories, kafka.DirectoryID{7: byte(r), 15: byte(r)})
	}
	d := image.NewDelta(image.Empty())
	for _, r := range []metarec.Record{&metarec.FeatureLevel{Name: image.FeatureMetadataVersion, Level: int16(number(0))}, &metarec.Topic{Name: "t", TopicID: rec.TopicID}, rec} {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	img := d.Apply(2, 0)
	topic := img.Topic("t")
	c := view{img, &Env{}}.newChange(topic, 0, topic.Partition(0))
	live := list(14)
	c.minISR, c.elrEnabled, c.unclean = number(1), number(2) == 1, kafka.NodeID(number(15))
	c.how = []election{electPreferred, electOnline, electUnclean}[number(3)]
	c.isr, c.recovery = list(12), int8(number(13))
	c.acceptable = func(n kafka.NodeID) bool { return slices.Contains(live, n) }
	return c
}

func describe(value string) string {
	b, err := hex.DecodeString(value)
	if err != nil {
		return value
	}
	rec, err := metarec.Unmarshal(b)
	if err != nil {
		return value + ": " + err.Error()
	}
	return show(rec) + " " + value
}
