// SPDX-License-Identifier: Apache-2.0

package ops

import "time"

var (
	activeController  = gauge("kafka_controller_kafkacontroller_activecontrollercount", "1 on the active controller, else 0; the sum over a cluster is 1.")
	activeBrokers     = gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced.")
	fencedBrokers     = gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are registered and fenced.")
	globalTopics      = gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.")
	globalPartitions  = gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.")
	offlinePartitions = gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.")
	metadataErrors    = counter("kafka_controller_kafkacontroller_metadataerrorcount", "Records of the metadata log that could not be applied.")
	timedOut          = counter("kafka_controller_kafkacontroller_timedoutbrokerheartbeatcount", "Brokers fenced because their heartbeats stopped.")
	controllerEvents  = counter("gregor_controller_events_total", "Requests and timers that the controller worked off.")
	inFlight          = gauge("gregor_controller_proposals_in_flight", "Proposals that are not committed yet.")

	controllerGroup = group{"Controller", []*metric{activeController, activeBrokers, fencedBrokers, globalTopics, globalPartitions, offlinePartitions,
		metadataErrors, timedOut, controllerEvents, inFlight}, func(e *emitter, c *collector) {
		if c.sources.Controller == nil {
			return
		}
		s := c.sources.Controller()
		e.flag(activeController, s.Active)
		e.count(activeBrokers, s.Brokers)
		e.count(fencedBrokers, s.FencedBrokers)
		e.count(globalTopics, s.Topics)
		e.count(globalPartitions, s.Partitions)
		e.count(offlinePartitions, s.OfflinePartitions)
		e.count(metadataErrors, s.MetadataErrors)
		e.count(timedOut, s.TimedOutTotal)
		e.count(controllerEvents, s.EventsTotal)
		e.count(inFlight, s.InFlight)
	}}
)

var (
	appliedOffset    = gauge("kafka_server_broker_metadata_metrics_last_applied_record_offset", "Last record of the metadata log that this node's image holds.")
	appliedEpoch     = gauge("gregor_metadata_applied_epoch", "Epoch of that record.")
	appliedAge       = gauge("kafka_server_broker_metadata_metrics_last_applied_record_lag_ms", "Milliseconds since that record was written; absent while there is none.")
	checkpointOffset = gauge("gregor_metadata_checkpoint_end_offset", "End offset of the newest checkpoint; absent while there is none.")
	checkpointBytes  = gauge("gregor_metadata_checkpoint_bytes", "Size of the newest checkpoint.")

	metadataGroup = group{"Metadata", []*metric{appliedOffset, appliedEpoch, appliedAge, checkpointOffset, checkpointBytes}, func(e *emitter, c *collector) {
		if c.sources.Metadata == nil {
			return
		}
		m := c.sources.Metadata()
		e.count(appliedOffset, m.AppliedOffset)
		e.count(appliedEpoch, m.AppliedEpoch)
		if m.AppliedAgeMs >= 0 {
			e.count(appliedAge, m.AppliedAgeMs)
		}
		if m.CheckpointOffset >= 0 {
			e.count(checkpointOffset, m.CheckpointOffset)
			e.count(checkpointBytes, m.CheckpointBytes)
		}
	}}
)

var (
	raftLeader  = gauge("kafka_server_raft_metrics_current_leader", "Node id of the quorum's leader; -1 when there is none.")
	raftVote    = gauge("kafka_server_raft_metrics_current_vote", "Node id that this voter gave its vote in this epoch; -1 when none.")
	raftEpoch   = gauge("kafka_server_raft_metrics_current_epoch", "Epoch of the quorum, which is raft's term.")
	raftCommit  = gauge("kafka_server_raft_metrics_high_watermark", "High watermark of the metadata log, which is raft's commit index.")
	raftEnd     = gauge("kafka_server_raft_metrics_log_end_offset", "End of the metadata log on this node.")
	raftLeading = gauge("gregor_raft_leading", "1 while this node leads the quorum.")
	raftSyncs   = counter("gregor_raft_syncs_total", "Times the metadata log was made durable.")
	raftSync    = counter("gregor_raft_sync_seconds_total", "Time that took.")

	raftGroup = group{"Metadata quorum", []*metric{raftLeader, raftVote, raftEpoch, raftCommit, raftEnd, raftLeading, raftSyncs, raftSync}, func(e *emitter, c *collector) {
		if c.sources.Raft == nil {
			return
		}
		r := c.sources.Raft()
		e.count(raftLeader, r.Leader)
		e.count(raftVote, r.Vote)
		e.count(raftEpoch, r.Epoch)
		e.count(raftCommit, r.HighWatermark)
		e.count(raftEnd, r.LogEnd)
		e.flag(raftLeading, r.Leading)
		e.count(raftSyncs, r.SyncsTotal)
		e.put(raftSync, time.Duration(r.SyncNanos).Seconds())
	}}
)

var (
	filesOpen      = gauge("gregor_segment_files_open", "Segment and index files that are open, of gregor.open.files.max.")
	filesOpened    = counter("gregor_segment_files_opened_total", "Times one was opened.")
	filesEvictions = counter("gregor_segment_files_evicted_total", "Times one was closed to make room.")

	fileGroup = group{"Files", []*metric{filesOpen, filesOpened, filesEvictions}, func(e *emitter, c *collector) {
		if c.sources.Files == nil {
			return
		}
		f := c.sources.Files()
		e.count(filesOpen, int64(f.Open))
		e.count(filesOpened, f.Opens)
		e.count(filesEvictions, f.Evictions)
	}}
)

var (
	directoriesOffline = gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.")
	directoryOnline    = gauge("gregor_log_directory_online", "1 while the directory is used, 0 after it failed.", "directory")
	directoryLogs      = gauge("gregor_log_directory_logs", "Partitions in the directory.", "directory")
	directoryTotal     = gauge("gregor_log_directory_total_bytes", "Size of its file system.", "directory")
	directoryFree      = gauge("gregor_log_directory_free_bytes", "Room left on its file system.", "directory")
	directoryDirty     = gauge("gregor_log_directory_dirty_bytes", "Bytes written since the last recovery point.", "directory")
	directorySyncs     = counter("gregor_log_directory_syncs_total", "Times the directory was made durable as a whole.", "directory")
	directorySync      = counter("gregor_log_directory_sync_seconds_total", "Time that took.", "directory")

	directoryGroup = group{"Log directories", []*metric{directoriesOffline, directoryOnline, directoryLogs, directoryTotal, directoryFree, directoryDirty,
		directorySyncs, directorySync}, func(e *emitter, c *collector) {
		if c.sources.Directories == nil {
			return
		}
		var failed int64
		for _, d := range c.sources.Directories() {
			if !d.Online {
				failed++
			}
			e.flag(directoryOnline, d.Online, d.Path)
			e.count(directoryLogs, d.Logs, d.Path)
			e.count(directoryTotal, d.TotalBytes, d.Path)
			e.count(directoryFree, d.FreeBytes, d.Path)
			e.count(directoryDirty, d.DirtyBytes, d.Path)
			e.count(directorySyncs, d.SyncsTotal, d.Path)
			e.put(directorySync, time.Duration(d.SyncNanos).Seconds(), d.Path)
		}
		e.count(directoriesOffline, failed)
	}}
)
