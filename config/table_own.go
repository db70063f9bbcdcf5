// SPDX-License-Identifier: Apache-2.0

package config

// ownKeys holds gregor's own keys.
var ownKeys = []Definition{
	{Name: "gregor.admin.listener", Type: String, Default: "127.0.0.1:9644", Effect: Works,
		Doc: "Address of /metrics, /livez, /readyz and /debug/pprof; empty is off. When the default cannot be bound, the node warns and goes on; a configured one stops the start."},
	{Name: "gregor.connection.pipeline", Type: Int, Default: "64", Check: between(1, 1024), Effect: Works,
		Doc: "Requests of one connection that may wait for their replies at once. Replies leave in order of the requests."},
	{Name: "gregor.fetch.session.slot.partitions.max", Type: Int, Default: "1000", Check: atLeast(1), Effect: Works,
		Doc: "Partitions of all fetch sessions, for each of `max.incremental.fetch.session.cache.slots`. Consumers that find no room go on with full fetches."},
	{Name: "gregor.group.coordinator.pending.max", Type: Int, Default: "100000", Check: atLeast(1), Effect: Works,
		Doc: "Requests that may wait for their reply in one partition of `__consumer_offsets`; more are answered COORDINATOR_NOT_AVAILABLE."},
	{Name: "gregor.insecure.public.listeners", Type: List, Check: elements{empty: true}, Effect: Works,
		Doc: "Names of listeners that may be open to other machines without authentication."},
	{Name: "gregor.log.level", Type: String, Default: "info", Check: oneOf{of: []string{"debug", "info", "warn", "error"}}, Effect: Works,
		Doc: "Least weighty line that is logged."},
	{Name: "gregor.memory.limit.bytes", Type: Long, Default: "0", Check: atLeast(0), Effect: Works,
		Doc: "Memory the process tries to stay under. 0: nine tenths of the control group's limit, where there is one; GOMEMLIMIT wins."},
	{Name: "gregor.open.files.max", Type: Int, Default: "0", Check: atLeast(0), Effect: Works,
		Doc: "Segment and index files kept open at once. 0: half of the process's limit."},
	{Name: "gregor.produce.record.errors.max", Type: Int, Default: "10000", Check: atLeast(1), Effect: Works,
		Doc: "Records at fault that one answer to a producer names."},
	{Name: "gregor.produce.validation", Type: String, Default: "standard", Check: oneOf{of: []string{"standard", "strict"}}, Scope: ClusterWide, Effect: Works,
		Doc: "How closely produced batches are looked at. `standard`: size, magic, checksum, codec, counts, header timestamps, sequences, and the records of uncompressed batches. `strict`: each batch is decompressed and each record checked, as Kafka does; [validation.md](validation.md) lists what it finds more. Topics may set it too."},
	{Name: "gregor.reply.stall.max.ms", Type: Int, Default: "600000", Check: atLeast(1), Effect: Works,
		Doc: "A connection that takes nothing of a reply for this long is closed, where `connections.max.idle.ms` closes none."},
	{Name: "gregor.request.elements.max", Type: Int, Default: "262144", Check: atLeast(1), Effect: Works,
		Doc: "Largest array in a request, in elements."},
	{Name: "gregor.request.memory.bytes", Type: Long, Default: "268435456", Check: atLeast(1048576), Effect: Works,
		Doc: "Memory for requests that are being received or handled, over all connections. A connection that finds none left waits."},
	{Name: "gregor.request.stall.max.ms", Type: Int, Default: "30000", Check: atLeast(1), Effect: Works,
		Doc: "A connection whose request stops arriving, or finds no memory, for this long is closed."},
	{Name: "gregor.request.timeout.max.ms", Type: Int, Default: "300000", Check: atLeast(1000), Effect: Works,
		Doc: "Longest that a request may wait, whatever timeout or maximum wait it asks for."},
	{Name: "gregor.request.memory.reserve.bytes", Type: Long, Default: "16777216", Check: atLeast(0), Effect: Works,
		Doc: "Part of `gregor.request.memory.bytes` kept for small requests and for other brokers."},
}
