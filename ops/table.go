// SPDX-License-Identifier: Apache-2.0

package ops

// group is metrics that one read fills.
type group struct {
	title   string
	metrics []*metric
	read    func(e *emitter, c *collector)
}

// table lists all groups in the order of docs/metrics.md.
func table() []group {
	return []group{
		nodeGroup, trafficGroup, requestGroup, connectionGroup, sessionGroup,
		replicaGroup, controllerGroup, metadataGroup, raftGroup, fileGroup, directoryGroup,
	}
}

var (
	buildInfo      = gauge("gregor_build_info", "1; the labels say what is running.", "version", "revision", "goversion")
	startupSeconds = gauge("gregor_startup_seconds", "Time from the start of the process until it was ready; absent before.")

	nodeGroup = group{"Node", []*metric{buildInfo, startupSeconds}, func(e *emitter, c *collector) {
		e.put(buildInfo, 1, c.build.Version, c.build.Revision, c.build.Go)
		if f := c.sources.StartupDuration; f != nil && f() > 0 {
			e.put(startupSeconds, f().Seconds())
		}
	}}
)

var (
	messagesIn     = counter("kafka_server_brokertopicmetrics_messagesin_total", "Records appended by producers.")
	bytesIn        = counter("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of records appended by producers.")
	bytesOut       = counter("kafka_server_brokertopicmetrics_bytesout_total", "Bytes of records sent to consumers.")
	bytesRejected  = counter("kafka_server_brokertopicmetrics_bytesrejected_total", "Bytes of batches that were larger than max.message.bytes.")
	produceTotal   = counter("kafka_server_brokertopicmetrics_totalproducerequests_total", "Partitions in Produce requests.")
	fetchTotal     = counter("kafka_server_brokertopicmetrics_totalfetchrequests_total", "Partitions read for Fetch requests.")
	produceFailed  = counter("kafka_server_brokertopicmetrics_failedproducerequests_total", "Partitions in Produce requests that got an error.")
	fetchFailed    = counter("kafka_server_brokertopicmetrics_failedfetchrequests_total", "Partitions in Fetch requests that got an error.")
	invalidMagic   = counter("kafka_server_brokertopicmetrics_invalidmagicnumberrecords_total", "Batches refused for their magic number.")
	invalidCRC     = counter("kafka_server_brokertopicmetrics_invalidmessagecrcrecords_total", "Batches refused for their checksum.")
	invalidOffsets = counter("kafka_server_brokertopicmetrics_invalidoffsetorsequencerecords_total", "Batches refused for their offsets or sequence numbers.")
	recompressed   = counter("kafka_server_brokertopicmetrics_producemessageconversions_total", "Batches written anew, for another codec or time.")
	duplicates     = counter("gregor_produce_duplicate_batches_total", "Batches of idempotent producers that were there already and were answered with their first offset.")

	trafficGroup = group{"Traffic", []*metric{messagesIn, bytesIn, bytesOut, bytesRejected, produceTotal, fetchTotal,
		produceFailed, fetchFailed, invalidMagic, invalidCRC, invalidOffsets, recompressed, duplicates}, func(e *emitter, c *collector) {
		if c.sources.Traffic == nil {
			return
		}
		t := c.sources.Traffic()
		e.count(messagesIn, t.MessagesInTotal)
		e.count(bytesIn, t.BytesInTotal)
		e.count(bytesOut, t.BytesOutTotal)
		e.count(bytesRejected, t.BytesRejectedTotal)
		e.count(produceTotal, t.ProduceRequestsTotal)
		e.count(fetchTotal, t.FetchRequestsTotal)
		e.count(produceFailed, t.FailedProduceRequestsTotal)
		e.count(fetchFailed, t.FailedFetchRequestsTotal)
		e.count(invalidMagic, t.InvalidMagicTotal)
		e.count(invalidCRC, t.InvalidChecksumTotal)
		e.count(invalidOffsets, t.InvalidOffsetTotal)
		e.count(recompressed, t.RecompressedTotal)
		e.count(duplicates, t.DuplicateBatchesTotal)
	}}
)

var (
	requests        = counter("kafka_network_requestmetrics_requests_total", "Requests by API.", "request")
	requestErrors   = counter("kafka_network_requestmetrics_errors_total", "Requests that were answered with an error or a closed connection, by API.", "request")
	requestDuration = &metric{name: "gregor_request_duration_seconds", labels: []string{"request"},
		help: "Histogram of the time from a request's last byte read until its reply was handed to the socket, waiting included, by API."}

	requestGroup = group{"Requests", []*metric{requests, requestErrors, requestDuration}, func(e *emitter, c *collector) {
		if c.sources.Requests == nil {
			return
		}
		for _, r := range c.sources.Requests() {
			e.count(requests, r.Total, r.API)
			e.count(requestErrors, r.ErrorsTotal, r.API)
			if len(r.Duration.Counts) > 0 {
				e.histogram(requestDuration, r.Duration, r.API)
			}
		}
	}}
)

