// SPDX-License-Identifier: Apache-2.0

package ops

var (
	shardStates   = gauge("kafka_server_group_coordinator_metrics_num_partitions", "Partitions of __consumer_offsets that this broker leads, by what their coordinator does.", "state")
	groupStates   = gauge("kafka_server_group_coordinator_metrics_group_count", "Groups that this broker coordinates.", "protocol", "state")
	groupMembers  = gauge("gregor_group_coordinator_members", "Members of these groups.", "protocol")
	groupOffsets  = gauge("gregor_group_coordinator_offsets", "Partitions with a committed offset, over all groups.")
	groupCommits  = counter("kafka_server_group_coordinator_metrics_offset_commit_count", "Committed offsets of partitions.")
	shardEvents   = counter("gregor_group_coordinator_events_total", "Requests that groups have worked on.")
	shardRecords  = counter("gregor_group_coordinator_records_total", "Records that they have given.")
	shardAppends  = counter("gregor_group_coordinator_appends_total", "Writes that these took.")
	shardPending  = gauge("gregor_group_coordinator_pending_replies", "Requests that wait for their reply: in a rebalance, or for a commit.")
	shardRefused  = counter("gregor_group_coordinator_refused_total", "Requests beyond gregor.group.coordinator.pending.max.")
	shardTimeouts = counter("gregor_group_coordinator_timeouts_total", "Writes that were not committed within offsets.commit.timeout.ms.")
	shardFailures = counter("gregor_group_coordinator_failures_total", "Writes and loads that failed; the partition is loaded again.")
	shardLoads    = counter("gregor_group_coordinator_loads_total", "Partitions that were loaded.")
	shardLoaded   = counter("gregor_group_coordinator_loaded_records_total", "Records that were loaded.")
	shardLoadTime = counter("gregor_group_coordinator_load_seconds_total", "Time that loads took.")
	shardLoadMax  = gauge("gregor_group_coordinator_load_seconds_max", "Time that the longest load took.")

	coordinatorGroup = group{"Group coordinator", []*metric{shardStates, groupStates, groupMembers, groupOffsets, groupCommits, shardEvents, shardRecords, shardAppends, shardPending, shardRefused, shardTimeouts,
		shardFailures, shardLoads, shardLoaded, shardLoadTime, shardLoadMax}, func(e *emitter, c *collector) {
		if c.sources.Groups == nil {
			return
		}
		s := c.sources.Groups()
		e.count(shardStates, int64(s.Active), "active")
		e.count(shardStates, int64(s.Loading), "loading")
		e.count(shardStates, int64(s.Failed), "failed")
		counts := c.sources.GroupCounts()
		for of, n := range counts.Groups {
			e.count(groupStates, int64(n), string(of.Kind), of.State)
		}
		for kind, n := range counts.Members {
			e.count(groupMembers, int64(n), string(kind))
		}
		e.count(groupOffsets, int64(counts.Offsets))
		e.count(groupCommits, c.sources.Requests().OffsetsCommittedTotal)
		e.count(shardEvents, s.EventsTotal)
		e.count(shardRecords, s.RecordsTotal)
		e.count(shardAppends, s.AppendsTotal)
		e.count(shardPending, s.Pending)
		e.count(shardRefused, s.RefusedTotal)
		e.count(shardTimeouts, s.TimeoutsTotal)
		e.count(shardFailures, s.FailuresTotal)
		e.count(shardLoads, s.LoadsTotal)
		e.count(shardLoaded, s.LoadedRecordsTotal)
		e.put(shardLoadTime, s.LoadTimeTotal.Seconds())
		e.put(shardLoadMax, s.LoadTimeMax.Seconds())
	}}
)
