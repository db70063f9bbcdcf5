// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/quota"
	"gregor/wire/fetch"
)

var everyone = quota.Entity{ClientID: quota.Others}

// limit sets one limit for all client ids.
func (n *node) limit(k quota.Kind, perSecond float64) {
	l := quota.NewLimits()
	l.Set(everyone, k, perSecond)
	n.api.d.Quotas.Update(l)
}

// spend uses a limit up from elsewhere, under the client id of the tests.
func (n *node) spend(k quota.Kind, amount float64) {
	var c quota.Client
	q := n.api.d.Quotas
	q.Bind(&c, "ANONYMOUS", "test", time.Now())
	c.Charge(q, k, amount, time.Now())
	q.Release(&c, time.Now())
}

// 68: respond first, then mute: what is over the limit is appended and answered
// at once, and the connection's next request is answered after the wait.
func TestPoint68RespondThenMute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		n.limit(quota.Produce, 100)
		c, big := n.dial(), records(strings.Repeat("x", 2000))
		for _, acks := range []int16{1, -1} {
			began := time.Now()
			resp := c.do(produceRequest(9, "t", id, 0, acks, big)).(*kmsg.ProduceResponse)
			if d := time.Since(began); d != 0 {
				t.Errorf("acks=%d: the answer took %v", acks, d)
			}
			if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || resp.ThrottleMillis < 9_000 {
				t.Fatalf("acks=%d: %v, throttled for %d ms", acks, kafka.Code(p.ErrorCode), resp.ThrottleMillis)
			}
			c.do(apiVersions(3))
			if d := time.Since(began); d != time.Duration(resp.ThrottleMillis)*time.Millisecond {
				t.Errorf("acks=%d: muted for %v, told %d ms", acks, d, resp.ThrottleMillis)
			}
		}
		// acks=0 gets no answer, and waits too.
		began := time.Now()
		c.send(produceRequest(9, "t", id, 0, 0, big))
		c.do(apiVersions(3))
		if d := time.Since(began); d < 9*time.Second {
			t.Errorf("acks=0: muted for %v", d)
		}
	})
}

// 68: a throttled Fetch is empty, and its session stays as it was: what was not
// sent is sent later.
func TestPoint68ThrottledFetchIsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 2)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("a"))
		n.limit(quota.Fetch, 10)
		n.spend(quota.Fetch, 150)
		fetch := func(session, epoch int32, places ...place) *kmsg.FetchResponse {
			req := fetchRequest(13, places...)
			req.SessionID, req.SessionEpoch = session, epoch
			return n.dial().do(req).(*kmsg.FetchResponse) // the last connection is muted
		}
		held := func(what string, r *kmsg.FetchResponse, session int32) {
			t.Helper()
			if r.ErrorCode != 0 || r.ThrottleMillis <= 0 || len(r.Topics) != 0 || r.SessionID != session {
				t.Errorf("%s: %v, throttled for %d ms, %d topics, session %d", what, kafka.Code(r.ErrorCode), r.ThrottleMillis, len(r.Topics), r.SessionID)
			}
		}
		all := []place{{"", id, 0, 0}, {"", id, 1, 0}}
		held("without a session", fetch(0, -1, all...), 0)
		n.spend(quota.Fetch, 150)
		held("a new session", fetch(0, 0, all...), 0)

		n.api.d.Quotas.Update(quota.NewLimits())
		r := fetch(0, 0, all...)
		if r.SessionID == 0 || len(r.Topics) != 1 {
			t.Fatalf("session %d, %d topics", r.SessionID, len(r.Topics))
		}
		s := r.SessionID
		c.produce(9, "t", id, 1, 1, records("b"))
		n.limit(quota.Fetch, 10)
		n.spend(quota.Fetch, 150)
		held("in a session", fetch(s, 1), s)
		n.spend(quota.Fetch, 150)
		held("again", fetch(s, 2), s)
		n.api.d.Quotas.Update(quota.NewLimits())
		r = fetch(s, 3)
		var got []string
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				got = append(got, values(t, p.RecordBatches)...)
			}
		}
		slices.Sort(got)
		if r.ThrottleMillis != 0 || !slices.Equal(got, []string{"0=a", "0=b"}) {
			t.Errorf("after the wait: throttled for %d ms, %q", r.ThrottleMillis, got)
		}
	})
}

