// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// shared makes a topic whose second replica is a broker that never fetches, so
// that acks=all has to wait.
func (n *node) shared(name string, isr ...kafka.NodeID) kafka.TopicID {
	n.t.Helper()
	id := kafka.TopicID{42}
	p := &metarec.Partition{TopicID: id, Leader: self, Replicas: []kafka.NodeID{1, 2}, ISR: isr, Directories: []kafka.DirectoryID{n.dir.ID(), {1: 7}}}
	n.mu.Lock()
	n.publish([]metarec.Record{&metarec.Topic{Name: name, TopicID: id}, p})
	n.mu.Unlock()
	n.exec.Wait()
	return id
}

func (n *node) change(id kafka.TopicID, leader kafka.NodeID, isr ...kafka.NodeID) {
	c := &metarec.PartitionChange{TopicID: id, Leader: leader, ISR: isr, LeaderRecoveryState: -1}
	n.mu.Lock()
	n.publish([]metarec.Record{c})
	n.mu.Unlock()
	n.exec.Wait()
}

// acks=all waits for the high watermark while the connection reads on, and the
// replies keep their order.
func TestParkedProduceKeepsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id, free := n.shared("t", 1, 2), n.topic("free", 1)
		c := n.dial()
		var reqs []kmsg.Request
		var ids []int32
		for i := range 5 {
			req := kmsg.Request(produceRequest(9, "t", id, 0, -1, records("held")))
			if i%2 == 1 {
				req = produceRequest(13, "free", free, 0, 1, records("not held"))
			}
			reqs, ids = append(reqs, req), append(ids, c.send(req))
		}
		reqs, ids = append(reqs, apiVersions(3)), append(ids, c.send(apiVersions(3)))
		time.Sleep(time.Second)
		// All were taken although nothing was answered yet.
		if p := n.table.Get(id, 0); mustTail(t, n, id) != 3 || p.Waiting(1) != 3 {
			t.Fatalf("log end %d, %d wait", mustTail(t, n, id), p.Waiting(1))
		}
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			n.change(id, image.NoLeaderChange, 1) // the other replica leaves the ISR
		}()
		for i := range reqs {
			resp := c.receive(reqs[i], ids[i])
			if p, ok := resp.(*kmsg.ProduceResponse); ok && p.Topics[0].Partitions[0].ErrorCode != 0 {
				t.Errorf("reply %d: %v", i, kafka.Code(p.Topics[0].Partitions[0].ErrorCode))
			}
			if ok := resp.(interface{ GetVersion() int16 }).GetVersion(); i < 5 && ok != []int16{9, 13}[i%2] {
				t.Errorf("reply %d is of version %d", i, ok)
			}
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("answered after %v", d)
		}
		if n.table.Get(id, 0).Waiting(1) != 0 {
			t.Error("somebody still waits")
		}
	})
}

func mustTail(t *testing.T, n *node, id kafka.TopicID) kafka.Offset {
	t.Helper()
	tail, ok := n.table.Get(id, 0).Tail()
	if !ok {
		t.Fatal("no log")
	}
	return tail.LogEnd
}

// What becomes of a parked Produce: its time is up, the leader changes, the
// topic goes, the connection dies.
func TestParkedProduceEnds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		do    func(n *node, id kafka.TopicID)
		after time.Duration
		want  kafka.Code
	}{
		{"time is up", func(*node, kafka.TopicID) {}, 5 * time.Second, kafka.RequestTimedOut},
		{"leader changes", func(n *node, id kafka.TopicID) { n.change(id, 2) }, time.Second, kafka.NotLeaderForPartition},
		{"deleted", func(n *node, id kafka.TopicID) {
			n.mu.Lock()
			n.publish([]metarec.Record{&metarec.RemoveTopic{TopicID: id}})
			n.mu.Unlock()
		}, time.Second, kafka.NotLeaderForPartition},
		{"directory fails", func(n *node, _ kafka.TopicID) { n.exec.FailDir(0, kafka.KafkaStorageError) }, time.Second, kafka.KafkaStorageError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := start(t)
				id := n.shared("t", 1, 2)
				c := n.dial()
				began := time.Now()
				go func() {
					time.Sleep(time.Second)
					tc.do(n, id)
				}()
				p := c.produce(9, "t", id, 0, -1, records("x"))
				if kafka.Code(p.ErrorCode) != tc.want || time.Since(began) != tc.after {
					t.Errorf("%v after %v", kafka.Code(p.ErrorCode), time.Since(began))
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.shared("t", 1, 2)
		c := n.dial()
		c.send(produceRequest(9, "t", id, 0, -1, records("x")))
		time.Sleep(time.Second)
		c.conn.Close()
		time.Sleep(time.Second)
		if got := n.table.Get(id, 0).Waiting(1); got != 0 {
			t.Errorf("%d entries of a dead connection wait", got)
		}
	})
}

