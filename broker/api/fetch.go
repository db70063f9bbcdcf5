// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"time"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/broker/fetchsession"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/wire/fetch"
	"gregor/wire/frame"
	"gregor/wire/reply"
)

// Fetch, versions 4 to 18. A request is one of three kinds:
//
//	epoch -1    no session. All partitions are answered. The connection keeps
//	            their cursors for the next request of this kind.
//	epoch 0     as above, and the partitions become a session if there is a slot
//	epoch n     what changed in the session; what is new is answered
//
// The records stay in their files: the reply holds ranges. When there are fewer
// bytes than the client wants, the connection's goroutine waits until a
// partition moves or the client's time is up.

// fetchState is what a connection keeps for its Fetch requests.
type fetchState struct {
	request fetch.Request
	own     *fetchsession.Session // of requests without a session
	results []fetched
	nodes   []frame.NodeEndpoint
	timer   *time.Timer
}

// reset lets go of the frame, of sources that a panic left behind, and of what
// an uncommonly large request took.
func (f *fetchState) reset() {
	for i := range f.results {
		if src := f.results[i].file.Src; src != nil {
			src.Release()
		}
	}
	clear(f.results)
	f.results = f.results[:0]
	if f.request.Reset(); cap(f.results) > keepMax {
		f.results, f.request = nil, fetch.Request{}
	}
	if f.own != nil && f.own.Len() > keepMax {
		f.own.Close()
		f.own = nil
	}
}

// close leaves the park lists of the connection's own partitions.
func (f *fetchState) close() {
	if f.own != nil {
		f.own.Close()
	}
}

// fetched is the answer for one partition.
type fetched struct {
	part   *fetchsession.Partition
	header fetch.PartitionHeader
	file   reply.FileRange
}

// fetching is one Fetch request at work.
type fetching struct {
	api      *API
	c        *call.Call
	s        *state
	req      *fetch.Request
	session  *fetchsession.Session
	full     bool // all partitions are answered
	bound    commitlog.Bound
	left     int // bytes that may still be answered
	bytes    int // that were found
	urgent   bool
	patience patience // of the pass
}

func (a *API) handleFetch(c *call.Call) call.Outcome {
	s := stateOf(c)
	req := &s.fetch.request
	err := fetch.Parse(c.Body, c.Version, fetch.Limits{TopicsMax: a.limits.elementsMax, PartitionsMax: a.limits.elementsMax}, req)
	if err != nil {
		return a.close(c, fmt.Errorf("Fetch v%d: %w", c.Version, err))
	}
	defer s.fetch.reset()
	f := fetching{api: a, c: c, s: s, req: req, bound: commitlog.ToHighWatermark}
	if req.Isolation == fetch.ReadCommitted {
		f.bound = commitlog.ToLastStable
	}
	switch req.SessionEpoch {
	case fetch.EpochFinal:
		return f.sessionless()
	case fetch.EpochInitial:
		return f.opening()
	}
	return f.incremental()
}

// sessionless answers a request that wants no session, and ends the one that
// it names.
func (f *fetching) sessionless() call.Outcome {
	if f.req.SessionID != fetch.NoSessionID {
		f.api.d.Sessions.Remove(f.req.SessionID)
	}
	if f.s.fetch.own == nil {
		f.s.fetch.own = fetchsession.New(f.usesIDs())
	}
	f.session, f.full = f.s.fetch.own, true
	f.replaceAll()
	f.run()
	f.write(kafka.None, fetch.NoSessionID)
	return call.Done
}

// opening answers a full request and makes a session of it.
func (f *fetching) opening() call.Outcome {
	if f.req.SessionID != fetch.NoSessionID {
		f.api.d.Sessions.Remove(f.req.SessionID)
	}
	f.session, f.full = fetchsession.New(f.usesIDs()), true
	f.merge()
	f.run()
	id := fetch.NoSessionID
	if f.session.Len() > 0 {
		id = f.api.d.Sessions.Add(f.session, f.req.ReplicaID >= 0)
	}
	f.write(kafka.None, id)
	if id == fetch.NoSessionID {
		f.session.Close()
	} else {
		f.rest()
		f.api.d.Sessions.Release(f.session)
	}
	return call.Done
}