// A batch that is larger than what a limit ever lets pass at once is sent to who
// is within the limit, and the next answers make up for it: nobody starves.
func TestLargeBatchUnderASmallLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records(strings.Repeat("x", 5000)))
		n.limit(quota.Fetch, 100)
		began := time.Now()
		for range 10 {
			if resp := c.do(fetchRequest(12, place{"t", id, 0, 0})).(*kmsg.FetchResponse); len(resp.Topics) != 1 || resp.ThrottleMillis != 0 {
				t.Fatalf("within the limit: %d topics, throttled for %d ms", len(resp.Topics), resp.ThrottleMillis)
			}
			if resp := c.do(fetchRequest(12, place{"t", id, 0, 0})).(*kmsg.FetchResponse); len(resp.Topics) != 0 || resp.ThrottleMillis == 0 {
				t.Fatalf("beyond it: %d topics, throttled for %d ms", len(resp.Topics), resp.ThrottleMillis)
			}
		}
		c.do(apiVersions(3))
		// What a window of 10 s lets pass is free again after each wait.
		if rate := 10 * 5100 / time.Since(began).Seconds(); rate < 100 || rate > 125 {
			t.Errorf("%v bytes a second, want 100 and up to ten seconds' worth for nothing each time", rate)
		}
	})
}

// 68: of bandwidth and time the longer wait counts, and time is throttled by a
// second at most.
func TestPoint68LongestWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		small := records("x")
		for _, tc := range []struct {
			produce, request float64 // spent of 100 a second
			min, max         int32
		}{{0, 0, 0, 0}, {3000, 0, 20_000, 21_500}, {0, 9000, 1000, 1000}, {950, 9000, 1000, 1000}, {3000, 9000, 20_000, 21_500}} {
			l := quota.NewLimits()
			l.Set(everyone, quota.Produce, 100)
			l.Set(everyone, quota.Request, 100)
			n.api.d.Quotas.Update(l)
			n.spend(quota.Produce, tc.produce)
			n.spend(quota.Request, tc.request)
			c := n.dial()
			if resp := c.do(produceRequest(9, "t", id, 0, 1, small)).(*kmsg.ProduceResponse); resp.ThrottleMillis < tc.min || resp.ThrottleMillis > tc.max {
				t.Errorf("%+v: throttled for %d ms", tc, resp.ThrottleMillis)
			}
			time.Sleep(time.Minute)
		}
		if s := n.api.d.Quotas.Stats(); s.Throttled[quota.Produce] != 2 || s.Throttled[quota.Request] != 2 || s.ThrottledMs[quota.Request] != 2000 {
			t.Errorf("%+v", s)
		}
		// acks=0 is not charged by time.
		n.limit(quota.Request, 100)
		n.spend(quota.Request, 9000)
		c, began := n.dial(), time.Now()
		c.send(produceRequest(9, "t", id, 0, 0, small))
		c.send(produceRequest(9, "t", id, 0, 0, small))
		n.limit(quota.Produce, 1e9)
		c.do(apiVersions(3))
		if d := time.Since(began); d != 0 {
			t.Errorf("acks=0 was throttled by time for %v", d)
		}
	})
}

