// SPDX-License-Identifier: Apache-2.0

package api

import "gregor/quota"

// A client that is beyond consumer_byte_rate or request_percentage gets an
// answer without partitions (KIP-219): it learns its wait, its session's state
// stays as it was, and the bytes that it did not get are not counted.
//
// An answer that is too large even for a client that got nothing lately, as a
// single batch may be, is sent together with the wait that follows from it.
// Kafka would never send it.

// replicates reports whether a broker fetches, which no client's quota limits.
func (f *fetching) replicates() bool { return f.req.ReplicaID >= 0 && f.c.Conn.Listener.InterBroker }

// atOnceMax makes the limit of an answer one that the quota may let pass.
func (f *fetching) atOnceMax(bytesMax int) int {
	if f.replicates() {
		return bytesMax
	}
	if most := f.s.quota.AtOnceMax(f.api.d.Quotas, quota.Fetch); most >= 0 && most < float64(bytesMax) {
		return int(most)
	}
	return bytesMax
}

// What an answer takes besides the records, about: by itself and for each
// partition.
const (
	answerBytes    = 40
	partitionBytes = 50
)

// hold looks at what was found and what was spent on it, and reports whether
// the client gets nothing of it now.
func (f *fetching) hold() (held bool) {
	if f.replicates() {
		return false
	}
	a, c := f.api, f.c
	ofTimeMs, waitMs := a.chargeTime(c), int32(0)
	if held = ofTimeMs > 0; f.s.quota.Limited(quota.Fetch) {
		now := a.d.Now()
		size := answerBytes + partitionBytes*len(f.s.fetch.results) + f.bytes
		var counted bool
		waitMs, counted = f.s.quota.Foresee(a.d.Quotas, quota.Fetch, float64(size), now)
		if held = held || waitMs > 0 && counted; held {
			// Time goes by, though nothing is counted.
			f.s.quota.Charge(a.d.Quotas, quota.Fetch, 0, now)
		}
	}
	if held {
		f.drop()
		f.s.fetch.nodes = f.s.fetch.nodes[:0]
	}
	f.held = held
	a.throttle(c, quota.Fetch, waitMs, ofTimeMs)
	return held
}

// charge counts an answer that was made.
func (f *fetching) charge() {
	if !f.held && !f.replicates() {
		f.api.charge(f.c, quota.Fetch, float64(f.c.Reply.Size()))
	}
}
