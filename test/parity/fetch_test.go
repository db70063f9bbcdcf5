// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// part is one partition of a Fetch request.
type part struct {
	topic     string
	id        [16]byte
	partition int32
	offset    int64
	epoch     *int32 // the current one, as the client believes; nil: -1
	last      *int32 // the last fetched epoch; nil: -1
	max       *int32 // bytes; nil: many
	logStart  *int64 // nil: -1
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// fetching makes a Fetch request of a consumer without a session, which waits
// for nothing.
func fetching(version int16, parts ...part) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = version, -1, 0, 0, 50<<20, -1
	for _, p := range parts {
		ask := kmsg.NewFetchRequestTopicPartition()
		ask.Partition, ask.FetchOffset, ask.PartitionMaxBytes = p.partition, p.offset, or(p.max, 10<<20)
		ask.CurrentLeaderEpoch, ask.LastFetchedEpoch, ask.LogStartOffset = or(p.epoch, -1), or(p.last, -1), or(p.logStart, -1)
		n := len(req.Topics)
		if n == 0 || req.Topics[n-1].Topic != p.topic || req.Topics[n-1].TopicID != p.id {
			topic := kmsg.NewFetchRequestTopic()
			topic.Topic, topic.TopicID = p.topic, p.id
			req.Topics = append(req.Topics, topic)
			n++
		}
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, ask)
	}
	return req
}

// read asks at every version.
func (l *list) read(name string, change func(*kmsg.FetchRequest), parts ...part) {
	l.t.Helper()
	l.each(keyFetch, "Fetch/"+name, func(s *site, v int16) kmsg.Request {
		own := make([]part, len(parts))
		for i, p := range parts {
			if p.id == [16]byte{} {
				p.id = s.id(p.topic)
			}
			own[i] = p
		}
		req := fetching(v, own...)
		if change != nil {
			change(req)
		}
		return req
	})
}

