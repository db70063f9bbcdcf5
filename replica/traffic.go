// SPDX-License-Identifier: Apache-2.0

package replica

import "sync/atomic"

// Traffic is what clients have moved in and out of one topic since its first
// partition came to this broker. All its partitions share it; the counters of a
// topic that nobody uses cost nothing but their memory.
type Traffic struct {
	table *Table
	// order is the place among the topics in which traffic began; 0: it has not.
	order atomic.Int64

	messagesIn, bytesIn, bytesOut                     atomic.Int64
	produces, fetches, produceFailures, fetchFailures atomic.Int64
}

// TrafficStats are the counters of a Traffic. Requests are counted for each
// partition that they name, as Kafka does.
type TrafficStats struct {
	Order                                         int64
	MessagesInTotal, BytesInTotal, BytesOutTotal  int64
	ProduceRequestsTotal, ProduceFailuresTotal    int64
	FetchRequestsTotal, FetchRequestFailuresTotal int64
}

// Traffic is that of the partition's topic. Only partitions in a Table have one.
func (p *Partition) Traffic() *Traffic { return p.traffic }

func (t *Traffic) begin() {
	if t.order.Load() == 0 {
		t.order.CompareAndSwap(0, t.table.trafficBegan.Add(1))
	}
}

// Produced counts a batch that was appended for a client.
func (t *Traffic) Produced(records, bytes int64) {
	t.begin()
	t.produces.Add(1)
	t.messagesIn.Add(records)
	t.bytesIn.Add(bytes)
}

// ProduceFailed counts a batch that was not.
func (t *Traffic) ProduceFailed() {
	t.begin()
	t.produces.Add(1)
	t.produceFailures.Add(1)
}

// Fetched counts a read for a client.
func (t *Traffic) Fetched() {
	t.begin()
	t.fetches.Add(1)
}

// Sent counts what a client was sent of what was read.
func (t *Traffic) Sent(bytes int64) { t.bytesOut.Add(bytes) }

// FetchFailed counts a read that failed.
func (t *Traffic) FetchFailed() {
	t.begin()
	t.fetches.Add(1)
	t.fetchFailures.Add(1)
}

// Stats reads the counters.
func (t *Traffic) Stats() TrafficStats {
	return TrafficStats{
		Order: t.order.Load(), MessagesInTotal: t.messagesIn.Load(), BytesInTotal: t.bytesIn.Load(), BytesOutTotal: t.bytesOut.Load(),
		ProduceRequestsTotal: t.produces.Load(), ProduceFailuresTotal: t.produceFailures.Load(),
		FetchRequestsTotal: t.fetches.Load(), FetchRequestFailuresTotal: t.fetchFailures.Load(),
	}
}

// Topics calls f for every topic that has had traffic here, in no order, until it
// returns false.
func (t *Table) Topics(f func(name string, traffic *Traffic) bool) {
	t.topics.Range(func(_, v any) bool {
		own := v.(*topic)
		return own.traffic.order.Load() == 0 || f(own.name, own.traffic)
	})
}
