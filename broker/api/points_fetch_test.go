// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/replica"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// 26: an offset inside a batch gets the whole batch.
func TestPoint26OffsetInsideABatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("a", "b", "c"))
		c.produce(9, "t", id, 0, 1, records("d"))
		p := c.fetchOne(fetchRequest(12, place{"t", id, 0, 2}))
		if got := values(t, p.RecordBatches); !slices.Equal(got, []string{"0=a", "1=b", "2=c", "3=d"}) {
			t.Errorf("got %v", got)
		}
	})
}

// 27: the first partition with data may exceed the limits by one batch, others
// obey, and the order of the request counts.
func TestPoint27Limits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 4)
		c := n.dial()
		for p := range int32(3) {
			c.produce(9, "t", id, p, 1, records(strings.Repeat("x", 1000)))
			c.produce(9, "t", id, p, 1, records(strings.Repeat("y", 1000)))
		}
		lengths := func(req *kmsg.FetchRequest) (out []string) {
			for _, topic := range c.do(req).(*kmsg.FetchResponse).Topics {
				for _, p := range topic.Partitions {
					out = append(out, fmt.Sprintf("%d:%d", p.Partition, len(values(t, p.RecordBatches))))
				}
			}
			return out
		}
		all := []place{{"t", id, 3, 0}, {"t", id, 2, 0}, {"t", id, 0, 0}, {"t", id, 1, 0}}
		for _, tc := range []struct {
			maxBytes, partitionMax int32
			want                   []string
		}{
			{1, 1, []string{"3:0", "2:1", "0:0", "1:0"}},
			{1 << 20, 1, []string{"3:0", "2:1", "0:0", "1:0"}},
			{1 << 20, 1500, []string{"3:0", "2:1", "0:1", "1:1"}},
			{3000, 1 << 20, []string{"3:0", "2:2", "0:0", "1:0"}},
			{3500, 1 << 20, []string{"3:0", "2:2", "0:1", "1:0"}},
			{1 << 20, 1 << 20, []string{"3:0", "2:2", "0:2", "1:2"}},
		} {
			for _, v := range []int16{4, 12, 18} {
				req := fetchRequest(v, all...)
				req.MaxBytes = tc.maxBytes
				for i := range req.Topics[0].Partitions {
					req.Topics[0].Partitions[i].PartitionMaxBytes = tc.partitionMax
				}
				if got := lengths(req); !slices.Equal(got, tc.want) {
					t.Errorf("v%d limits %d and %d: %v, want %v", v, tc.maxBytes, tc.partitionMax, got, tc.want)
				}
			}
		}
	})
}

// 28: a fetch waits for min bytes or its time, and answers at once where there
// is nothing to wait for.
func TestPoint28WhenAFetchAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 2)
		c, producer := n.dial(), n.dial()
		timed := func(req *kmsg.FetchRequest) (time.Duration, *kmsg.FetchResponse) {
			began := time.Now()
			resp := c.do(req).(*kmsg.FetchResponse)
			return time.Since(began), resp
		}
		poll := func(minBytes int32, places ...place) *kmsg.FetchRequest {
			req := fetchRequest(12, places...)
			req.MinBytes, req.MaxWaitMillis = minBytes, 500
			return req
		}
		empty := []place{{"t", id, 0, 0}, {"t", id, 1, 0}}
		if d, resp := timed(poll(1, empty...)); d != 500*time.Millisecond || len(resp.Topics[0].Partitions) != 2 {
			t.Errorf("nothing there: %v", d)
		}
		if d, _ := timed(poll(0, empty...)); d != 0 {
			t.Errorf("min bytes 0: %v", d)
		}
		if d, _ := timed(poll(1)); d != 0 {
			t.Errorf("no partitions: %v", d)
		}
		if d, resp := timed(poll(1, place{"t", id, 0, 0}, place{"t", id, 1, 5})); d != 0 || len(resp.Topics) != 1 {
			t.Errorf("an error: %v", d)
		}
		if d, resp := timed(poll(1, place{"t", id, 0, 0}, place{"nowhere", id, 0, 0})); d != 500*time.Millisecond || len(resp.Topics) != 2 {
			t.Errorf("a partition that is not there, beside one that is: %v", d)
		}
		if d, resp := timed(poll(1, place{"nowhere", id, 0, 0}, place{"t", id, 9, 0})); d != 0 || len(resp.Topics) != 2 {
			t.Errorf("only partitions that are not there: %v", d)
		}
		// A record that comes meanwhile ends the wait.
		var producing sync.WaitGroup
		producing.Go(func() {
			time.Sleep(120 * time.Millisecond)
			producer.produce(9, "t", id, 1, 1, records("news"))
		})
		if d, resp := timed(poll(1, empty...)); d != 120*time.Millisecond || len(values(t, resp.Topics[0].Partitions[1].RecordBatches)) != 1 {
			t.Errorf("a record after 120ms: answered after %v", d)
		}
		producing.Wait()
		// Fewer bytes than wanted do not; enough do.
		producing.Go(func() {
			for range 4 {
				time.Sleep(100 * time.Millisecond)
				producer.produce(9, "t", id, 0, 1, records(strings.Repeat("x", 100)))
			}
		})
		if d, resp := timed(poll(600, place{"t", id, 0, 0}, place{"t", id, 1, 1})); d != 400*time.Millisecond || len(values(t, resp.Topics[0].Partitions[0].RecordBatches)) != 4 {
			t.Errorf("600 bytes, 170 every 100ms: answered after %v", d)
		}
		producing.Wait()
	})
}

