// SPDX-License-Identifier: Apache-2.0

package api

import "gregor/quota"

// A client that is beyond consumer_byte_rate or request_percentage gets an
// answer without partitions (KIP-219): it learns its wait, its session's state
// stays as it was, and the bytes that it did not get are not counted.
//
// A client counts as beyond its limit by what it got before. The answer that
// takes it there is sent, and is not much larger than what was left. Kafka holds
// that answer back, so that a batch which is larger than what the limit ever
// lets pass at once would never be sent.

// replicates reports whether a broker fetches, which no client's quota limits.
func (f *fetching) replicates() bool { return f.req.ReplicaID >= 0 && f.c.Conn.Listener.InterBroker }

// atOnceMax makes the limit of an answer one that the quota may let pass.
func (f *fetching) atOnceMax(bytesMax int) int {
	if f.replicates() {
		return bytesMax
	}
	if !f.s.quota.Limited(quota.Fetch) {
		return bytesMax
	}
	return int(min(f.s.quota.AtOnceMax(f.api.d.Quotas, quota.Fetch, f.api.d.Now()), float64(bytesMax)))
}

// hold charges the time that was spent, and reports whether the client gets
// nothing of what was found now.
func (f *fetching) hold() (held bool) {
	if f.replicates() {
		return false
	}
	waitMs, ofTimeMs := f.api.charge(f.c, quota.Fetch, 0), f.api.chargeTime(f.c)
	if f.held = waitMs > 0 || ofTimeMs > 0; f.held {
		f.drop()
		f.s.fetch.nodes = f.s.fetch.nodes[:0]
	}
	f.api.throttle(f.c, quota.Fetch, waitMs, ofTimeMs)
	return f.held
}

// charge counts an answer that was made.
func (f *fetching) charge() {
	if !f.held && !f.replicates() {
		f.api.charge(f.c, quota.Fetch, float64(f.c.Reply.Size()))
	}
}
