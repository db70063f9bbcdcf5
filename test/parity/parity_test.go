// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/kafka"
)

// The names of the brokers.
const (
	apache   = "Apache Kafka"
	standard = "standard"
	strict   = "strict"
)

// without are Kafka's features that gregor does not have yet, at level 0, so
// that both are the same cluster.
var without = []string{"transaction.version=0", "share.version=0", "streams.version=0", "eligible.leader.replicas.version=0"}

// aMinute, in milliseconds, is what a request is given that is done at once: no
// machine is so slow that either broker says that time is out.
const aMinute = 60_000

// start runs all brokers with the same settings and learns their clusters' ids.
func start(t *testing.T, found *ledger, settings ...string) *list {
	t.Helper()
	return startBeside(t, found, kafka.Options{}, settings...)
}

// startBeside is start for an Apache Kafka that has more than the others.
func startBeside(t *testing.T, found *ledger, more kafka.Options, settings ...string) *list {
	t.Helper()
	// The records' times are old, and with them their producers: none is to be
	// forgotten while the list runs.
	settings = append([]string{"producer.id.expiration.check.interval.ms=86400000"}, settings...)
	dir := t.TempDir()
	names := []string{apache, standard, strict}
	nodes := make([]*kafka.Node, len(names))
	var all sync.WaitGroup
	all.Go(func() {
		nodes[0] = kafka.StartApache(t, filepath.Join(dir, "kafka"), kafka.Options{Settings: slices.Concat(more.Settings, settings), Features: without, Classes: more.Classes})
	})
	for i, mode := range names[1:] {
		all.Go(func() {
			nodes[i+1] = kafka.StartGregor(t, filepath.Join(dir, mode), kafka.Options{Settings: append([]string{"gregor.produce.validation=" + mode, "gregor.group.consumer.rebalance.heartbeat.interval.ms=0"}, settings...)})
		})
	}
	all.Wait()
	l := &list{ledger: found, t: t, nodes: nodes}
	for i, name := range names {
		if nodes[i] == nil {
			t.Fatalf("%s did not start", name)
		}
		l.sites = append(l.sites, newSite(t, name, nodes[i].Address))
	}
	l.send(step{name: "DescribeCluster/first", build: func(*site) kmsg.Request { return kmsg.NewPtrDescribeClusterRequest() },
		then: func(s *site, r kmsg.Response) { s.cluster = r.(*kmsg.DescribeClusterResponse).ClusterID }})
	l.offers()
	// Kafka fetches its first block of producer ids when it is asked for one.
	l.until(&kmsg.InitProducerIDRequest{TransactionTimeoutMillis: 1000, ProducerID: -1, ProducerEpoch: -1}, func(r kmsg.Response) bool {
		return r.(*kmsg.InitProducerIDResponse).ErrorCode == 0
	})
	return l
}

// each sends a request at every version that is served.
func (l *list) each(key int16, name string, build func(s *site, version int16) kmsg.Request) {
	l.t.Helper()
	l.from(key, served[key][0], name, build)
}

// from is each, from a version on.
func (l *list) from(key, version int16, name string, build func(s *site, version int16) kmsg.Request) {
	l.t.Helper()
	for v := version; v <= served[key][1]; v++ {
		l.send(step{name: fmt.Sprintf("%s/v%d", name, v), build: func(s *site) kmsg.Request {
			req := build(s, v)
			req.SetVersion(v)
			return req
		}})
	}
}

// one sends one request of the version that it carries.
func (l *list) one(name string, build func(s *site) kmsg.Request) {
	l.t.Helper()
	l.send(step{name: name, build: build})
}

// config is one setting of a topic.
type config struct{ key, value string }

// topic creates a topic everywhere and waits until its partitions have leaders
// that answer.
func (l *list) topic(name string, partitions int32, configs ...config) {
	l.t.Helper()
	l.send(step{name: "CreateTopics/setup/" + name, build: func(*site) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 7, aMinute
		topic := newTopic(name, partitions, 1, configs...)
		req.Topics = append(req.Topics, topic)
		return req
	}, then: learnCreated})
	l.settle(name, partitions)
}