// session sends one request of a session and tells what it was answered.
func (c *client) session(req *kmsg.FetchRequest, id, epoch int32) (code kafka.Code, session int32, got []string) {
	c.t.Helper()
	req.SessionID, req.SessionEpoch = id, epoch
	resp := c.do(req).(*kmsg.FetchResponse)
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			text := fmt.Sprintf("%d", p.Partition)
			if p.ErrorCode != 0 {
				text += " " + kafka.Code(p.ErrorCode).String()
			}
			for _, v := range values(c.t, p.RecordBatches) {
				text += " " + v
			}
			got = append(got, text)
		}
	}
	return kafka.Code(resp.ErrorCode), resp.SessionID, got
}

// 29: sessions (KIP-227).
func TestPoint29Sessions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 5)
		c := n.dial()
		for p := range int32(3) {
			c.produce(9, "t", id, p, 1, records("a"))
		}
		expect := func(what string, req *kmsg.FetchRequest, session, epoch int32, wantCode kafka.Code, want ...string) int32 {
			t.Helper()
			code, sid, got := c.session(req, session, epoch)
			if code != wantCode || !slices.Equal(got, want) {
				t.Errorf("%s: %v %q, want %v %q", what, code, got, wantCode, want)
			}
			if wantCode != 0 && sid != 0 {
				t.Errorf("%s: an error with session %d", what, sid)
			}
			return sid
		}
		at := func(partition int32, offset int64) place { return place{"t", id, partition, offset} }
		fetch := func(places ...place) *kmsg.FetchRequest { return fetchRequest(13, places...) }

		if sid := expect("no session", fetch(at(0, 0)), 0, -1, 0, "0 0=a"); sid != 0 {
			t.Errorf("session %d without one", sid)
		}
		s := expect("full", fetch(at(0, 0), at(1, 0), at(2, 1), at(3, 0)), 0, 0, 0, "0 0=a", "1 0=a", "2", "3")
		if s == 0 {
			t.Fatal("no session was made")
		}
		expect("nothing asked anew: what was there is sent again, what is idle is left out", fetch(), s, 1, 0, "0 0=a", "1 0=a")
		expect("positions moved", fetch(at(0, 1), at(1, 1)), s, 2, 0)
		expect("idle", fetch(), s, 3, 0)
		c.produce(9, "t", id, 3, 1, records("b"))
		c.produce(9, "t", id, 4, 1, records("not in the session"))
		expect("one has news", fetch(), s, 4, 0, "3 0=b")
		expect("it may be sent again until the position moves", fetch(), s, 5, 0, "3 0=b")
		expect("its position moved, another joined", fetch(at(3, 1), at(4, 0)), s, 6, 0, "4 0=not in the session")
		forget := fetch()
		f := kmsg.NewFetchRequestForgottenTopic()
		f.TopicID, f.Partitions = id, []int32{4}
		forget.ForgottenTopics = append(forget.ForgottenTopics, f)
		expect("forgotten", forget, s, 7, 0)

		expect("wrong epoch", fetch(), s, 7, kafka.InvalidFetchSessionEpoch)
		expect("unknown session", fetch(), s+1, 1, kafka.FetchSessionIDNotFound)
		expect("names in a session of ids", fetchRequest(12), s, 8, kafka.FetchSessionTopicIDError)
		expect("it still lives", fetch(), s, 8, 0)

		// A partition with an error is told every time, and once more when it is well.
		expect("error", fetch(at(0, 99)), s, 9, 0, "0 OFFSET_OUT_OF_RANGE")
		expect("still", fetch(), s, 10, 0, "0 OFFSET_OUT_OF_RANGE")
		expect("well again", fetch(at(0, 1)), s, 11, 0, "0")
		expect("and quiet", fetch(), s, 12, 0)

		// A session that loses its last partition gives its slot free.
		last := fetch()
		f.Partitions = []int32{0, 1, 2, 3}
		last.ForgottenTopics = append(last.ForgottenTopics, f)
		if sid := expect("emptied", last, s, 13, 0); sid != 0 {
			t.Errorf("an empty session lives on as %d", sid)
		}
		expect("gone", fetch(), s, 14, kafka.FetchSessionIDNotFound)

		// A full request ends the session that it names; so does epoch -1.
		s = expect("second", fetch(at(2, 1)), 0, 0, 0, "2")
		s2 := expect("full again", fetch(at(2, 1)), s, 0, 0, "2")
		expect("the old one is gone", fetch(), s, 1, kafka.FetchSessionIDNotFound)
		expect("final", fetch(at(2, 1)), s2, -1, 0, "2")
		expect("ended", fetch(), s2, 1, kafka.FetchSessionIDNotFound)
		if left := n.api.d.Sessions.Stats(); left.Sessions != 0 || left.Partitions != 0 {
			t.Errorf("left over: %+v", left)
		}
	})
}

