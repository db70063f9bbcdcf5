// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCoordinators asks for coordinators, before there are any and afterwards.
// Those of transactions and of share groups never come: their topics want more
// replicas than there are brokers.
func TestCoordinators(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	own := []allowance{
		{step: `Produce/.*`, path: `.*\.ErrorMessage`, reason: "gregor says what is wrong also where Kafka is silent"},
		{step: `DescribeConfigs/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"},
	}
	found := &ledger{allowed: own, used: make([]bool, len(own)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "offsets.topic.num.partitions=5", "offsets.topic.replication.factor=1", "offsets.topic.segment.bytes=2000000",
		"transaction.state.log.replication.factor=3", "share.coordinator.state.topic.replication.factor=3")
	l.run(chapter{"coordinators", l.coordinators})
}

// Versions and types of FindCoordinator.
const (
	findCoordinatorMax = 6
	coordinatesGroup   = 0
	findBatched        = 4 // the first version that asks for several keys
)

func finding(version int16, kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType = version, kind
	if version < findBatched {
		req.CoordinatorKey = keys[0]
	} else {
		req.CoordinatorKeys = keys
	}
	return req
}

func (l *list) coordinators() {
	const offsets = "__consumer_offsets"
	everywhere := func(name string, kind int8, keys ...string) {
		for v := range int16(findCoordinatorMax + 1) {
			l.one(fmt.Sprintf("FindCoordinator/%s/v%d", name, v), func(*site) kmsg.Request { return finding(v, kind, keys...) })
		}
	}
	l.one("FindCoordinator/first/v4", func(*site) kmsg.Request { return finding(4, coordinatesGroup, "one", "two") })
	l.until(finding(3, coordinatesGroup, "one"), func(r kmsg.Response) bool { return r.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 })
	l.settle(offsets, 5)
	everywhere("group", coordinatesGroup, "one")
	everywhere("empty", coordinatesGroup, "")
	everywhere("several", coordinatesGroup, "one", "two", "one", "äöü😀")
	everywhere("transaction", 1, "tx")
	for _, key := range []string{"group:AAAAAAAAAAAAAAAAAAAAAQ:0", "group:AAAAAAAAAAAAAAAAAAAAAQ", "group", "", ":AAAAAAAAAAAAAAAAAAAAAQ:0", "g:bad:0", "g:AAAAAAAAAAAAAAAAAAAAAQ:x",
		"g:AAAAAAAAAAAAAAAAAAAAAQ:-1", "a:b:AAAAAAAAAAAAAAAAAAAAAQ:0", "g:AAAAAAAAAAAAAAAAAAAAAQ==:0", " :AAAAAAAAAAAAAAAAAAAAAQ:0"} {
		everywhere("share "+key, 2, key)
	}
	everywhere("type 3", 3, "one")
	everywhere("type -1", -1, "one")
	l.one("FindCoordinator/none/v6", func(*site) kmsg.Request { return finding(6, coordinatesGroup) })

	// The topic is the coordinator's: clients see it and may not change it.
	name := offsets
	l.send(step{name: "Metadata/offsets", build: func(*site) kmsg.Request { return metadata(12, false, &name) },
		then: func(s *site, r kmsg.Response) { s.learn(name, r.(*kmsg.MetadataResponse).Topics[0].TopicID) }})
	l.one("DescribeConfigs/offsets", func(*site) kmsg.Request {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version = 4
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofTopic, ResourceName: offsets,
			ConfigNames: []string{"cleanup.policy", "compression.type", "segment.bytes", "min.insync.replicas"}})
		return req
	})
	l.last(offsets, "to offsets", of(spec{}))
	l.one("DeleteRecords/offsets", func(*site) kmsg.Request {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis = 2, aMinute
		req.Topics = append(req.Topics, kmsg.DeleteRecordsRequestTopic{Topic: offsets, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 0}}})
		return req
	})
}
