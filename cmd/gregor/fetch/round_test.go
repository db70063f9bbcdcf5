// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/record"
)

// A stretch whose last records compaction took ends, although nothing comes at
// its end; one that is cut off does not pass for read.
func TestEmptyAnswers(t *testing.T) {
	type answer struct {
		highWatermark int64
		idle          bool
		ends, fails   bool
	}
	for name, answers := range map[string][]answer{
		"compacted":            {{20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, true, false}},
		"withheld":             {{20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, false, true}, {20, true, false, true}},
		"of an old broker":     {{20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, false, false}, {20, true, true, false}},
		"others had the room":  {{20, false, false, false}, {20, false, false, false}, {20, false, false, false}},
		"cut off":              {{5, true, false, true}},
		"in between it served": {{20, true, false, false}, {20, false, false, false}, {20, true, false, false}},
	} {
		r, now := NewReader(nil, Options{}), time.Unix(0, 0)
		r.now = func() time.Time { return now }
		r.newest = func(context.Context, string, int32) (int64, error) {
			offset, ok := map[string]int64{"compacted": 6, "withheld": 9}[name]
			if !ok {
				return -1, kerr.UnsupportedVersion
			}
			return offset, nil
		}
		c := &cursor{Stretch: Stretch{Topic: "t", Next: 7, To: 10}, fetchAt: 7}
		for i, a := range answers {
			p := &kmsg.FetchResponseTopicPartition{HighWatermark: a.highWatermark}
			err := r.partition(context.Background(), c, p, a.idle, func(piece) {})
			now = now.Add(emptyFor / 4)
			if (err != nil) != a.fails || c.fetched() != a.ends {
				t.Errorf("%s, answer %d: %v, at %d", name, i, err, c.fetchAt)
			}
			if a.fails && !cured(err) {
				t.Errorf("%s: not tried again: %v", name, err)
			}
		}
	}
	// Who follows waits.
	r := NewReader(nil, Options{})
	c := &cursor{Stretch: Stretch{Topic: "t", Next: 7, To: -1}, fetchAt: 7}
	for range 5 {
		if err := r.partition(context.Background(), c, &kmsg.FetchResponseTopicPartition{HighWatermark: 7}, true, func(piece) {}); err != nil || c.fetched() {
			t.Fatal(err)
		}
	}
}

func TestErrorsOfPartitions(t *testing.T) {
	for code, again := range map[*kerr.Error]bool{kerr.NotLeaderForPartition: true, kerr.FencedLeaderEpoch: true, kerr.UnknownLeaderEpoch: true,
		kerr.KafkaStorageError: true, kerr.UnknownTopicOrPartition: true, kerr.OffsetNotAvailable: true, kerr.TopicAuthorizationFailed: false, kerr.CorruptMessage: true,
		kerr.UnsupportedVersion: false} {
		r := NewReader(nil, Options{})
		c := &cursor{Stretch: Stretch{Topic: "t", Partition: 3, To: 10}}
		err := r.partition(context.Background(), c, &kmsg.FetchResponseTopicPartition{ErrorCode: code.Code}, true, nil)
		var place *PartitionError
		if code == kerr.CorruptMessage && !strings.Contains(err.Error(), "offset 0: ") {
			t.Errorf("%v does not tell the offset", err)
		}
		if !errors.Is(err, code) || !errors.As(err, &place) || place.Partition != 3 || cured(err) != again {
			t.Errorf("%v: %v, again %v", code, err, cured(err))
		}
	}
}

// Trouble is borne until the timeout where the end is known, and told once
// where there is none.
func TestPatience(t *testing.T) {
	now, told := time.Unix(0, 0), 0
	r := NewReader(nil, Options{Timeout: time.Second, Note: func(string) { told++ }})
	r.now = func() time.Time { return now }
	p := patience{r: r}
	trouble := errors.New("trouble")
	if err := p.bad(t.Context(), trouble, false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if err := p.bad(t.Context(), trouble, false); err != trouble {
		t.Fatalf("%v after the timeout", err)
	}
	for range 2 {
		if err := p.bad(t.Context(), trouble, true); err != nil || told != 1 {
			t.Fatalf("%v, told %d times", err, told)
		}
	}
	p.good()
	if err := p.bad(t.Context(), trouble, false); err != nil {
		t.Fatalf("%v, though it went well in between", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.bad(ended, trouble, true); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// A leader that answers does not make one that fails be waited for without end.
func TestPatienceOfSeveralLeaders(t *testing.T) {
	now := time.Unix(0, 0)
	r := NewReader(nil, Options{Timeout: 2 * time.Second})
	r.now = func() time.Time { now = now.Add(time.Second); return now }
	r.lead = func(_ context.Context, cursors []*cursor) error {
		for _, c := range cursors {
			c.leader = c.Partition
		}
		return nil
	}
	r.ask = func(_ context.Context, group []*cursor, _ int32, _ func(piece)) (trouble, err error) {
		if group[0].leader == 0 {
			trouble = group[0].failed(kerr.KafkaStorageError)
		}
		return trouble, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := r.ByTime(ctx, []Stretch{{"t", 0, 0, 5}, {"t", 1, 0, 5}}, &collect{})
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatal(err)
	}
}

// The ring keeps the last ones in their order, with bytes of their own.
func TestTailRing(t *testing.T) {
	ring := tail{n: 3, counts: map[place]int{}}
	value := []byte{0}
	for i := range 7 {
		value[0] = byte(i)
		if err := ring.Record(&record.Record{Offset: int64(i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	var got collect
	if err := ring.give(&got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Offset != 4 || got[2].Offset != 6 || got[0].Value[0] != 4 || ring.counts[place{}] != 7 {
		t.Fatalf("%+v", got)
	}
}

type collect []record.Record

func (c *collect) Record(r *record.Record) error { *c = append(*c, r.Copy()); return nil }
func (c *collect) Pause() error                  { return nil }
