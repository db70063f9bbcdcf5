// SPDX-License-Identifier: Apache-2.0

package active

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

func planner() *Controller {
	c := New(Options{Now: func() time.Time { return time.UnixMilli(7) }, RecordsMax: 100, BatchBytesMax: 4096})
	c.proposed, c.end, c.epoch = image.Empty(), 50, 3
	return c
}

func features(n, nameBytes int) (recs []metarec.Record) {
	for i := range n {
		recs = append(recs, &metarec.FeatureLevel{Name: fmt.Sprintf("%0*d", nameBytes, i), Level: 1})
	}
	return recs
}

// What is not atomic is split by count and by size; each batch has its image.
func TestOutcomesAreSplit(t *testing.T) {
	for _, c := range []struct {
		records, nameBytes, batches int
		atomic                      bool
	}{
		{1, 5, 1, false}, {100, 5, 1, false}, {101, 5, 2, false}, {250, 5, 3, false},
		{100, 100, 6, false}, {100, 5, 1, true}, {150, 5, 1, true},
	} {
		flights, batches, err := planner().plan(controller.Outcome{Records: features(c.records, c.nameBytes), Atomic: c.atomic})
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) != c.batches || len(flights) != c.batches {
			t.Errorf("%+v: %d batches", c, len(batches))
		}
		end, seen := kafka.Offset(50), 0
		for i, b := range batches {
			h, err := batch.Parse(b)
			if err != nil || len(b) > 4096 {
				t.Fatal(err, len(b))
			}
			end, seen = end+kafka.Offset(h.Count), seen+int(h.Count)
			if flights[i].end != end || flights[i].img.Offset() != end-1 || flights[i].img.Epoch() != 3 {
				t.Errorf("%+v: batch %d ends at %d, want %d", c, i, flights[i].end, end)
			}
			levels := 0
			for range flights[i].img.Features() {
				levels++
			}
			if levels != seen {
				t.Errorf("%+v: the image of batch %d has %d features, want %d", c, i, levels, seen)
			}
		}
		if seen != c.records {
			t.Errorf("%+v: %d records", c, seen)
		}
	}
}

// A batch that cannot be split and is too large is the request's fault.
func TestTooLargeAnOutcomeIsRefused(t *testing.T) {
	_, _, err := planner().plan(controller.Outcome{Records: features(1, 5000), Atomic: true})
	if !errors.Is(err, kafka.PolicyViolation) {
		t.Errorf("plan: %v", err)
	}
}

// The format tool's records turn eligible leader replicas on; then the cluster
// gets a min.insync.replicas of its own, unless they bring one.
func TestBootstrapFixesMinInSyncReplicas(t *testing.T) {
	c := planner()
	c.o.Env.Config = &controller.Config{MinInSyncReplicas: 2}
	elr := &metarec.FeatureLevel{Name: controller.FeatureELR, Level: 1}
	one := "1"
	given := &metarec.Config{ResourceType: int8(image.ResourceBroker), Name: "min.insync.replicas", Value: &one}
	for _, x := range []struct {
		in   []metarec.Record
		want string
	}{
		{[]metarec.Record{&metarec.FeatureLevel{Name: "metadata.version", Level: 33}}, ""},
		{[]metarec.Record{elr}, "2"},
		{[]metarec.Record{elr, given}, "1"},
	} {
		var values []string
		for _, rec := range c.completeBootstrap(x.in) {
			if conf, ok := rec.(*metarec.Config); ok {
				values = append(values, *conf.Value)
			}
		}
		if got := strings.Join(values, ","); got != x.want {
			t.Errorf("%d records: min.insync.replicas %q, want %q", len(x.in), got, x.want)
		}
	}
}