// What a full request forgets is answered all the same, with a session and
// without.
func TestPoint29FullRequestsForgetNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("a"))
		for _, epoch := range []int32{-1, 0} {
			for _, v := range []int16{7, 12, 13, 18} {
				req := fetchRequest(v, place{"t", id, 0, 0})
				req.SessionEpoch = epoch
				forgotten := kmsg.NewFetchRequestForgottenTopic()
				forgotten.Topic, forgotten.TopicID, forgotten.Partitions = "t", id, []int32{0}
				req.ForgottenTopics = append(req.ForgottenTopics, forgotten)
				if got := values(t, c.fetchOne(req).RecordBatches); len(got) != 1 {
					t.Errorf("v%d, session epoch %d: %q", v, epoch, got)
				}
			}
		}
	})
}

// 29: a session wakes for what changed, also after requests in between.
func TestPoint29SessionLongPoll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 50)
		c, producer := n.dial(), n.dial()
		var all []place
		for p := range int32(50) {
			all = append(all, place{"t", id, p, 0})
		}
		_, s, _ := c.session(fetchRequest(13, all...), 0, 0)
		positions := make([]int64, 50)
		for epoch := int32(1); epoch < 100; epoch++ {
			p := epoch * 17 % 50
			var producing sync.WaitGroup
			producing.Go(func() {
				time.Sleep(time.Duration(epoch) * time.Millisecond)
				producer.produce(9, "t", id, p, 1, records("x"))
			})
			req := fetchRequest(13)
			if epoch > 1 { // move on from where the last one was
				last := (epoch - 1) * 17 % 50
				req = fetchRequest(13, place{"t", id, last, positions[last]})
			}
			req.MaxWaitMillis = 5000
			began := time.Now()
			code, _, got := c.session(req, s, epoch)
			if want := fmt.Sprintf("%d %d=x", p, positions[p]); code != 0 || len(got) != 1 || got[0] != want {
				t.Fatalf("epoch %d: %v %q, want %q", epoch, code, got, want)
			}
			positions[p]++
			if d := time.Since(began); d != time.Duration(epoch)*time.Millisecond {
				t.Fatalf("epoch %d: answered after %v", epoch, d)
			}
			producing.Wait()
		}
	})
}