// incremental answers what is new in a session.
func (f *fetching) incremental() call.Outcome {
	sessions := f.api.d.Sessions
	session, code := sessions.Acquire(f.req.SessionID, f.req.SessionEpoch, f.usesIDs())
	if code != kafka.None {
		f.write(code, fetch.NoSessionID)
		return call.Done
	}
	defer sessions.Release(session)
	f.session = session
	f.merge()
	switch {
	case session.Len() == 0:
		// Nothing is left of it: it gives its slot free.
		sessions.Remove(f.req.SessionID)
		f.write(kafka.None, fetch.NoSessionID)
		return call.Done
	case !sessions.Fits(session):
		// The client goes on with a full fetch, and without a session.
		sessions.Remove(f.req.SessionID)
		f.write(kafka.FetchSessionIDNotFound, fetch.NoSessionID)
		return call.Done
	}
	f.run()
	f.write(kafka.None, f.req.SessionID)
	f.rest()
	return call.Done
}

func (f *fetching) usesIDs() bool { return f.c.Version >= 13 }

// merge takes the request's partitions into the session.
func (f *fetching) merge() {
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			f.session.Want(f.wanted(t, &t.Partitions[j]))
		}
	}
	for i := range f.req.Forgotten {
		t := &f.req.Forgotten[i]
		for _, p := range t.Partitions {
			f.session.Forget(f.key(t.Name, t.ID, p))
		}
	}
}

// replaceAll makes the connection's own set what the request names. Cursors of
// partitions that were in the last request stay.
func (f *fetching) replaceAll() {
	f.session.Restart(f.usesIDs())
	f.merge()
	f.session.Retain()
}

func (f *fetching) key(name []byte, id kafka.TopicID, p kafka.PartitionID) fetchsession.Key {
	if f.usesIDs() {
		return fetchsession.Key{ID: id, Partition: p}
	}
	return fetchsession.Key{Name: f.s.intern(name), Partition: p}
}

func (f *fetching) wanted(t *fetch.Topic, p *fetch.Partition) fetchsession.Partition {
	return fetchsession.Partition{Key: f.key(t.Name, t.ID, p.Index), FetchOffset: p.FetchOffset,
		LeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch, BytesMax: p.MaxBytes}
}

// run reads, and waits as long as there is too little to answer.
func (f *fetching) run() {
	bytesMax := min(max(int(f.req.MaxBytes), 0), f.api.limits.fetchBytesMax)
	bytesMin := min(int(f.req.MinBytes), bytesMax)
	wait := time.Duration(f.req.MaxWaitMs) * time.Millisecond
	f.session.Woken()
	f.pass(bytesMax)
	if f.enough(bytesMin) || wait <= 0 || f.session.Len() == 0 {
		return
	}
	f.api.count.fetchParked.Add(1)
	timer := f.timer(wait)
	defer timer.Stop()
	for {
		if f.idle() {
			select {
			case <-f.session.C():
				f.session.Woken()
			case <-timer.C:
				wait = 0
			case <-f.c.Conn.Closed:
				wait = 0
			}
		}
		f.drop()
		f.pass(bytesMax)
		if f.enough(bytesMin) || wait <= 0 || f.session.Kicked() {
			return
		}
	}
}

func (f *fetching) enough(bytesMin int) bool { return f.urgent || f.bytes >= bytesMin }

func (f *fetching) timer(wait time.Duration) *time.Timer {
	if f.s.fetch.timer == nil {
		f.s.fetch.timer = time.NewTimer(wait)
	} else {
		f.s.fetch.timer.Reset(wait)
	}
	return f.s.fetch.timer
}

// idle arms all partitions, those with too few bytes at their next ones, and
// reports whether it is worth waiting: none has moved meanwhile.
func (f *fetching) idle() bool {
	still := true
	f.session.Looking(func(p *fetchsession.Partition) bool {
		if !f.arm(p) {
			still = false
		}
		return still
	})
	return still
}

// rest arms what is idle, so that the next request of the session hears of it.
// What has more to read, or failed, stays to be looked at.
func (f *fetching) rest() {
	f.session.Looking(func(p *fetchsession.Partition) bool {
		if p.Quiet && f.arm(p) {
			f.session.Rest(p)
		}
		return true
	})
}

// arm waits for what lies behind the bound now, or behind the fetch offset.
func (f *fetching) arm(p *fetchsession.Partition) bool {
	if p.Replica == nil {
		return false
	}
	return f.session.Arm(p, f.bound, max(p.FetchOffset, p.SeenBound)+1)
}

// drop forgets what a pass has found.
func (f *fetching) drop() {
	for i := range f.s.fetch.results {
		if src := f.s.fetch.results[i].file.Src; src != nil {
			src.Release()
		}
	}
	f.clear()
}

func (f *fetching) clear() {
	clear(f.s.fetch.results)
	f.s.fetch.results = f.s.fetch.results[:0]
	f.bytes, f.urgent = 0, false
}