func newTopic(name string, partitions int32, replicas int16, configs ...config) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for _, c := range configs {
		set := kmsg.NewCreateTopicsRequestTopicConfig()
		set.Name, set.Value = c.key, kmsg.StringPtr(c.value)
		t.Configs = append(t.Configs, set)
	}
	return t
}

func learnCreated(s *site, r kmsg.Response) {
	for _, t := range r.(*kmsg.CreateTopicsResponse).Topics {
		s.learn(t.Topic, t.TopicID)
	}
}

// settle waits until a topic's partitions answer everywhere.
func (l *list) settle(name string, partitions int32) {
	l.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = name
	for i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, -1
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	l.until(req, func(r kmsg.Response) bool {
		for _, t := range r.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return false
				}
			}
		}
		return true
	})
}

// until asks every broker until its answer is as wanted.
func (l *list) until(req kmsg.Request, good func(kmsg.Response) bool) {
	l.t.Helper()
	l.untilOf(func(*site) kmsg.Request { return req }, good)
}

// untilOf is until for a request that each broker has its own of. All are asked
// at the same time: what the first one comes to may be gone when the last one does.
func (l *list) untilOf(req func(*site) kmsg.Request, good func(kmsg.Response) bool) {
	l.t.Helper()
	var all sync.WaitGroup
	var never atomic.Bool
	for _, s := range l.sites {
		all.Go(func() {
			ok := false
			ask := step{conn: "setup", build: req, then: func(_ *site, r kmsg.Response) { ok = good(r) }}
			for deadline := time.Now().Add(answerTimeout); !ok; {
				seen := ask.run(s)
				if !ok && time.Now().After(deadline) {
					l.t.Errorf("%s does not come to %T: %v", s.name, req(s), seen)
					never.Store(true)
					return
				}
				if !ok {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	if never.Load() {
		l.t.FailNow()
	}
}

// gone waits until a topic is nowhere any more.
func (l *list) gone(name string) {
	l.t.Helper()
	l.until(metadata(7, false, &name), func(r kmsg.Response) bool {
		return r.(*kmsg.MetadataResponse).Topics[0].ErrorCode != 0
	})
}

func metadata(version int16, create bool, names ...*string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation, req.Topics = version, create, []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	return req
}

// stop ends the brokers.
func (l *list) stop() {
	for _, n := range l.nodes {
		n.Kill()
	}
}

// chapter is a part of the list.
type chapter struct {
	name string
	send func()
}

func (l *list) run(chapters ...chapter) {
	l.t.Helper()
	for _, c := range chapters {
		began, before := time.Now(), l.steps
		c.send()
		l.t.Logf("%s: %d requests in %v", c.name, l.steps-before, time.Since(began).Round(time.Millisecond))
	}
	l.stop()
}

// TestParity sends the list, in two configurations.
func TestParity(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	found := &ledger{allowed: allowed, used: make([]bool, len(allowed)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "log.retention.ms=-1") // the records are old
	l.run(chapter{"versions", l.versions}, chapter{"frames", l.frames}, chapter{"cluster", l.cluster}, chapter{"topics", l.topics}, chapter{"metadata", l.metadata},
		chapter{"produce", l.produce}, chapter{"idempotence", l.idempotence}, chapter{"offsets", l.offsets}, chapter{"epochs", l.epochs},
		chapter{"fetch", l.fetch}, chapter{"sessions", l.sessions}, chapter{"producer ids", l.producerIDs}, chapter{"pipelines", l.pipelines}, chapter{"admin", l.admin}, chapter{"quotas", l.quotas})
	l = start(t, found, narrowSettings...)
	l.run(chapter{"narrow", l.narrow})
	found.checkPassed(t)
}
