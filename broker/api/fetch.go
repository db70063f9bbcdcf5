// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"time"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/broker/fetchsession"
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
	breath  *time.Timer
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
	held     bool     // by a quota
	missing  int      // partitions that are not there
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
	f.hold()
	f.write(kafka.None, fetch.NoSessionID)
	return call.Done
}

// opening answers a full request and makes a session of it.
func (f *fetching) opening() call.Outcome {
	if f.req.SessionID != fetch.NoSessionID {
		f.api.d.Sessions.Remove(f.req.SessionID)
	}
	f.session, f.full = fetchsession.New(f.usesIDs()), true
	id := fetch.NoSessionID
	defer func() { // also after a panic
		if id == fetch.NoSessionID {
			f.session.Close()
		} else {
			f.api.d.Sessions.Release(f.session)
		}
	}()
	f.merge()
	f.run()
	if held := f.hold(); !held && f.session.Len() > 0 {
		id = f.api.d.Sessions.Add(f.session, f.req.ReplicaID >= 0)
	}
	f.write(kafka.None, id)
	if id != fetch.NoSessionID {
		f.rest()
	}
	return call.Done
}

// incremental answers what is new in a session.
func (f *fetching) incremental() call.Outcome {
	sessions := f.api.d.Sessions
	session, code := sessions.Acquire(f.req.SessionID, f.req.SessionEpoch, f.usesIDs())
	if code != kafka.None {
		f.hold()
		f.write(code, fetch.NoSessionID)
		return call.Done
	}
	defer sessions.Release(session)
	f.session = session
	f.merge()
	f.forget()
	switch {
	case session.Len() == 0:
		// Nothing is left of it: it gives its slot free.
		sessions.Remove(f.req.SessionID)
		f.hold()
		f.write(kafka.None, fetch.NoSessionID)
		return call.Done
	case !sessions.Fits(session):
		// The client goes on with a full fetch, and without a session.
		sessions.Remove(f.req.SessionID)
		f.hold()
		f.write(kafka.FetchSessionIDNotFound, fetch.NoSessionID)
		return call.Done
	}
	f.run()
	held := f.hold()
	f.write(kafka.None, f.req.SessionID)
	if !held { // else nothing was told of what is new, and all is to be looked at again
		f.rest()
	}
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
}

// forget takes partitions out of a session. A full request forgets nothing,
// whatever it says.
func (f *fetching) forget() {
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
	return fetchsession.Key{Name: f.s.intern(f.api.image(), name), Partition: p}
}

func (f *fetching) wanted(t *fetch.Topic, p *fetch.Partition) fetchsession.Partition {
	return fetchsession.Partition{Key: f.key(t.Name, t.ID, p.Index), FetchOffset: p.FetchOffset,
		LeaderEpoch: max(p.CurrentLeaderEpoch, kafka.NoLeaderEpoch), LastFetchedEpoch: max(p.LastFetchedEpoch, kafka.NoLeaderEpoch), BytesMax: p.MaxBytes}
}

// run reads, and waits as long as there is too little to answer.
func (f *fetching) run() {
	bytesMax := f.atOnceMax(min(max(int(f.req.MaxBytes), 0), f.api.limits.fetchBytesMax))
	bytesMin := min(int(f.req.MinBytes), bytesMax)
	// Nobody notices meanwhile that the client is gone.
	wait := min(time.Duration(f.req.MaxWaitMs)*time.Millisecond, f.api.limits.timeoutMax)
	f.session.Reads(f.bound)
	f.session.Woken()
	f.pass(bytesMax)
	if f.enough(bytesMin) || wait <= 0 {
		return
	}
	f.api.count.fetchParked.Add(1)
	timer := f.timer(wait)
	defer timer.Stop()
	for {
		if wait > 0 && f.idle() {
			slept := f.s.waits()
			select {
			case <-f.session.C():
				f.session.Woken()
			case <-timer.C:
				wait = 0
			case <-f.c.Conn.Closed:
				wait = 0
			}
			f.s.goesOn(slept)
		}
		f.drop()
		began := f.api.d.Now()
		f.pass(bytesMax)
		if f.enough(bytesMin) || wait <= 0 || f.session.Kicked() {
			return
		}
		if !f.breathe(breath(f.api.d.Now().Sub(began)), timer) {
			wait = 0
		}
	}
}

// breath is how long a fetch that found too little lets partitions move before
// it looks again. Many small appends would make it look at all partitions after
// each one; so it spends a ninth of its time on looking.
func breath(pass time.Duration) time.Duration {
	const worthwhile, most = 50 * time.Microsecond, 20 * time.Millisecond
	if d := 8 * pass; d >= worthwhile {
		return min(d, most)
	}
	return 0
}

// breathe waits for d, and is false if the client's time is up meanwhile.
func (f *fetching) breathe(d time.Duration, deadline *time.Timer) bool {
	if d <= 0 {
		return true
	}
	if f.s.fetch.breath == nil {
		f.s.fetch.breath = time.NewTimer(d)
	} else {
		f.s.fetch.breath.Reset(d)
	}
	defer f.s.fetch.breath.Stop()
	slept := f.s.waits()
	defer f.s.goesOn(slept)
	select {
	case <-f.s.fetch.breath.C:
		return true
	case <-deadline.C:
	case <-f.c.Conn.Closed:
	}
	return false
}

// enough reports whether the answer may leave. A partition that is not there
// does not hurry it, unless there is no other: a consumer of a topic that was
// deleted would ask again and again.
func (f *fetching) enough(bytesMin int) bool {
	return f.urgent || f.bytes >= bytesMin || f.missing == f.session.Len()
}

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
		return true // it is not there, and nothing will tell when it is
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
	f.bytes, f.urgent, f.missing = 0, false, 0
}
