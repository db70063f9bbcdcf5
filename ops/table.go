// SPDX-License-Identifier: Apache-2.0

package ops

import "gregor/quota"

import "gregor/storage/retention"

// group is metrics that one read fills.
type group struct {
	title   string
	metrics []*metric
	read    func(e *emitter, c *collector)
}

// table lists all groups in the order of docs/metrics.md.
func table() []group {
	return []group{
		nodeGroup, trafficGroup, topicGroup, timeGroup, connectionGroup, quotaGroup, telemetryGroup, sessionGroup, coordinatorGroup,
		replicaGroup, clusterGroup, controllerGroup, metadataGroup, raftGroup, fileGroup, directoryGroup,
	}
}

var (
	buildInfo = gauge("gregor_build_info", "1; the labels say what is running.", "version", "revision", "goversion")

	nodeGroup = group{"Node", []*metric{buildInfo}, func(e *emitter, c *collector) {
		e.put(buildInfo, 1, c.build.Version, c.build.Revision, c.build.Go)
	}}
)

var (
	requests       = counter("kafka_network_requestmetrics_requests_total", "Requests by API.", "request")
	messagesIn     = counter("kafka_server_brokertopicmetrics_messagesin_total", "Records appended for producers.")
	bytesIn        = counter("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of batches appended for producers.")
	bytesOut       = counter("kafka_server_brokertopicmetrics_bytesout_total", "Bytes of batches sent to consumers.")
	produceFailed  = counter("kafka_server_brokertopicmetrics_failedproducerequests_total", "Partitions of Produce requests that got an error.")
	duplicates     = counter("gregor_produce_duplicate_batches_total", "Batches of idempotent producers that were there already and were answered with their first offset.")
	fetchesParked  = counter("gregor_fetches_parked_total", "Fetch requests that had to wait for records.")
	autoCreated    = counter("gregor_topics_auto_created_total", "Topics asked of the controller because a client named them.")
	closedRequests = counter("gregor_requests_closed_total", "Requests that were answered by closing the connection, as Kafka does for an unsupported version or an error with acks=0.")
	unknownErrors  = counter("gregor_unknown_errors_total", "Answers with UNKNOWN_SERVER_ERROR; each one is a bug of gregor.")

	trafficGroup = group{"Requests and traffic", []*metric{requests, messagesIn, bytesIn, bytesOut, produceFailed, duplicates, fetchesParked,
		autoCreated, closedRequests, unknownErrors}, func(e *emitter, c *collector) {
		if c.sources.Requests == nil {
			return
		}
		s := c.sources.Requests()
		for name, n := range s.Requests {
			e.count(requests, n, name)
		}
		e.count(messagesIn, s.ProducedRecordsTotal)
		e.count(bytesIn, s.ProducedBytesTotal)
		e.count(bytesOut, s.FetchedBytesTotal)
		e.count(produceFailed, s.ProduceFailuresTotal)
		e.count(duplicates, s.ProduceDuplicatesTotal)
		e.count(fetchesParked, s.FetchesParkedTotal)
		e.count(autoCreated, s.AutoCreatedTotal)
		e.count(closedRequests, s.ClosedTotal)
		e.count(unknownErrors, s.UnknownErrorsTotal)
	}}
)

