// SPDX-License-Identifier: Apache-2.0

package ops

var (
	partitions = gauge("kafka_server_replicamanager_partitioncount", "Partitions on this broker.")
	offline    = gauge("kafka_server_replicamanager_offlinereplicacount", "Partitions on this broker that could not be opened or failed.")

	replicaGroup = group{"Replicas", []*metric{partitions, offline}, func(e *emitter, c *collector) {
		if c.sources.Partitions == nil {
			return
		}
		all, broken := partitionCounts(c.sources.Partitions)
		e.count(partitions, all)
		e.count(offline, broken)
	}}
)

var (
	leaders           = gauge("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.")
	underReplicated   = gauge("kafka_server_replicamanager_underreplicatedpartitions", "Of those, partitions with a replica out of the ISR.")
	activeBrokers     = gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced.")
	fencedBrokers     = gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are registered and fenced.")
	globalTopics      = gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.")
	globalPartitions  = gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.")
	offlinePartitions = gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions of the cluster without a leader.")
	appliedOffset     = gauge("kafka_server_broker_metadata_metrics_last_applied_record_offset", "Last record of the metadata log that this node acts on.")
	appliedEpoch      = gauge("gregor_metadata_applied_epoch", "Epoch of that record.")

	clusterGroup = group{"Cluster, as this node's image has it", []*metric{leaders, underReplicated, activeBrokers, fencedBrokers, globalTopics,
		globalPartitions, offlinePartitions, appliedOffset, appliedEpoch}, func(e *emitter, c *collector) {
		if c.sources.Image == nil {
			return
		}
		img := c.sources.Image()
		topics := countTopics(img, c.sources.Node)
		active, fenced := brokerCounts(img)
		e.count(leaders, topics.leaders)
		e.count(underReplicated, topics.underReplicated)
		e.count(activeBrokers, active)
		e.count(fencedBrokers, fenced)
		e.count(globalTopics, int64(img.TopicCount()))
		e.count(globalPartitions, int64(img.PartitionCount()))
		e.count(offlinePartitions, topics.leaderless)
		e.count(appliedOffset, int64(img.Offset()))
		e.count(appliedEpoch, int64(img.Epoch()))
	}}
)

var (
	activeController = gauge("kafka_controller_kafkacontroller_activecontrollercount", "1 on the active controller, else 0; the sum over a cluster is 1.")

	controllerGroup = group{"Controller", []*metric{activeController}, func(e *emitter, c *collector) {
		if c.sources.Active != nil {
			e.flag(activeController, c.sources.Active())
		}
	}}
)

var (
	raftEnd          = gauge("kafka_server_raft_metrics_log_end_offset", "End of the metadata log on this node.")
	raftCommit       = gauge("kafka_server_raft_metrics_high_watermark", "High watermark of the metadata log, which is raft's commit index.")
	checkpointOffset = gauge("gregor_metadata_checkpoint_end_offset", "End offset of the newest checkpoint; absent while there is none.")
	checkpointBytes  = gauge("gregor_metadata_checkpoint_bytes", "Size of the newest checkpoint; absent while there is none.")

	metadataGroup = group{"Metadata log", []*metric{raftEnd, raftCommit, checkpointOffset, checkpointBytes}, func(e *emitter, c *collector) {
		if c.sources.Metadata == nil {
			return
		}
		e.count(raftEnd, int64(c.sources.Metadata.End()))
		e.count(raftCommit, int64(c.sources.Metadata.Committed().End))
		if p, ok := c.sources.Metadata.Checkpoint(); ok {
			e.count(checkpointOffset, int64(p.End))
			e.count(checkpointBytes, p.SizeBytes)
		}
	}}
)

var (
	raftLeader  = gauge("kafka_server_raft_metrics_current_leader", "Node id of the quorum's leader; -1 when there is none.")
	raftEpoch   = gauge("kafka_server_raft_metrics_current_epoch", "Epoch of the quorum, which is raft's term.")
	raftLeading = gauge("gregor_raft_leading", "1 while this node leads the quorum and may propose.")

	raftGroup = group{"Metadata quorum", []*metric{raftLeader, raftEpoch, raftLeading}, func(e *emitter, c *collector) {
		if c.sources.Leader == nil {
			return
		}
		l := c.sources.Leader()
		e.count(raftLeader, int64(l.Leader))
		e.count(raftEpoch, int64(l.Epoch))
		e.flag(raftLeading, l.Leading)
	}}
)
