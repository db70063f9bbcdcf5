// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync/atomic"
	"time"
)

// Stats are what the shards of one topic have done, and what they are.
type Stats struct {
	Active, Loading, Failed int

	EventsTotal        int64
	RecordsTotal       int64 // appended
	AppendsTotal       int64
	FailuresTotal      int64 // machines that were thrown away, loads that failed
	TimeoutsTotal      int64 // appends that were not committed in time
	RefusedTotal       int64 // requests beyond the limit
	Pending            int64 // requests that wait for their reply
	LoadsTotal         int64
	LoadedRecordsTotal int64
	LoadTimeTotal      time.Duration
	LoadTimeMax        time.Duration
}

type counters struct {
	events, records, appends, failures, timeouts, refused atomic.Int64
	pending                                               atomic.Int64
	loads, loadedRecords, loadTime, loadTimeMax           atomic.Int64
}

func (c *counters) loaded(took time.Duration, records int64) {
	c.loads.Add(1)
	c.loadedRecords.Add(records)
	c.loadTime.Add(int64(took))
	for most := c.loadTimeMax.Load(); int64(took) > most && !c.loadTimeMax.CompareAndSwap(most, int64(took)); most = c.loadTimeMax.Load() {
	}
}

// Stats reads the counters.
func (s *Shards[M, O]) Stats() Stats {
	c := &s.count
	st := Stats{
		EventsTotal: c.events.Load(), RecordsTotal: c.records.Load(), AppendsTotal: c.appends.Load(), FailuresTotal: c.failures.Load(),
		TimeoutsTotal: c.timeouts.Load(), RefusedTotal: c.refused.Load(), Pending: c.pending.Load(), LoadsTotal: c.loads.Load(),
		LoadedRecordsTotal: c.loadedRecords.Load(), LoadTimeTotal: time.Duration(c.loadTime.Load()), LoadTimeMax: time.Duration(c.loadTimeMax.Load()),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shards {
		switch State(sh.published.Load()) {
		case Active:
			st.Active++
		case Loading:
			st.Loading++
		case Failed:
			st.Failed++
		}
	}
	return st
}
