// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// samples gives a valid request of every API in every version.
func samples(id kafka.TopicID) []kmsg.Request {
	random := rand.New(rand.NewPCG(5, 6))
	var all []kmsg.Request
	for _, r := range rows() {
		for v := r.min; v <= r.max; v++ {
			switch r.key {
			case keyProduce:
				all = append(all, produceRequest(v, "events", id, 0, -1, records("a", "b")))
			case keyFetch:
				q := fetchRequest(v, place{"events", id, 0, 0}, place{"events", id, 1, 0})
				forgotten := kmsg.NewFetchRequestForgottenTopic()
				forgotten.Topic, forgotten.TopicID, forgotten.Partitions = "events", id, []int32{7}
				q.ForgottenTopics = append(q.ForgottenTopics, forgotten)
				all = append(all, q)
			default:
				all = append(all, randomRequest(random, &r, v))
			}
		}
	}
	return all
}

// survive sends a payload as one frame and reports whether the broker answered
// it. Closing the connection is fine too; silence, a panic and an unknown error
// are not. Only a Fetch may take its time.
func survive(t *testing.T, n *node, c *client, payload []byte) (next *client) {
	t.Helper()
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	c.write(append(frame, payload...))
	acks0 := len(payload) > 1 && payload[0] == 0 && payload[1] == keyProduce
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	if acks0 {
		// It may have become a request without a reply: something else must answer then.
		req := kmsg.NewPtrApiVersionsRequest()
		c.conn.Write(encode(req, 99))
	}
	_, _, err := c.frame()
	slow := len(payload) > 1 && payload[0] == 0 && payload[1] == keyFetch
	if errors.Is(err, os.ErrDeadlineExceeded) && !slow {
		t.Errorf("no answer to % x", payload)
	}
	if s := n.server.Stats(); s.PanicsTotal > 0 {
		t.Fatalf("the handler panicked over % x", payload)
	}
	if s := n.api.Stats(); s.UnknownErrorsTotal > 0 {
		t.Fatalf("unknown error for % x", payload)
	}
	if err == nil && !acks0 {
		return c
	}
	c.conn.Close()
	return n.dial()
}

func payloadOf(req kmsg.Request) []byte { return encode(req, 1)[4:] }

func TestTruncatedRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		for _, req := range samples(id) {
			whole := payloadOf(req)
			for cut := 8; cut < len(whole); cut++ {
				c = survive(t, n, c, whole[:cut])
			}
		}
		stillServes(t, n, id)
	})
}

func TestHugeCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		huge := [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0x7f, 0xff}}
		for _, req := range samples(id) {
			whole := payloadOf(req)
			for at := 8; at < len(whole); at++ {
				for _, h := range huge {
					bad := append([]byte(nil), whole...)
					copy(bad[at:], h)
					c = survive(t, n, c, bad)
				}
			}
		}
		stillServes(t, n, id)
	})
}

func TestRandomBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		random := rand.New(rand.NewPCG(7, 8))
		for range 3000 {
			junk := make([]byte, 8+random.IntN(200))
			for i := range junk {
				junk[i] = byte(random.Uint32())
			}
			if random.IntN(2) == 0 { // with a header that is taken
				table := rows()
				r := &table[random.IntN(len(table))]
				binary.BigEndian.PutUint16(junk, uint16(r.key))
				binary.BigEndian.PutUint16(junk[2:], uint16(r.min+int16(random.IntN(int(r.max-r.min)+1))))
			}
			c = survive(t, n, c, junk)
		}
		stillServes(t, n, id)
	})
}

// Bytes behind a request are let pass, as Kafka does.
func TestTrailingBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		for _, req := range samples(id) {
			c := n.dial()
			c.write(binary.BigEndian.AppendUint32(nil, uint32(len(payloadOf(req))+5)))
			c.write(append(payloadOf(req), 1, 2, 3, 4, 5))
			if _, _, err := c.frame(); err != nil {
				t.Errorf("%T v%d with bytes behind it: %v", req, req.GetVersion(), err)
			}
			c.conn.Close()
		}
	})
}

func TestClaimOfTwoGigabytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		c.write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9})
		if !c.isClosed() {
			t.Error("the connection is open")
		}
	})
}

// stillServes shows that nothing was harmed.
func stillServes(t *testing.T, n *node, id kafka.TopicID) {
	t.Helper()
	c := n.dial()
	p := c.produce(13, "", id, 0, -1, records("after all"))
	if p.ErrorCode != 0 {
		t.Fatalf("produce: %v", kafka.Code(p.ErrorCode))
	}
	got := values(t, c.fetchOne(fetchRequest(18, place{"", id, 0, p.BaseOffset})).RecordBatches)
	if len(got) != 1 || got[0][len(got[0])-9:] != "after all" {
		t.Fatalf("read %q", got)
	}
}