// fetch reads, rightly and wrongly, without sessions.
func (l *list) fetch() {
	l.topic("read", 4)
	for i := range 10 {
		s := spec{records: 10, timestamp: epochMs + int64(i)*1000, step: 10}
		l.one(fmt.Sprintf("Produce/read/%d", i), func(at *site) kmsg.Request { return producing(9, "read", [16]byte{}, 0, -1, of(s)) })
		l.one(fmt.Sprintf("Produce/read/second %d", i), func(at *site) kmsg.Request { return producing(9, "read", [16]byte{}, 1, -1, of(s)) })
	}
	size := int32(len(of(spec{records: 10, step: 10})))
	l.one("Produce/read/third", func(*site) kmsg.Request {
		return producing(9, "read", [16]byte{}, 2, -1, of(spec{records: 50, value: 100, codec: compress.Zstd}))
	})
	for _, offset := range []int64{0, 1, 9, 10, 15, 99, 100, 101, 1000, -1, -2, math.MaxInt64, math.MinInt64} {
		l.read(fmt.Sprintf("offset %d", offset), nil, part{topic: "read", offset: offset})
	}
	for _, n := range []int32{0, 1, size - 1, size, size + 1, 2*size - 1, 2 * size, -1, math.MaxInt32, math.MinInt32} {
		l.read(fmt.Sprintf("partition max %d", n), nil, part{topic: "read", max: &n})
		l.read(fmt.Sprintf("partition max %d, from the middle", n), nil, part{topic: "read", max: &n, offset: 15})
		l.read(fmt.Sprintf("max %d", n), func(r *kmsg.FetchRequest) { r.MaxBytes = n }, part{topic: "read"}, part{topic: "read", partition: 1})
		l.read(fmt.Sprintf("max %d, first is empty", n), func(r *kmsg.FetchRequest) { r.MaxBytes = n }, part{topic: "read", offset: 100}, part{topic: "read", partition: 1}, part{topic: "read", partition: 2})
		l.read(fmt.Sprintf("partition max %d of several", n), nil, part{topic: "read", max: &n}, part{topic: "read", partition: 1, max: &n}, part{topic: "read", partition: 3, max: &n})
		l.read(fmt.Sprintf("partition max %d of the second", n), nil, part{topic: "read"}, part{topic: "read", partition: 1, max: &n})
	}
	l.read("max 5 batches", func(r *kmsg.FetchRequest) { r.MaxBytes = 5*size + 3 }, part{topic: "read", max: at(3 * size)}, part{topic: "read", partition: 1, max: at(3 * size)}, part{topic: "read", partition: 2})
	l.read("order", nil, part{topic: "read", partition: 2}, part{topic: "read", partition: 1}, part{topic: "read"})
	l.read("empty partition", nil, part{topic: "read", partition: 3})
	l.read("empty partition, offset 1", nil, part{topic: "read", partition: 3, offset: 1})
	for _, p := range []int32{4, -1, math.MaxInt32} {
		l.read(fmt.Sprintf("partition %d", p), nil, part{topic: "read", partition: p})
	}
	l.read("partition twice", nil, part{topic: "read"}, part{topic: "read", offset: 50})
	l.read("topic twice", nil, part{topic: "read"}, part{topic: "plain"}, part{topic: "read", partition: 1})
	l.read("nothing", nil)
	for i, name := range append([]string{"unknown", "__consumer_offsets"}, badNames...) {
		l.read(fmt.Sprintf("topic %d", i), nil, part{topic: name, id: [16]byte{6, byte(i)}})
	}
	l.read("zero id", nil, part{topic: "unknown"})
	l.read("good, bad, good", nil, part{topic: "read"}, part{topic: "unknown", id: [16]byte{3}}, part{topic: "read", partition: 9}, part{topic: "plain"})
	for _, e := range []int32{0, 1, 5, -1, -2, math.MaxInt32} {
		l.read(fmt.Sprintf("leader epoch %d", e), nil, part{topic: "read", epoch: &e})
		l.read(fmt.Sprintf("last fetched epoch %d", e), nil, part{topic: "read", last: &e, offset: 20})
		l.read(fmt.Sprintf("leader epoch %d and out of range", e), nil, part{topic: "read", epoch: &e, offset: 5000})
	}
	for _, b := range []int64{0, 5, 1000, -2} {
		l.read(fmt.Sprintf("log start %d", b), nil, part{topic: "read", logStart: &b})
	}
	for _, isolation := range []int8{1, 2, -1} {
		l.read(fmt.Sprintf("isolation %d", isolation), func(r *kmsg.FetchRequest) { r.IsolationLevel = isolation }, part{topic: "read", offset: 95})
	}
	for _, replica := range []int32{-2, -3, 0, 1, 2} {
		l.read(fmt.Sprintf("replica %d", replica), func(r *kmsg.FetchRequest) {
			r.ReplicaID = replica
			if r.Version >= 15 {
				r.ReplicaState.ID = replica
			}
		}, part{topic: "read", offset: 90})
	}
	l.read("rack", func(r *kmsg.FetchRequest) { r.Rack = "somewhere" }, part{topic: "read", offset: 90})
	l.read("cluster id", func(r *kmsg.FetchRequest) { r.ClusterID = kmsg.StringPtr("x") }, part{topic: "read", offset: 90})
	l.read("zstd", nil, part{topic: "read", partition: 2})
	l.waits()
	l.producedMeanwhile()
}

