// SPDX-License-Identifier: Apache-2.0

// Package api answers Kafka's requests, one file per API. table.go is the one
// list of them; it drives dispatch, ApiVersions and docs/protocol.md.
//
//	conn ─► API.Handle ─► table row ─┬─ Produce, Fetch: hand-written codecs on the frame's bytes
//	                                 └─ others: bounds checked by the row's shape, then kmsg
//
// A handler resolves names by the metadata image, asks partitions or the
// controller, and writes the reply. Errors become wire codes in errmap.go
// alone. An API is shared by all connections; what a connection needs for
// itself hangs on call.Conn.State and belongs to its goroutine.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/broker/fetchsession"
	"gregor/broker/telemetry"
	"gregor/cluster/image"
	"gregor/cluster/link"
	"gregor/cluster/metalog"
	"gregor/config"
	"gregor/quota"
	"gregor/replica"
	"gregor/wire/batch"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// Requester is who stands behind a request to the controller.
type Requester = link.Requester

// Feature is what this program has built of a feature.
type Feature struct {
	Name     string
	Min, Max int16
}

// Deps are what the APIs work on. All fields are required unless they say
// otherwise.
type Deps struct {
	NodeID    kafka.NodeID
	ClusterID string
	Images    *Images
	Table     *replica.Table
	Config    *config.Node
	// Features are the ranges that are built, by name. Levels that an existing
	// log holds are told to clients no higher than these.
	Features []Feature
	// Controller carries a request to the active controller and waits for the
	// answer to be committed (link.Do).
	Controller func(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error)
	// KRaftVersion is the finalized level of kraft.version, which is not in the
	// image. nil reads as the image's.
	KRaftVersion func() int16
	// Quorum tells how far the members of the metadata quorum are;
	// kafka.NotLeaderForPartition where another node leads it.
	Quorum func(ctx context.Context) (metalog.Quorum, error)
	// ProducerID takes the next producer id of this broker's block.
	ProducerID func(ctx context.Context) (kafka.ProducerID, error)
	// Dirs are the log directories, in the order of the configuration.
	Dirs []LogDir
	// Sessions are the fetch sessions of this broker.
	Sessions *fetchsession.Cache
	// Groups are the group coordinators.
	Groups Groups
	// Telemetry decides what clients push, and takes it.
	Telemetry *telemetry.Manager
	// Quotas say how long clients must wait.
	Quotas *quota.Manager
	Logger *slog.Logger
	// LogLevel is the level of Logger; nil where it is fixed.
	LogLevel *slog.LevelVar
	Now      func() time.Time
}

// API is the conn.Handler of a broker.
type API struct {
	d      Deps
	rows   []row // by key
	byKey  [keysMax]*row
	limits limits
	count  counters
	create creations
	coders compress.Pool // for the validators of all connections
	beats  sync.Pool     // of heartbeats that are not at work
}

// limits bound what one request may hold.
type limits struct {
	elementsMax     int
	fetchBytesMax   int
	recordErrorsMax int           // of one answer: ten bytes of a compressed batch may hold a thousand
	timeoutMax      time.Duration // how long a request may hold its connection
	consumerGroups  bool          // groups of the new protocol are on
}

// New makes the handler.
func New(d Deps) *API {
	a := &API{d: d, rows: rows(), limits: limits{
		elementsMax:   int(d.Config.Int(config.GregorRequestElementsMax)),
		fetchBytesMax: int(d.Config.Int(config.FetchMaxBytes)),

		recordErrorsMax: int(d.Config.Int(config.GregorProduceRecordErrorsMax)),
		timeoutMax:      time.Duration(d.Config.Int(config.GregorRequestTimeoutMaxMs)) * time.Millisecond,
		consumerGroups:  allowsConsumerGroups(d.Config),
	}}
	for i := range a.rows {
		a.byKey[a.rows[i].key] = &a.rows[i]
	}
	a.create.init()
	a.beats.New = func() any { return newHeartbeat(a) }
	return a
}

// state is what a connection keeps between its requests.
type state struct {
	clientID string
	host     string // as groups show it, once one has asked
	names    map[string]string
	produce  produceState
	fetch    fetchState
	quota    quota.Client
	now      func() time.Time
	// Of the request at hand: how long it waited, and since when it does.
	waited time.Duration
	away   time.Time
}

// Open is part of conn.Handler.
func (a *API) Open(c *call.Conn) {
	s := &state{now: a.d.Now}
	s.produce.validator = batch.NewValidator(&a.coders, a.limits.recordErrorsMax)
	c.State = s
}

// Gone is part of conn.Handler.
func (a *API) Gone(c *call.Conn) {
	if s, ok := c.State.(*state); ok {
		s.fetch.close()
		a.d.Quotas.Release(&s.quota, a.d.Now())
	}
	a.d.Telemetry.Closed(c.ID)
	c.State = nil
}

func stateOf(c *call.Call) *state { return c.Conn.State.(*state) }

// Handle is part of conn.Handler.
func (a *API) Handle(c *call.Call) call.Outcome {
	r := a.row(c.Key)
	if r == nil || r.roles&c.Conn.Listener.Role == 0 {
		return a.close(c, fmt.Errorf("api key %d is not offered on this listener", c.Key))
	}
	if c.Version < r.min || c.Version > r.max {
		if c.Key == keyApiVersions {
			return a.answerUnknownVersion(c)
		}
		return a.close(c, fmt.Errorf("%s version %d is not supported", r.name, c.Version))
	}
	h, body, err := frame.ParseRequest(c.Payload, c.Version >= r.flexibleFrom)
	if err != nil {
		return a.close(c, fmt.Errorf("%s: %w", r.name, err))
	}
	s := stateOf(c)
	if s.clientID != string(h.ClientID) { // compares without allocating
		s.clientID = string(h.ClientID)
	}
	c.ClientID, c.Body = s.clientID, body
	a.d.Quotas.Bind(&s.quota, c.Conn.Principal.Name, s.clientID, c.ReceivedAt)
	s.waited, s.away = 0, time.Time{}
	a.count.requests[c.Key].Add(1)
	outcome := r.handle(a, c)
	if outcome == call.Close {
		a.count.closed.Add(1)
	}
	return outcome
}

// close ends the connection without an answer.
func (a *API) close(c *call.Call, reason error) call.Outcome {
	c.CloseReason = reason
	return call.Close
}

// image is the metadata that requests see.
func (a *API) image() *image.Image { return a.d.Images.Load() }

// requester is who stands behind c.
func requester(c *call.Call) Requester {
	return Requester{Principal: c.Conn.Principal, ClientID: c.ClientID, Remote: c.Conn.Remote}
}

// errMalformed is a body that its shape or kmsg cannot read.
var errMalformed = errors.New("malformed request")
