// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"time"

	"gregor/broker/conn"
	"gregor/storage/segment"
)

// Sources read the node's counters. A nil function is a part that this node
// does not have, and its metrics are left out.
type Sources struct {
	// Connections of each Kafka listener, by its name.
	Connections func() map[string]conn.Stats
	// Requests of each API that was called.
	Requests func() []Request
	// Traffic is the sum over all topics.
	Traffic func() Traffic
	// FetchSessions of the broker.
	FetchSessions func() FetchSessions
	// Replicas on this broker.
	Replicas func() Replicas
	// Controller is asked on nodes that are controllers.
	Controller func() Controller
	// Metadata is this node's copy of the metadata log.
	Metadata func() Metadata
	// Raft is asked on nodes that are controllers.
	Raft func() Raft
	// Files are the descriptors of segments and indexes.
	Files func() segment.Stats
	// Directories are the log directories.
	Directories func() []Directory
	// StartupDuration is the time from the process's start to readiness; 0
	// before that.
	StartupDuration func() time.Duration
}

// Request counts one API.
type Request struct {
	API         string // Kafka's name of it: Produce, Fetch, ...
	Total       int64
	ErrorsTotal int64 // answered with an error code, or by closing the connection
	Duration    Histogram
}

// Histogram counts by upper bounds that its maker chose.
type Histogram struct {
	UpperNanos []int64 // ascending
	Counts     []int64 // one for each bound, not cumulative, and one for all above
	SumNanos   int64
}

// Traffic counts what topics take and give.
type Traffic struct {
	MessagesInTotal            int64
	BytesInTotal               int64
	BytesOutTotal              int64
	BytesRejectedTotal         int64
	ProduceRequestsTotal       int64
	FetchRequestsTotal         int64
	FailedProduceRequestsTotal int64
	FailedFetchRequestsTotal   int64
	InvalidMagicTotal          int64
	InvalidChecksumTotal       int64
	InvalidOffsetTotal         int64
	RecompressedTotal          int64
	DuplicateBatchesTotal      int64
}

// FetchSessions counts incremental fetch sessions.
type FetchSessions struct {
	Sessions       int64
	Partitions     int64 // in all sessions
	EvictionsTotal int64
}

// Replicas counts the partitions on this broker.
type Replicas struct {
	Partitions      int64
	Leaders         int64
	UnderReplicated int64
	UnderMinISR     int64
	AtMinISR        int64
	Offline         int64
	ISRShrinksTotal int64
	ISRExpandsTotal int64
}

// Controller counts what the active controller sees; on others the counts are
// those of their own image.
type Controller struct {
	Active            bool
	Brokers           int64 // unfenced
	FencedBrokers     int64
	Topics            int64
	Partitions        int64
	OfflinePartitions int64
	MetadataErrors    int64
	TimedOutTotal     int64 // heartbeat sessions that ended
	EventsTotal       int64
	InFlight          int64 // proposals that are not committed yet
}

// Metadata tells how far this node's image is.
type Metadata struct {
	AppliedOffset    int64
	AppliedEpoch     int64
	AppliedAgeMs     int64 // -1 while nothing is applied
	CheckpointOffset int64 // end of the newest checkpoint; -1 without one
	CheckpointBytes  int64
}

// Raft tells how the metadata quorum is.
type Raft struct {
	Leader        int64 // node id; -1 when there is none
	Vote          int64
	Epoch         int64
	HighWatermark int64
	LogEnd        int64
	Leading       bool
	SyncsTotal    int64
	SyncNanos     int64
}

// Directory is one log directory.
type Directory struct {
	Path       string
	Online     bool
	Logs       int64
	TotalBytes int64 // of its file system
	FreeBytes  int64
	SyncsTotal int64
	SyncNanos  int64
	DirtyBytes int64 // written since the last recovery point
}
