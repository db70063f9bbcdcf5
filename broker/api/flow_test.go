// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// consume reads all partitions of a topic by long polls until it has n
// records, with or without a session, and returns the values by partition.
func consume(t *testing.T, c *client, id kafka.TopicID, partitions, n int, withSession bool, random *rand.Rand) [][]string {
	t.Helper()
	got := make([][]string, partitions)
	next := make([]int64, partitions)
	moved := map[int32]bool{}
	session, epoch := int32(0), int32(0)
	for total := 0; total < n; {
		var places []place
		for p := range int32(partitions) {
			if !withSession || epoch == 0 || moved[p] {
				places = append(places, place{"", id, p, next[p]})
			}
		}
		req := fetchRequest(13, places...)
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, int32(1+random.IntN(300)), int32(1+random.IntN(2000))
		req.SessionID, req.SessionEpoch = session, epoch
		if !withSession {
			req.SessionEpoch = -1
		}
		resp := c.do(req).(*kmsg.FetchResponse)
		if resp.ErrorCode != 0 {
			t.Errorf("fetch: %v", kafka.Code(resp.ErrorCode))
			return got
		}
		if withSession {
			session, epoch = resp.SessionID, epoch+1
		}
		clear(moved)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				for _, v := range values(t, p.RecordBatches) {
					at, value, _ := strings.Cut(v, "=")
					offset, _ := strconv.ParseInt(at, 10, 64)
					if offset < next[p.Partition] {
						continue // the front of a batch that we are in the middle of
					}
					if offset != next[p.Partition] {
						t.Errorf("partition %d: offset %d follows %d", p.Partition, offset, next[p.Partition]-1)
						return got
					}
					got[p.Partition] = append(got[p.Partition], value)
					next[p.Partition]++
					moved[p.Partition] = true
					total++
				}
			}
		}
	}
	return got
}

// Many producers and consumers at once: everyone reads the same records in the
// same order, and each producer's stay in order.
func TestManyProducersAndConsumers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const partitions, producers, consumers, each = 5, 6, 6, 120
		n := start(t)
		id := n.topic("t", partitions)
		var work sync.WaitGroup
		read := make([][][]string, consumers)
		for i := range consumers {
			c := n.dial()
			work.Go(func() {
				read[i] = consume(t, c, id, partitions, producers*each, i%2 == 0, rand.New(rand.NewPCG(1, uint64(i))))
			})
		}
		for i := range producers {
			c := n.dial()
			work.Go(func() {
				random := rand.New(rand.NewPCG(2, uint64(i)))
				for sent := 0; sent < each; {
					batch := make([]string, min(1+random.IntN(4), each-sent))
					for k := range batch {
						batch[k] = fmt.Sprintf("%d.%d", i, sent+k)
					}
					acks := []int16{1, -1, 0}[random.IntN(3)]
					partition := int32(random.IntN(partitions))
					req := produceRequest(13, "", id, partition, acks, records(batch...))
					correlation := c.send(req)
					if acks != 0 {
						if p := c.receive(req, correlation).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
							t.Errorf("produce: %v", kafka.Code(p.ErrorCode))
							return
						}
					}
					sent += len(batch)
					time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
				}
			})
		}
		work.Wait()
		if t.Failed() {
			return
		}
		for i := 1; i < consumers; i++ {
			for p := range partitions {
				if !slices.Equal(read[i][p], read[0][p]) {
					t.Fatalf("consumer %d reads other records of partition %d than consumer 0", i, p)
				}
			}
		}
		for p, all := range read[0] {
			last := map[string]int{}
			for _, v := range all {
				who, count, _ := strings.Cut(v, ".")
				k, _ := strconv.Atoi(count)
				if before, ok := last[who]; ok && k <= before {
					t.Fatalf("partition %d: producer %s's record %d follows %d", p, who, k, before)
				}
				last[who] = k
			}
		}
	})
}