// With too small an ISR acks=all is refused before anything is written, and
// acks=1 is taken but not shown.
func TestTooFewInSync(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"min.insync.replicas=2"} })
		id := n.shared("t", 1)
		c := n.dial()
		if p := c.produce(9, "t", id, 0, -1, records("x")); kafka.Code(p.ErrorCode) != kafka.NotEnoughReplicas || mustTail(t, n, id) != 0 {
			t.Errorf("%v, log end %d", kafka.Code(p.ErrorCode), mustTail(t, n, id))
		}
		if p := c.produce(9, "t", id, 0, 1, records("x")); p.ErrorCode != 0 {
			t.Errorf("acks=1: %v", kafka.Code(p.ErrorCode))
		}
		if p := c.fetchOne(fetchRequest(12, place{"t", id, 0, 0})); p.HighWatermark != 0 || len(p.RecordBatches) != 0 {
			t.Errorf("high watermark %d", p.HighWatermark)
		}
	})
}

// 25: who comes to the wrong broker is told the leader and its address, the
// same broker in both (KIP-951).
func TestPoint25CurrentLeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.shared("t", 1, 2)
		other := metarec.NewRegisterBroker()
		other.BrokerID, other.Fenced = 2, false
		other.EndPoints = []metarec.Endpoint{{Name: "PLAINTEXT", Host: "there", Port: 99}}
		n.mu.Lock()
		n.publish([]metarec.Record{other})
		n.mu.Unlock()
		n.change(id, 2)
		c := n.dial()
		for v := int16(9); v <= 13; v++ {
			resp := c.do(produceRequest(v, "t", id, 0, 1, records("x"))).(*kmsg.ProduceResponse)
			p := resp.Topics[0].Partitions[0]
			if kafka.Code(p.ErrorCode) != kafka.NotLeaderForPartition {
				t.Errorf("produce v%d: %v", v, kafka.Code(p.ErrorCode))
			}
			told := len(resp.Brokers) == 1 && resp.Brokers[0].Host == "there" && resp.Brokers[0].NodeID == 2 && p.CurrentLeader.LeaderID == 2 && p.CurrentLeader.LeaderEpoch == 1
			if told != (v >= 10) {
				t.Errorf("produce v%d: leader %+v, endpoints %+v", v, p.CurrentLeader, resp.Brokers)
			}
		}
		for v := int16(12); v <= 18; v++ {
			req := fetchRequest(v, place{"t", id, 0, 0})
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 // fenced
			resp := c.do(req).(*kmsg.FetchResponse)
			p := resp.Topics[0].Partitions[0]
			if kafka.Code(p.ErrorCode) != kafka.FencedLeaderEpoch {
				t.Errorf("fetch v%d: %v", v, kafka.Code(p.ErrorCode))
			}
			told := len(resp.Brokers) == 1 && resp.Brokers[0].Port == 99 && p.CurrentLeader.LeaderID == 2
			if told != (v >= 16) {
				t.Errorf("fetch v%d: leader %+v, endpoints %+v", v, p.CurrentLeader, resp.Brokers)
			}
		}
	})
}

// 35: a leader that does not know what its predecessor had committed says so.
func TestPoint35OffsetNotAvailable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.shared("t", 1, 2)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("x"))
		n.change(id, 1) // a new epoch begins at offset 1, the high watermark is 0
		for v := int16(1); v <= 11; v++ {
			want := kafka.OffsetNotAvailable
			if v < 5 {
				want = kafka.LeaderNotAvailable
			}
			for _, ts := range []int64{-1, time.Now().UnixMilli() - 1000} {
				if p := c.do(listOffsets(v, "t", 0, ts)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; kafka.Code(p.ErrorCode) != want {
					t.Errorf("v%d timestamp %d: %v, want %v", v, ts, kafka.Code(p.ErrorCode), want)
				}
			}
			if p := c.do(listOffsets(v, "t", 0, -2)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.Offset != 0 {
				t.Errorf("v%d earliest: %v", v, kafka.Code(p.ErrorCode))
			}
		}
	})
}

// A request for a partition that is still switching waits for it, but not for ever.
func TestSwitchingPartition(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		p := n.table.Get(id, 0)
		c := n.dial()
		p.Begin()
		began := time.Now()
		go func() {
			time.Sleep(300 * time.Millisecond)
			p.End()
		}()
		if r := c.produce(9, "t", id, 0, 1, records("x")); r.ErrorCode != 0 || time.Since(began) != 300*time.Millisecond {
			t.Errorf("%v after %v", kafka.Code(r.ErrorCode), time.Since(began))
		}
		p.Begin()
		began = time.Now()
		c.fetchOne(fetchRequest(12, place{"t", id, 0, 0}))
		if d := time.Since(began); d != time.Second {
			t.Errorf("waited %v", d)
		}
		p.End()
	})
}