// waits compares whether an answer comes at once. What is to wait has a short
// time, which is never cut; what is not has one that no machine needs.
func (l *list) waits() {
	const short, never = 400, aMinute
	for _, c := range []struct {
		name              string
		wait, least, most int32
		parts             []part
	}{
		{"nothing there, 1 byte", short, 1, 1 << 20, []part{{topic: "read", offset: 100}}},
		{"nothing there, 0 bytes", never, 0, 1 << 20, []part{{topic: "read", offset: 100}}},
		{"nothing there, -1 bytes", never, -1, 1 << 20, []part{{topic: "read", offset: 100}}},
		{"something there", never, 1, 1 << 20, []part{{topic: "read"}}},
		{"too little there", short, 1 << 20, 1 << 20, []part{{topic: "read", offset: 95}}},
		{"wants more than it takes", short, 1 << 20, 100, []part{{topic: "read", offset: 95}}},
		{"no wait", 0, 1, 1 << 20, []part{{topic: "read", offset: 100}}},
		{"negative wait", -1, 1, 1 << 20, []part{{topic: "read", offset: 100}}},
		{"one has failed", short, 1, 1 << 20, []part{{topic: "read", offset: 100}, {topic: "read", partition: 9}}},
		{"out of range", never, 1, 1 << 20, []part{{topic: "read", offset: 101}}},
		{"unknown topic", never, 1, 1 << 20, []part{{topic: "unknown", id: [16]byte{2}}}},
		{"no partitions", never, 1, 1 << 20, nil},
		{"max 0", short, 1, 0, []part{{topic: "read", offset: 100}}},
		{"max 0, something there", never, 1, 0, []part{{topic: "read"}}},
		{"unknown epoch", never, 1, 1 << 20, []part{{topic: "read", offset: 100, epoch: at(int32(7))}}},
	} {
		waits := time.Duration(c.wait) * 9 / 10 * time.Millisecond
		if c.wait <= 0 {
			waits = never * 9 / 10 * time.Millisecond
		}
		for _, v := range []int16{4, 11, 12, 13, 18} {
			if v < 9 && c.name == "unknown epoch" { // which this version does not name
				continue
			}
			l.send(step{name: fmt.Sprintf("Fetch/waits, %s/v%d", c.name, v), waits: waits, build: func(s *site) kmsg.Request {
				var parts []part
				for _, p := range c.parts {
					if p.id == [16]byte{} {
						p.id = s.id(p.topic)
					}
					parts = append(parts, p)
				}
				req := fetching(v, parts...)
				req.MaxWaitMillis, req.MinBytes, req.MaxBytes = c.wait, c.least, c.most
				return req
			}})
		}
	}
}

// producedMeanwhile lets a Fetch wait for what is produced while it waits.
func (l *list) producedMeanwhile() {
	l.topic("meanwhile", 1)
	l.send(step{name: "Fetch/meanwhile", waits: aMinute * 9 / 10 * time.Millisecond, build: func(s *site) kmsg.Request {
		go func() {
			time.Sleep(300 * time.Millisecond)
			other := step{conn: "other", build: func(*site) kmsg.Request { return producing(9, "meanwhile", [16]byte{}, 0, 1, of(spec{})) }}
			quiet := &site{name: s.name, address: s.address, conns: map[string]*wire{}}
			other.run(quiet)
			quiet.drop("other")
		}()
		req := fetching(12, part{topic: "meanwhile"})
		req.MaxWaitMillis, req.MinBytes = aMinute, 1
		return req
	}})
}

// sessions fetches in sessions.
func (l *list) sessions() {
	l.topic("session", 3)
	l.topic("session-2", 1)
	for _, v := range []int16{7, 11, 12, 13, 15, 17, 18} {
		l.session(v)
	}
	// What a request without a session may say of one.
	for v := int16(7); v <= 18; v++ {
		for _, c := range []struct{ id, epoch int32 }{
			{0, -1}, {0, 1}, {0, 5}, {0, -2}, {12345, -1}, {12345, 1}, {-1, 1}, {-1, 0}, {12345, -5}, {0, math.MaxInt32},
		} {
			l.one(fmt.Sprintf("Fetch/session %d, epoch %d/v%d", c.id, c.epoch, v), func(s *site) kmsg.Request {
				req := fetching(v, part{topic: "session", id: s.id("session")})
				req.SessionID, req.SessionEpoch = c.id, c.epoch
				return req
			})
		}
		l.one(fmt.Sprintf("Fetch/session of nothing/v%d", v), func(s *site) kmsg.Request {
			req := fetching(v)
			req.SessionEpoch = 0
			return req
		})
	}
}