// A consumer that is behind by far reads all of it, in pieces of many sizes.
func TestCatchUpInSmallPieces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 2, "segment.bytes", "1048576")
		c := n.dial()
		for i := range 60 {
			if p := c.produce(13, "", id, int32(i%2), 1, records(strings.Repeat("x", 90_000), strconv.Itoa(i))); p.ErrorCode != 0 {
				t.Fatal(kafka.Code(p.ErrorCode))
			}
		}
		for _, withSession := range []bool{false, true} {
			got := consume(t, c, id, 2, 120, withSession, rand.New(rand.NewPCG(3, 3)))
			if len(got[0]) != 60 || len(got[1]) != 60 || got[1][59] != "59" {
				t.Errorf("session %v: %d and %d records", withSession, len(got[0]), len(got[1]))
			}
		}
	})
}

// Pipelined producers with acks=all while the ISR comes and goes: every reply
// comes, in order, and what it acknowledges is in the log and committed.
func TestPipelinedProducersAndAChangingISR(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.shared("t", 1, 2)
		var work sync.WaitGroup
		for i := range 4 {
			c := n.dial()
			work.Go(func() {
				random := rand.New(rand.NewPCG(4, uint64(i)))
				for range 30 {
					var reqs []*kmsg.ProduceRequest
					var ids []int32
					for range 1 + random.IntN(6) {
						req := produceRequest(13, "", id, 0, -1, records("x"))
						req.TimeoutMillis = 60_000
						reqs, ids = append(reqs, req), append(ids, c.send(req))
					}
					last := int64(-1)
					for k := range reqs {
						p := c.receive(reqs[k], ids[k]).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
						tail, _ := n.table.Get(id, 0).Tail()
						if p.ErrorCode != 0 || p.BaseOffset <= last || int64(tail.HighWatermark) <= p.BaseOffset {
							t.Errorf("%v at offset %d after %d, high watermark %d", kafka.Code(p.ErrorCode), p.BaseOffset, last, tail.HighWatermark)
							return
						}
						last = p.BaseOffset
					}
				}
			})
		}
		stop := make(chan struct{})
		var changing sync.WaitGroup
		changing.Go(func() {
			for {
				for _, isr := range [][]kafka.NodeID{{1}, {1, 2}} {
					select {
					case <-stop:
						return
					case <-time.After(7 * time.Millisecond):
						n.change(id, -2, isr...)
					}
				}
			}
		})
		work.Wait()
		close(stop)
		changing.Wait()
		if got := n.table.Get(id, 0).Waiting(1); got != 0 {
			t.Errorf("%d entries are left", got)
		}
	})
}

// Consumers in long polls while their topic is deleted and created again: they
// are told, and nothing is left behind.
func TestConsumersOfATopicThatComesAndGoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		var work sync.WaitGroup
		for life := range 10 {
			id := n.topic("t", 3)
			for i := range 4 {
				c := n.dial()
				work.Go(func() {
					places := []place{{"", id, 0, 0}, {"", id, 1, 0}, {"", id, 2, 0}}
					_, s, _ := c.session(fetchRequest(13, places...), 0, 0)
					req := fetchRequest(13)
					if i%2 == 0 {
						req, s = fetchRequest(13, places...), 0
					}
					req.MaxWaitMillis = 600_000
					epoch := int32(1)
					if s == 0 {
						epoch = -1
					}
					code, _, got := c.session(req, s, epoch)
					if code != 0 || !strings.Contains(strings.Join(got, ","), "UNKNOWN_TOPIC") {
						t.Errorf("life %d: %v %q", life, code, got)
					}
				})
			}
			time.Sleep(time.Second)
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version, req.TopicNames, req.TimeoutMillis = 5, []string{"t"}, 1000
			if r := n.dial().do(req).(*kmsg.DeleteTopicsResponse).Topics[0]; r.ErrorCode != 0 {
				t.Errorf("delete: %v", kafka.Code(r.ErrorCode))
			}
			work.Wait()
		}
		if n.table.Len() != 0 {
			t.Errorf("%d partitions are left", n.table.Len())
		}
	})
}