var (
	connections     = gauge("kafka_server_socket_server_metrics_connection_count", "Connections that are open, over all Kafka listeners.")
	accepted        = counter("kafka_server_socket_server_metrics_connection_creation_total", "Connections that were accepted.")
	connectionsShut = counter("gregor_connections_closed_total", "Connections that the node closed, by reason: refused (too many), throttled (too fast, by connection_creation_rate), idle, malformed (a frame or request that no client sends), stalled (a frame that stopped, or no memory), cut (a truncation under a reply), panic (a bug of gregor).", "reason")
	received        = counter("kafka_server_socket_server_metrics_incoming_byte_total", "Bytes read from sockets.")
	sent            = counter("kafka_server_socket_server_metrics_outgoing_byte_total", "Bytes written to sockets.")
	sentByFile      = counter("gregor_sendfile_bytes_total", "Part of the bytes written that went from files to sockets without a copy.")
	requestsRead    = counter("kafka_server_socket_server_metrics_request_total", "Requests read.")
	parked          = counter("gregor_replies_parked_total", "Replies that waited for something: new records, or a high watermark.")
	budgetUsed      = gauge("gregor_request_memory_used_bytes", "Memory that requests take now, of gregor.request.memory.bytes.")
	budgetWaits     = counter("gregor_request_memory_waits_total", "Times a connection waited for that memory.")
	throttled       = counter("gregor_throttled_seconds_total", "Time for which connections were muted by quotas.")

	connectionGroup = group{"Connections", []*metric{connections, accepted, connectionsShut, received, sent, sentByFile, requestsRead,
		parked, budgetUsed, budgetWaits, throttled}, func(e *emitter, c *collector) {
		if c.sources.Connections == nil {
			return
		}
		s := c.sources.Connections()
		e.count(connections, s.Connections)
		e.count(accepted, s.AcceptedTotal)
		e.count(connectionsShut, s.RefusedTotal, "refused")
		e.count(connectionsShut, s.ThrottledTotal, "throttled")
		e.count(connectionsShut, s.IdleClosedTotal, "idle")
		e.count(connectionsShut, s.MalformedTotal, "malformed")
		e.count(connectionsShut, s.StalledTotal, "stalled")
		e.count(connectionsShut, s.CutTotal, "cut")
		e.count(connectionsShut, s.PanicsTotal, "panic")
		e.count(received, s.ReceivedBytesTotal)
		e.count(sent, s.SentBytesTotal)
		e.count(sentByFile, s.SendfileBytesTotal)
		e.count(requestsRead, s.RequestsTotal)
		e.count(parked, s.ParkedTotal)
		e.count(budgetUsed, s.BudgetUsedBytes)
		e.count(budgetWaits, s.BudgetWaitsTotal)
		e.put(throttled, float64(s.ThrottledMillisTotal)/1000)
	}}
)

var (
	quotaThrottled = counter("gregor_quota_throttled_total", "Requests, and connections, that a quota held back, by the quota that decided.", "quota")
	quotaSeconds   = counter("gregor_quota_throttled_seconds_total", "Time that clients were told to wait.", "quota")
	quotaMeters    = gauge("gregor_quota_meters", "Users, client ids, pairs of them and addresses whose use is measured.")

	quotaGroup = group{"Quotas", []*metric{quotaThrottled, quotaSeconds, quotaMeters}, func(e *emitter, c *collector) {
		if c.sources.Quotas == nil {
			return
		}
		s := c.sources.Quotas()
		for _, k := range quota.Kinds() {
			e.count(quotaThrottled, s.Throttled[k], k.String())
			e.put(quotaSeconds, float64(s.ThrottledMs[k])/1000, k.String())
		}
		e.count(quotaMeters, int64(s.Meters))
	}}
)