// pass reads what is to be looked at, or everything for a full answer.
func (f *fetching) pass(bytesMax int) {
	f.left, f.patience = bytesMax, patience{}
	f.s.fetch.nodes = f.s.fetch.nodes[:0]
	f.clear()
	if f.full {
		f.session.All(func(p *fetchsession.Partition) bool { f.read(p); return true })
		return
	}
	f.session.Looking(func(p *fetchsession.Partition) bool {
		if f.left <= 0 && f.bytes > 0 {
			return false // its turn comes first next time
		}
		f.read(p)
		return true
	})
}

// read reads one partition and adds its answer to the results.
func (f *fetching) read(p *fetchsession.Partition) {
	p.Quiet = false
	got, err := f.readLog(p)
	r := fetched{part: p}
	switch {
	case err != nil:
		f.failed(p, &r, err)
	default:
		t := &got.Tail
		r.header = fetch.PartitionHeader{Index: p.Partition, HighWatermark: t.HighWatermark, LastStableOffset: t.LastStable,
			LogStartOffset: t.LogStart, PreferredReadReplica: kafka.NoNode, HasAborted: f.bound == commitlog.ToLastStable}
		p.SeenBound = t.HighWatermark
		if f.bound == commitlog.ToLastStable {
			p.SeenBound = t.LastStable
		}
		for _, txn := range got.Aborted {
			r.header.Aborted = append(r.header.Aborted, fetch.AbortedTransaction{ProducerID: txn.ProducerID, FirstOffset: txn.FirstOffset})
		}
		if got.Diverging {
			r.header.HasDiverging = true
			r.header.Diverging = fetch.EpochEnd{Epoch: got.Divergence.Epoch, EndOffset: got.Divergence.End}
			f.urgent = true
		}
		r.file = got.File
		p.Quiet = r.file.LenBytes == 0 && !got.Diverging && p.FetchOffset >= p.SeenBound
		f.bytes += r.file.LenBytes
		f.left -= r.file.LenBytes
	}
	f.s.fetch.results = append(f.s.fetch.results, r)
}

// readLog finds the partition's replica and reads it.
func (f *fetching) readLog(p *fetchsession.Partition) (replica.Fetched, error) {
	if f.req.ReplicaID >= 0 {
		if !f.c.Conn.Listener.InterBroker {
			return replica.Fetched{}, kafka.TopicAuthorizationFailed
		}
		return replica.Fetched{}, kafka.NotLeaderForPartition // it is no replica of ours
	}
	if p.Replica != nil && p.Replica.Status().Role != replica.Gone {
		f.api.settle(p.Replica, &f.patience)
	} else if err := f.find(p); err != nil {
		return replica.Fetched{}, err
	}
	if rules := p.Replica.Rules(); f.c.Version < 10 && rules.StoresZstd() {
		return replica.Fetched{}, kafka.UnsupportedCompressionType
	}
	return p.Replica.Read(&p.Cursor, &replica.Fetch{
		Offset: p.FetchOffset, LeaderEpoch: p.LeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
		BytesMax: min(int(p.BytesMax), max(f.left, 0)), OneBatchAtLeast: f.bytes == 0,
		Bound: f.bound, LeaderOnly: f.c.Version < 11,
	})
}

// find looks the partition up by the metadata.
func (f *fetching) find(p *fetchsession.Partition) error {
	f.session.Unfound(p)
	img := f.api.image()
	topic, missing := img.Topic(p.Name), error(kafka.UnknownTopicOrPartition)
	if f.usesIDs() {
		topic, missing = img.TopicByID(p.ID), kafka.UnknownTopicID
	}
	if topic == nil {
		return missing
	}
	r, err := f.api.partition(topic, p.Partition, &f.patience)
	p.Replica, p.Cursor = r, commitlog.Cursor{}
	return err
}

// failed makes an error the answer for a partition.
func (f *fetching) failed(p *fetchsession.Partition, r *fetched, err error) {
	f.urgent = true
	code := f.api.code(f.c, err)
	if code == kafka.KafkaStorageError && f.c.Version <= 5 {
		code = kafka.NotLeaderForPartition
	}
	r.header = fetch.Failed(p.Partition, code)
	if f.c.Version < 16 || code != kafka.NotLeaderForPartition && code != kafka.FencedLeaderEpoch {
		return
	}
	id := p.ID
	node, epoch, at, known := f.api.leader(f.c.Conn.Listener.Name, id, p.Partition)
	r.header.HasCurrentLeader, r.header.CurrentLeader, r.header.CurrentEpoch = true, node, epoch
	if known {
		f.s.fetch.nodes = addEndpoint(f.s.fetch.nodes, at)
	}
}

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
			c.Reply.AddFile(r.file)
			r.file = reply.FileRange{}
			e.EndPartition(&r.header)
			i++
		}
		e.EndTopic()
	}
	e.End(f.s.fetch.nodes)
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