var (
	connections     = gauge("kafka_server_socket_server_metrics_connection_count", "Connections that are open.", "listener")
	accepted        = counter("kafka_server_socket_server_metrics_connection_creation_total", "Connections that were accepted.", "listener")
	connectionsShut = counter("gregor_connections_closed_total", "Connections that the node closed, by reason: refused (too many), idle, malformed (a frame or request that no client sends), stalled (a frame that stopped, or no memory), cut (a truncation under a reply), panic (a bug of ours).", "listener", "reason")
	received        = counter("kafka_server_socket_server_metrics_incoming_byte_total", "Bytes read from sockets.", "listener")
	sent            = counter("kafka_server_socket_server_metrics_outgoing_byte_total", "Bytes written to sockets.", "listener")
	sentByFile      = counter("gregor_sendfile_bytes_total", "Part of the bytes written that went from files without a copy.", "listener")
	requestsRead    = counter("kafka_server_socket_server_metrics_request_total", "Requests read.", "listener")
	parked          = counter("gregor_replies_parked_total", "Replies that waited for something: new records, or a high watermark.", "listener")
	budgetUsed      = gauge("gregor_request_memory_used_bytes", "Memory that requests take now, of gregor.request.memory.bytes.", "listener")
	budgetWaits     = counter("gregor_request_memory_waits_total", "Times a connection waited for that memory.", "listener")
	throttled       = counter("gregor_throttled_seconds_total", "Time for which connections were muted by quotas.", "listener")

	connectionGroup = group{"Connections", []*metric{connections, accepted, connectionsShut, received, sent, sentByFile, requestsRead,
		parked, budgetUsed, budgetWaits, throttled}, func(e *emitter, c *collector) {
		if c.sources.Connections == nil {
			return
		}
		for name, s := range c.sources.Connections() {
			e.count(connections, s.Connections, name)
			e.count(accepted, s.AcceptedTotal, name)
			e.count(connectionsShut, s.RefusedTotal, name, "refused")
			e.count(connectionsShut, s.IdleClosedTotal, name, "idle")
			e.count(connectionsShut, s.MalformedTotal, name, "malformed")
			e.count(connectionsShut, s.StalledTotal, name, "stalled")
			e.count(connectionsShut, s.CutTotal, name, "cut")
			e.count(connectionsShut, s.PanicsTotal, name, "panic")
			e.count(received, s.ReceivedBytesTotal, name)
			e.count(sent, s.SentBytesTotal, name)
			e.count(sentByFile, s.SendfileBytesTotal, name)
			e.count(requestsRead, s.RequestsTotal, name)
			e.count(parked, s.ParkedTotal, name)
			e.count(budgetUsed, s.BudgetUsedBytes, name)
			e.count(budgetWaits, s.BudgetWaitsTotal, name)
			e.put(throttled, float64(s.ThrottledMillisTotal)/1000, name)
		}
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
		e.count(sessions, s.Sessions)
		e.count(sessionParts, s.Partitions)
		e.count(sessionEvictions, s.EvictionsTotal)
	}}
)

var (
	partitions      = gauge("kafka_server_replicamanager_partitioncount", "Partitions on this broker.")
	leaders         = gauge("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.")
	underReplicated = gauge("kafka_server_replicamanager_underreplicatedpartitions", "Partitions led here whose ISR lacks a replica.")
	underMinISR     = gauge("kafka_server_replicamanager_underminisrpartitioncount", "Partitions led here whose ISR is below min.insync.replicas.")
	atMinISR        = gauge("kafka_server_replicamanager_atminisrpartitioncount", "Partitions led here whose ISR is just min.insync.replicas.")
	offline         = gauge("kafka_server_replicamanager_offlinereplicacount", "Partitions here that cannot be opened or failed.")
	isrShrinks      = counter("kafka_server_replicamanager_isrshrinks_total", "Replicas that this broker took out of an ISR.")
	isrExpands      = counter("kafka_server_replicamanager_isrexpands_total", "Replicas that this broker took into an ISR.")

	replicaGroup = group{"Replicas", []*metric{partitions, leaders, underReplicated, underMinISR, atMinISR, offline, isrShrinks, isrExpands}, func(e *emitter, c *collector) {
		if c.sources.Replicas == nil {
			return
		}
		r := c.sources.Replicas()
		e.count(partitions, r.Partitions)
		e.count(leaders, r.Leaders)
		e.count(underReplicated, r.UnderReplicated)
		e.count(underMinISR, r.UnderMinISR)
		e.count(atMinISR, r.AtMinISR)
		e.count(offline, r.Offline)
		e.count(isrShrinks, r.ISRShrinksTotal)
		e.count(isrExpands, r.ISRExpandsTotal)
	}}
)
