// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// zeros is a source of randomness without any.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// imageOf makes the image of brokers like "1/rack,2/-,3/-!", ! for fenced.
func imageOf(t *testing.T, brokers string) *image.Image {
	t.Helper()
	d := image.NewDelta(image.Empty())
	for _, s := range strings.Split(brokers, ",") {
		id, rack, _ := strings.Cut(strings.TrimSuffix(s, "!"), "/")
		n, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		rec := &metarec.RegisterBroker{BrokerID: kafka.NodeID(n), Fenced: strings.HasSuffix(s, "!"), LogDirs: []kafka.DirectoryID{uuid(byte(n))}}
		if rack != "-" {
			rec.Rack = &rack
		}
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	return d.Apply(0, 0)
}

// TestKafkaPlacements: without randomness, replicas are placed as Apache Kafka
// 4.4 places them. testdata/Placements.java has written the vectors.
func TestKafkaPlacements(t *testing.T) {
	text, err := os.ReadFile("testdata/placements.vectors")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) < 80 {
		t.Fatalf("%d vectors", len(lines))
	}
	for _, line := range lines {
		w := strings.Fields(line)
		factor, err := strconv.Atoi(w[1])
		if err != nil {
			t.Fatal(err)
		}
		p := newPlacer(imageOf(t, w[0]), &random{from: zeros{}})
		if why := p.check(factor); why != nil {
			t.Errorf("%s: %s", line, why.text)
			continue
		}
		var got []string
		for range w[2:] {
			got = append(got, strings.ReplaceAll(strings.Trim(fmt.Sprint(p.place(factor)), "[]"), " ", ","))
		}
		if want := strings.Join(w[2:], " "); strings.Join(got, " ") != want {
			t.Errorf("%s x %d\ngot  %s\nwant %s", w[0], factor, strings.Join(got, " "), want)
		}
	}
}

// TestPlacementIsEven: many partitions spread leaders and replicas evenly, no
// broker twice in a partition, and with enough racks none of them twice.
func TestPlacementIsEven(t *testing.T) {
	img := imageOf(t, "1/a,2/a,3/b,4/b,5/c,6/c")
	racks := map[kafka.NodeID]string{1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
	p := newPlacer(img, &random{from: rand.NewChaCha8([32]byte{1})})
	leaders, replicas := map[kafka.NodeID]int{}, map[kafka.NodeID]int{}
	for range 6000 {
		seen := map[string]bool{}
		for i, id := range p.place(3) {
			if seen[racks[id]] {
				t.Fatalf("rack %s holds two replicas of a partition", racks[id])
			}
			seen[racks[id]] = true
			replicas[id]++
			if i == 0 {
				leaders[id]++
			}
		}
	}
	for id := kafka.NodeID(1); id <= 6; id++ {
		if leaders[id] < 950 || leaders[id] > 1050 || replicas[id] != 3000 {
			t.Errorf("broker %d leads %d and holds %d of 6000", id, leaders[id], replicas[id])
		}
	}
}

func TestPlacementLeavesOut(t *testing.T) {
	d := image.NewDelta(imageOf(t, "1/-,2/-,3/-,4/-!"))
	for _, rec := range []metarec.Record{
		&metarec.BrokerRegistrationChange{BrokerID: 2, InControlledShutdown: 1},
		&metarec.BrokerRegistrationChange{BrokerID: 3, CordonedLogDirs: []kafka.DirectoryID{uuid(3)}},
	} {
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	img := d.Apply(1, 0)
	p := newPlacer(img, &random{from: zeros{}})
	if got := p.place(2); got[0] != 1 || got[1] != 4 {
		t.Errorf("%v: neither a stopping broker nor one with cordoned directories may be taken, a fenced one only at the end", got)
	}
	if why := p.check(3); why == nil || why.code != kafka.InvalidReplicationFactor {
		t.Errorf("three replicas on two brokers: %+v", why)
	}
	if why := newPlacer(imageOf(t, "1/-!"), &random{from: zeros{}}).check(1); why == nil || why.text != "All brokers are currently fenced." {
		t.Errorf("only a fenced broker: %+v", why)
	}
}