// 29: a client that comes again on another connection while its session is in
// a long poll of the old one gets it.
func TestPoint29SessionMovesToAnotherConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		a, b := n.dial(), n.dial()
		_, s, _ := a.session(fetchRequest(13, place{"t", id, 0, 0}), 0, 0)
		poll := fetchRequest(13)
		poll.SessionID, poll.SessionEpoch, poll.MaxWaitMillis = s, 1, 60_000
		a.send(poll)
		time.Sleep(time.Second)
		began := time.Now()
		if code, _, _ := b.session(fetchRequest(13), s, 2); code != 0 || time.Since(began) > time.Second {
			t.Errorf("%v after %v", code, time.Since(began))
		}
	})
}

// 30: topics are what their ids say; a recreated topic is not the old one.
func TestPoint30TopicIDs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		old := n.topic("t", 1)
		c := n.dial()
		_, s, _ := c.session(fetchRequest(13, place{"", old, 0, 0}), 0, 0)
		_, byName, _ := c.session(fetchRequest(12, place{"t", kafka.TopicID{}, 0, 0}), 0, 0)
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TopicNames, req.TimeoutMillis = 5, []string{"t"}, 1000
		c.do(req)
		id := n.topic("t", 1)
		c.produce(13, "", id, 0, 1, records("new"))
		resp := c.do(fetchRequest(13, place{"", old, 0, 0})).(*kmsg.FetchResponse)
		if resp.Topics[0].TopicID != old || kafka.Code(resp.Topics[0].Partitions[0].ErrorCode) != kafka.UnknownTopicID {
			t.Errorf("old id: %v", kafka.Code(resp.Topics[0].Partitions[0].ErrorCode))
		}
		if _, _, got := c.session(fetchRequest(13), s, 1); !slices.Equal(got, []string{"0 UNKNOWN_TOPIC_ID"}) {
			t.Errorf("old id in a session: %q", got)
		}
		if _, _, got := c.session(fetchRequest(12), byName, 1); !slices.Equal(got, []string{"0 0=new"}) {
			t.Errorf("the name in a session: %q", got)
		}
	})
}

// 33: fencing by leader epoch, and DivergingEpoch.
func TestPoint33Epochs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("a", "b"))
		for epoch, want := range map[int32]kafka.Code{-1: 0, 0: 0, 1: kafka.UnknownLeaderEpoch, -2: 0} {
			req := fetchRequest(12, place{"t", id, 0, 0})
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			if p := c.fetchOne(req); kafka.Code(p.ErrorCode) != want {
				t.Errorf("epoch %d: %v, want %v", epoch, kafka.Code(p.ErrorCode), want)
			}
		}
		req := fetchRequest(12, place{"t", id, 0, 2})
		req.Topics[0].Partitions[0].LastFetchedEpoch = 0
		if p := c.fetchOne(req); p.ErrorCode != 0 || p.DivergingEpoch.EndOffset != -1 {
			t.Errorf("same log: %v, diverging at %d", kafka.Code(p.ErrorCode), p.DivergingEpoch.EndOffset)
		}
		req.Topics[0].Partitions[0].FetchOffset = 7
		req.MaxWaitMillis = 10_000
		began := time.Now()
		if p := c.fetchOne(req); p.DivergingEpoch.Epoch != 0 || p.DivergingEpoch.EndOffset != 2 || time.Since(began) != 0 {
			t.Errorf("longer log: diverging at epoch %d, offset %d, after %v", p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset, time.Since(began))
		}
	})
}

func leaderEpochEnd(c *client, version int16, topic string, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -2
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.CurrentLeaderEpoch, rp.LeaderEpoch = current, epoch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return c.do(req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
}

// 34: OffsetForLeaderEpoch.
func TestPoint34LeaderEpochs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("a", "b"))
		for v := int16(2); v <= 4; v++ {
			for _, tc := range []struct {
				topic          string
				current, epoch int32
				want           kafka.Code
				wantEpoch      int32
				wantEnd        int64
			}{
				{"t", -1, 0, 0, 0, 2},
				{"t", 0, 0, 0, 0, 2},
				{"t", 0, 5, 0, -1, -1},
				{"t", 3, 0, kafka.UnknownLeaderEpoch, -1, -1},
				{"nowhere", -1, 0, kafka.UnknownTopicOrPartition, -1, -1},
			} {
				p := leaderEpochEnd(c, v, tc.topic, tc.current, tc.epoch)
				if kafka.Code(p.ErrorCode) != tc.want || p.LeaderEpoch != tc.wantEpoch || p.EndOffset != tc.wantEnd {
					t.Errorf("v%d %+v: %v epoch %d end %d", v, tc, kafka.Code(p.ErrorCode), p.LeaderEpoch, p.EndOffset)
				}
			}
		}
	})
}

