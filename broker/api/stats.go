// SPDX-License-Identifier: Apache-2.0

package api

import "sync/atomic"

// counters are Stats as they are counted.
type counters struct {
	requests        [keysMax]atomic.Int64
	times           [keysMax]times
	closed          atomic.Int64
	unknown         atomic.Int64
	producedRecords atomic.Int64
	duplicates      atomic.Int64
	producedBytes   atomic.Int64
	producedFailed  atomic.Int64
	fetchedBytes    atomic.Int64
	fetchParked     atomic.Int64
	autoCreated     atomic.Int64
	offsets         atomic.Int64
}

// Stats are the counters of an API.
type Stats struct {
	Requests               map[string]int64 // by API name
	Times                  map[string]Times // by API name, of those that were asked
	ClosedTotal            int64            // connections closed for a request
	UnknownErrorsTotal     int64            // UNKNOWN_SERVER_ERROR: bugs
	ProducedRecordsTotal   int64            // of appended batches
	ProduceDuplicatesTotal int64            // batches that were there already
	ProducedBytesTotal     int64            // of appended batches
	ProduceFailuresTotal   int64            // partitions of Produce requests with an error
	FetchedBytesTotal      int64
	FetchesParkedTotal     int64 // long polls that had to wait
	AutoCreatedTotal       int64 // topics asked of the controller on a client's first sight
	OffsetsCommittedTotal  int64 // of partitions
}

// Stats reads the counters.
func (a *API) Stats() Stats {
	s := Stats{
		Requests: make(map[string]int64), Times: make(map[string]Times), ClosedTotal: a.count.closed.Load(), UnknownErrorsTotal: a.count.unknown.Load(),
		ProducedRecordsTotal: a.count.producedRecords.Load(), ProduceDuplicatesTotal: a.count.duplicates.Load(),
		ProducedBytesTotal: a.count.producedBytes.Load(), ProduceFailuresTotal: a.count.producedFailed.Load(),
		FetchedBytesTotal: a.count.fetchedBytes.Load(), FetchesParkedTotal: a.count.fetchParked.Load(),
		AutoCreatedTotal: a.count.autoCreated.Load(), OffsetsCommittedTotal: a.count.offsets.Load(),
	}
	for i := range a.rows {
		r := &a.rows[i]
		s.Requests[r.name] = a.count.requests[r.key].Load()
		if t := a.count.times[r.key].stats(); t.Count > 0 {
			s.Times[r.name] = t
		}
	}
	return s
}