// session is the life of one.
func (l *list) session(v int16) {
	const keep = "session"
	opened := func(s *site, r kmsg.Response) {
		if id := r.(*kmsg.FetchResponse).SessionID; id != 0 {
			s.kept[keep] = int64(id)
		}
	}
	in := func(name string, epoch int32, change func(*site, *kmsg.FetchRequest), parts ...part) {
		l.t.Helper()
		l.send(step{name: fmt.Sprintf("Fetch/in a session, %s/v%d", name, v), then: opened, build: func(s *site) kmsg.Request {
			var own []part
			for _, p := range parts {
				if p.id == [16]byte{} {
					p.id = s.id(p.topic)
				}
				own = append(own, p)
			}
			req := fetching(v, own...)
			req.SessionEpoch = epoch
			if epoch != 0 {
				req.SessionID = int32(s.kept[keep])
			}
			if change != nil {
				change(s, req)
			}
			return req
		}})
	}
	put := func(topic string, partition int32) {
		l.one(fmt.Sprintf("Produce/%s-%d for a session/v%d", topic, partition, v), func(*site) kmsg.Request {
			return producing(9, topic, [16]byte{}, partition, -1, of(spec{}))
		})
	}
	forget := func(topic string, partitions ...int32) func(*site, *kmsg.FetchRequest) {
		return func(s *site, r *kmsg.FetchRequest) {
			r.ForgottenTopics = append(r.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: topic, TopicID: s.id(topic), Partitions: partitions})
		}
	}
	end := int64(0)
	if n, ok := l.sites[0].kept["end"]; ok {
		end = n
	}
	in("opens", 0, nil, part{topic: "session", offset: end}, part{topic: "session", partition: 1, offset: end}, part{topic: "session-2", offset: end})
	in("nothing new", 1, nil)
	put("session", 1)
	in("one is new", 2, nil)
	in("the same again, not fetched further", 3, nil)
	in("fetched further", 4, nil, part{topic: "session", partition: 1, offset: end + 1})
	in("nothing new again", 5, nil)
	in("epoch too old", 5, nil)
	in("goes on after that", 6, nil)
	in("epoch too new", 8, nil)
	in("adds one", 7, nil, part{topic: "session", partition: 2, offset: end})
	put("session", 2)
	put("session", 0)
	put("session-2", 0)
	in("several are new", 8, nil)
	in("max 1 byte", 9, func(_ *site, r *kmsg.FetchRequest) { r.MaxBytes = 1 })
	in("max 1 byte again", 10, func(_ *site, r *kmsg.FetchRequest) { r.MaxBytes = 1 })
	in("the rest", 11, nil)
	in("forgets one", 12, forget("session", 2))
	in("forgets what it has not", 13, forget("session", 2, 9))
	in("forgets and adds the same", 14, forget("session", 1), part{topic: "session", partition: 1, offset: end})
	in("all fetched further", 15, nil, part{topic: "session", offset: end + 1}, part{topic: "session", partition: 1, offset: end + 1}, part{topic: "session-2", offset: end + 1})
	in("an unknown partition", 16, nil, part{topic: "session", partition: 9})
	in("the unknown partition again", 17, nil)
	in("forgets the unknown partition", 18, forget("session", 9))
	in("an unknown topic", 19, nil, part{topic: "unknown", id: [16]byte{4}})
	in("the unknown topic again", 20, nil)
	in("forgets the unknown topic", 21, func(_ *site, r *kmsg.FetchRequest) {
		r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "unknown", TopicID: [16]byte{4}, Partitions: []int32{0}}}
	})
	in("out of range", 22, nil, part{topic: "session", offset: 10_000})
	in("out of range again", 23, nil)
	in("in range again", 24, nil, part{topic: "session", offset: end + 1})
	in("quiet at the end", 25, nil)
	if v >= 12 {
		other := int16(12)
		if v == 12 {
			other = 13
		}
		l.one(fmt.Sprintf("Fetch/in a session, names and ids mixed/v%d", v), func(s *site) kmsg.Request {
			req := fetching(other, part{topic: "session", id: s.id("session"), offset: end})
			req.SessionID, req.SessionEpoch = int32(s.kept[keep]), 26
			return req
		})
	} else {
		in("one more", 26, nil)
	}
	in("after that", 27, nil)
	in("epoch 26", 26, nil)
	in("epoch 27", 27, nil)
	in("forgets all", 28, func(s *site, r *kmsg.FetchRequest) {
		forget("session", 0, 1)(s, r)
		forget("session-2", 0)(s, r)
	})
	in("is gone", 29, nil)
	in("opens another", 0, nil, part{topic: "session", offset: end + 1})
	in("closes", -1, nil)
	in("is gone again", 1, nil)
	in("opens a third", 0, nil, part{topic: "session", offset: end + 1})
	in("opens a fourth in place of it", 0, func(s *site, r *kmsg.FetchRequest) { r.SessionID = int32(s.kept[keep]) }, part{topic: "session", offset: end + 1})
	in("goes on", 1, nil)
	in("final, with a partition", -1, nil, part{topic: "session", offset: end})
	in("is gone at last", 2, nil)
	for _, s := range l.sites {
		s.kept["end"] = end + 1
	}
}