func listOffsets(version int16, topic string, isolation int8, timestamps ...int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.IsolationLevel = version, -1, isolation
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for i, ts := range timestamps {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(i), ts
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// 35: ListOffsets.
func TestPoint35ListOffsets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		now := time.Now().UnixMilli()
		var b batch.Builder
		b.Begin(batch.NoProducer(0, 0))
		for i, ms := range []int64{now, now + 10, now + 30, now + 20} {
			b.Add(ms, nil, []byte{byte(i)})
		}
		out, _ := b.Finish(nil, nil)
		c.produce(9, "t", id, 0, 1, out)
		for _, tc := range []struct {
			timestamp int64
			since     int16
			offset    int64
			time      int64
			epoch     int32
		}{
			{replica.Latest, 1, 4, -1, 0},
			{replica.Earliest, 1, 0, -1, 0},
			{replica.MaxTimestamp, 7, 2, now + 30, 0},
			{replica.EarliestLocal, 8, 0, -1, 0},
			{replica.LatestTiered, 9, -1, -1, -1},
			{replica.EarliestPending, 11, -1, -1, -1},
			{now - 1000, 1, 0, now, 0},
			{now + 5, 1, 1, now + 10, 0}, // the record, not the start of its batch
			{now + 15, 1, 2, now + 30, 0},
			{now + 31, 1, -1, -1, -1},
			{-7, 99, 0, 0, 0},
		} {
			for v := int16(1); v <= 11; v++ {
				p := c.do(listOffsets(v, "t", 0, tc.timestamp)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
				if v < tc.since {
					if kafka.Code(p.ErrorCode) != kafka.UnsupportedVersion {
						t.Errorf("v%d timestamp %d: %v", v, tc.timestamp, kafka.Code(p.ErrorCode))
					}
					continue
				}
				if p.ErrorCode != 0 || p.Offset != tc.offset || p.Timestamp != tc.time || v >= 4 && p.LeaderEpoch != tc.epoch {
					t.Errorf("v%d timestamp %+d: %v offset %d time %d epoch %d, want %+v", v, tc.timestamp-now, kafka.Code(p.ErrorCode), p.Offset, p.Timestamp, p.LeaderEpoch, tc)
				}
			}
		}
		twice := listOffsets(7, "t", 0, -1, -1)
		twice.Topics[0].Partitions[1].Partition = 0
		for _, p := range c.do(twice).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
			if kafka.Code(p.ErrorCode) != kafka.InvalidRequest {
				t.Errorf("asked twice: %v", kafka.Code(p.ErrorCode))
			}
		}
		fenced := listOffsets(7, "t", 0, -1)
		fenced.Topics[0].Partitions[0].CurrentLeaderEpoch = 9
		if p := c.do(fenced).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; kafka.Code(p.ErrorCode) != kafka.UnknownLeaderEpoch {
			t.Errorf("epoch 9: %v", kafka.Code(p.ErrorCode))
		}
	})
}

// 36: Kafka 4 sends the batches of a zstd topic to old consumers as they are.
func TestPoint36ZstdAndOldFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "compression.type", "zstd")
		c := n.dial()
		c.produce(9, "t", id, 0, 1, compressed(t, compress.Zstd, "a"))
		for v := int16(4); v <= 18; v++ {
			if p := c.fetchOne(fetchRequest(v, place{"t", id, 0, 0})); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
				t.Errorf("v%d: %v, %d bytes", v, kafka.Code(p.ErrorCode), len(p.RecordBatches))
			}
		}
	})
}

// Replica ids are refused on listeners of clients.
func TestReplicaIDsOnClientListeners(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		req := fetchRequest(12, place{"t", id, 0, 0})
		req.ReplicaID = 2
		if p := c.fetchOne(req); kafka.Code(p.ErrorCode) != kafka.TopicAuthorizationFailed {
			t.Errorf("fetch: %v", kafka.Code(p.ErrorCode))
		}
		list := listOffsets(5, "t", 0, -1)
		list.ReplicaID = 2
		if p := c.do(list).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; kafka.Code(p.ErrorCode) != kafka.TopicAuthorizationFailed {
			t.Errorf("list offsets: %v", kafka.Code(p.ErrorCode))
		}
	})
}