var (
	sessions         = gauge("kafka_server_fetchsessioncache_numincrementalfetchsessions", "Incremental fetch sessions that are kept.")
	sessionParts     = gauge("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", "Partitions in those sessions.")
	sessionEvictions = counter("kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", "Sessions that made room for others.")

	sessionGroup = group{"Fetch sessions", []*metric{sessions, sessionParts, sessionEvictions}, func(e *emitter, c *collector) {
		if c.sources.FetchSessions == nil {
			return
		}
		s := c.sources.FetchSessions()
		e.count(sessions, int64(s.Sessions))
		e.count(sessionParts, int64(s.Partitions))
		e.count(sessionEvictions, s.EvictedTotal)
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
	directoryTotal     = gauge("gregor_log_directory_total_bytes", "Size of its file system; absent while that does not answer.", "directory")
	directoryFree      = gauge("gregor_log_directory_free_bytes", "Room left on its file system; absent while that does not answer.", "directory")
	assignments        = gauge("kafka_server_assignmentsmanager_queuedreplicatodirassignments", "Replicas whose log directory the controller does not know yet.")
	directoryReserve   = gauge("gregor_log_directory_reserve_bytes", "Room that producers leave (gregor.log.reserve.bytes), as of the last look.", "directory")
	directoryFull      = gauge("gregor_log_directory_full", "1 while producers wait for room in the directory.", "directory")

	droppedSegments = counter("gregor_log_deleted_segments_total", "Segments that left a log, by reason: log start (DeleteRecords), size (retention.bytes), time (retention.ms).", "directory", "reason")
	droppedBytes    = counter("gregor_log_deleted_bytes_total", "Bytes of their log files, by the same reasons.", "directory", "reason")
	deletesPending  = gauge("gregor_log_deletes_pending", "Files and folders under a deleted name that wait for file.delete.delay.ms.", "directory")

	scrubBytes    = counter("gregor_log_scrub_bytes_total", "Bytes that the scrub has read in search of bit rot.", "directory")
	scrubSegments = counter("gregor_log_scrub_segments_total", "Segments that the scrub has looked through.", "directory")
	scrubFull     = gauge("gregor_log_scrub_last_full_pass_seconds", "When the scrub was last through with the whole directory, since 1970; 0 is never.", "directory")
	badRanges     = counter("gregor_log_bad_ranges_total", "Ranges of log files that did not hold what was written, found by the scrub, by readers or at the start; readers of their offsets get CORRUPT_MESSAGE.", "directory")
	rottenLogs    = counter("gregor_log_rotten_segments_total", "Log files that the scrub found to differ from their checksum, each time.", "directory")
	wrongIndexes  = counter("gregor_log_wrong_indexes_total", "Segments whose indexes the scrub found not to fit the log file; they are built again.", "directory")

	directoryGroup = group{"Log directories", []*metric{directoriesOffline, directoryOnline, assignments, directoryTotal, directoryFree, directoryReserve, directoryFull,
		droppedSegments, droppedBytes, deletesPending, scrubBytes, scrubSegments, scrubFull, badRanges, rottenLogs, wrongIndexes}, func(e *emitter, c *collector) {
		if c.sources.Assignments != nil {
			e.count(assignments, int64(c.sources.Assignments()))
		}
		var failed int64
		for _, d := range c.sources.Directories {
			online := d.Offline() == nil
			if !online {
				failed++
			}
			e.flag(directoryOnline, online, d.Path())
			if usage, err := d.Usage(); err == nil {
				e.count(directoryTotal, usage.TotalBytes, d.Path())
				e.count(directoryFree, usage.FreeBytes, d.Path())
			}
			e.count(directoryReserve, d.ReserveBytes(), d.Path())
			e.flag(directoryFull, online && d.Refuses() != nil, d.Path())
			for reason, n := range d.Dropped() {
				e.count(droppedSegments, n.Segments, d.Path(), retention.Reason(reason).String())
				e.count(droppedBytes, n.Bytes, d.Path(), retention.Reason(reason).String())
			}
			e.count(deletesPending, int64(d.DeletesPending()), d.Path())
			scrubbed := d.Scrub()
			e.count(scrubBytes, scrubbed.Bytes, d.Path())
			e.count(scrubSegments, scrubbed.Segments, d.Path())
			e.count(scrubFull, scrubbed.LastFullPassMs/1000, d.Path())
			e.count(badRanges, scrubbed.BadRanges, d.Path())
			e.count(rottenLogs, scrubbed.RottenSegments, d.Path())
			e.count(wrongIndexes, scrubbed.WrongIndexes, d.Path())
		}
		if len(c.sources.Directories) > 0 {
			e.count(directoriesOffline, failed)
		}
	}}
)
