// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Limits on topics that are being created because someone asked for them.
const (
	creationsMax       = 1000
	creationTimeout    = 30 * time.Second
	creationTimeoutMs  = int32(creationTimeout / time.Millisecond)
	defaultFromBrokers = -1
)

// creations are the topics that are being created at the moment: a client that
// asks again meanwhile starts nothing.
type creations struct {
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (x *creations) init() { x.names = make(map[string]bool) }

// begin picks the names that nobody creates yet.
func (x *creations) begin(names []string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var fresh []string
	for _, n := range names {
		if !x.names[n] && len(x.names) < creationsMax {
			x.names[n] = true
			fresh = append(fresh, n)
		}
	}
	return fresh
}

func (x *creations) end(names []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range names {
		delete(x.names, n)
	}
}

// autoCreate asks the controller for topics in the background, with the
// default number of partitions and replicas; that of the group coordinator with
// its own settings.
func (a *API) autoCreate(who Requester, names []string) {
	wanted := make([]string, 0, len(names))
	for _, n := range names {
		if !isInternal(n) || n == kafka.OffsetsTopic { // the others have no coordinator
			wanted = append(wanted, n)
		}
	}
	fresh := a.create.begin(wanted)
	if len(fresh) == 0 {
		return
	}
	a.count.autoCreated.Add(int64(len(fresh)))
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, creationTimeoutMs
	for _, n := range fresh {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = n, defaultFromBrokers, defaultFromBrokers
		if n == kafka.OffsetsTopic {
			a.offsetsTopic(&t)
		}
		req.Topics = append(req.Topics, t)
	}
	go func() {
		defer a.create.end(fresh)
		ctx, cancel := context.WithTimeout(context.Background(), creationTimeout)
		defer cancel()
		resp, err := a.d.Controller(ctx, who, req)
		if err != nil {
			a.d.Logger.Warn("topics were not created on first use", "topics", fresh, "err", err)
			return
		}
		for _, t := range resp.(*kmsg.CreateTopicsResponse).Topics {
			if code := kafka.Code(t.ErrorCode); code != kafka.None && code != kafka.TopicAlreadyExists {
				a.d.Logger.Warn("topic was not created on first use", "topic", t.Topic, "err", code)
			}
		}
	}()
}