// 68: a mutation beyond the limit is refused with THROTTLING_QUOTA_EXCEEDED from
// CreateTopics 6, CreatePartitions 3 and DeleteTopics 5 on, and before carried
// out; both are told to wait.
func TestPoint68StrictMutations(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		refused := func(what string, resp kmsg.Response, code int16, strict bool) {
			t.Helper()
			want := kafka.None
			if strict {
				want = kafka.ThrottlingQuotaExceeded
			}
			if ms, _ := resp.(kmsg.ThrottleResponse).Throttle(); kafka.Code(code) != want || ms <= 0 {
				t.Errorf("%s: %v and throttled for %d ms, want %v", what, kafka.Code(code), ms, want)
			}
		}
		run := func(f func(c *client)) {
			n.limit(quota.Mutation, 0.1) // one in all
			f(n.dial())
			n.api.d.Quotas.Update(quota.NewLimits())
			time.Sleep(time.Hour)
		}
		name := func(v int16) string { return "t" + string(rune('a'+v)) }
		overdraw := func(v int16) {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Version, req.TimeoutMillis = 7, 1000
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "spent"+name(v)+time.Now().Format("150405"), 5, 1
			req.Topics = append(req.Topics, topic)
			if code := n.dial().do(req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
				t.Fatalf("create: %v", kafka.Code(code))
			}
		}
		for v := int16(2); v <= 7; v++ {
			run(func(c *client) {
				overdraw(v)
				req := kmsg.NewPtrCreateTopicsRequest()
				req.Version, req.TimeoutMillis = v, 1000
				topic := kmsg.NewCreateTopicsRequestTopic()
				topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name(v), 1, 1
				req.Topics = append(req.Topics, topic)
				resp := c.do(req).(*kmsg.CreateTopicsResponse)
				refused("CreateTopics v"+string(rune('0'+v)), resp, resp.Topics[0].ErrorCode, v >= 6)
			})
		}
		for v := int16(0); v <= 3; v++ {
			n.topic("grow"+name(v), 1)
			run(func(c *client) {
				overdraw(v)
				req := kmsg.NewPtrCreatePartitionsRequest()
				req.Version, req.TimeoutMillis = v, 1000
				topic := kmsg.NewCreatePartitionsRequestTopic()
				topic.Topic, topic.Count = "grow"+name(v), 2
				req.Topics = append(req.Topics, topic)
				resp := c.do(req).(*kmsg.CreatePartitionsResponse)
				refused("CreatePartitions v"+string(rune('0'+v)), resp, resp.Topics[0].ErrorCode, v >= 3)
			})
		}
		for v := int16(1); v <= 6; v++ {
			gone := "gone" + name(v)
			n.topic(gone, 1)
			run(func(c *client) {
				overdraw(v)
				req := kmsg.NewPtrDeleteTopicsRequest()
				req.Version, req.TimeoutMillis, req.TopicNames = v, 1000, []string{gone}
				topic := kmsg.NewDeleteTopicsRequestTopic()
				topic.Topic = &gone
				req.Topics = append(req.Topics, topic)
				resp := c.do(req).(*kmsg.DeleteTopicsResponse)
				refused("DeleteTopics v"+string(rune('0'+v)), resp, resp.Topics[0].ErrorCode, v >= 5)
			})
		}
	})
}

// Every response that has a throttle time tells it, at each version that has it.
func TestThrottleTimeInEveryResponse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 1)
		for _, req := range samples(id) {
			if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
				continue
			}
			n.limit(quota.Request, 1)
			n.spend(quota.Request, 10_000)
			resp := n.dial().do(req)
			told, ok := resp.(kmsg.ThrottleResponse)
			if !ok {
				continue
			}
			ms, _ := told.Throttle()
			// A version without the field reads as 0.
			set := reflect.New(reflect.TypeOf(resp).Elem()).Interface().(kmsg.Response)
			set.SetVersion(req.GetVersion())
			with, without := set, reflect.New(reflect.TypeOf(resp).Elem()).Interface().(kmsg.Response)
			without.SetVersion(req.GetVersion())
			with.(kmsg.SetThrottleResponse).SetThrottle(7)
			has := !bytes.Equal(with.AppendTo(nil), without.AppendTo(nil))
			if want := int32(1000); has && ms != want || !has && ms != 0 {
				t.Errorf("%T v%d: throttled for %d ms; it has the field: %t", req, req.GetVersion(), ms, has)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A broker that fetches is no client.
func TestReplicasAreNotThrottled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.limit(quota.Fetch, 1)
		n.spend(quota.Fetch, 1000)
		f := fetching{api: n.api, c: &call.Call{Conn: &call.Conn{Listener: &call.Listener{InterBroker: true}}}, req: new(fetch.Request), s: &state{now: time.Now}}
		f.req.ReplicaID = 2
		if f.hold() || f.c.ThrottleMs != 0 || f.atOnceMax(500) != 500 {
			t.Error("a replica is held")
		}
	})
}
