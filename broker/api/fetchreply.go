// SPDX-License-Identifier: Apache-2.0

package api

import (
	"gregor/base/kafka"
	"gregor/broker/fetchsession"
	"gregor/wire/fetch"
	"gregor/wire/reply"
)

// write makes the reply of what was found.
func (f *fetching) write(code kafka.Code, sessionID int32) {
	f.tell()
	results := f.s.fetch.results
	c := f.c
	c.Reply.Begin(c.CorrelationID, c.Version >= fetch.FlexibleFrom)
	topics := 0
	for i := range results {
		if i == 0 || !sameTopic(results[i-1].part, results[i].part) {
			topics++
		}
	}
	var e fetch.Encoder
	e.Begin(c.Reply.Appender(), c.Version, c.ThrottleMs, code, sessionID, topics)
	for i := 0; i < len(results); {
		n := 1
		for i+n < len(results) && sameTopic(results[i].part, results[i+n].part) {
			n++
		}
		e.Topic(results[i].part.NameBytes, results[i].part.ID, n)
		for ; n > 0; n-- {
			r := &results[i]
			e.Partition(&r.header, r.file.LenBytes)
			if r.file.LenBytes > 0 {
				r.part.Replica.Traffic().Sent(int64(r.file.LenBytes))
			}
			c.Reply.AddFile(r.file)
			r.file = reply.FileRange{}
			e.EndPartition(&r.header)
			i++
		}
		e.EndTopic()
	}
	e.End(f.s.fetch.nodes)
	f.charge()
	f.api.count.fetchedBytes.Add(int64(f.bytes))
	f.clear()
}

// tell notes what the client learns, and leaves out of an incremental answer
// what is no news.
func (f *fetching) tell() {
	kept := f.s.fetch.results[:0]
	for _, r := range f.s.fetch.results {
		news := f.session.Tell(r.part, fetchsession.News{
			HasRecords: r.file.LenBytes > 0, Failed: r.header.Code != kafka.None, Notable: r.header.HasDiverging,
			HighWatermark: r.header.HighWatermark, LogStart: r.header.LogStartOffset,
		})
		if f.full || news {
			kept = append(kept, r)
		}
	}
	clear(f.s.fetch.results[len(kept):])
	f.s.fetch.results = kept
}

func sameTopic(a, b *fetchsession.Partition) bool { return a.ID == b.ID && a.Name == b.Name }
