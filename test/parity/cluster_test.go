// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestOperation compares what operators of a cluster are told.
func TestOperation(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	own := slices.Concat(anywhere, operationAllowed)
	found := &ledger{allowed: own, used: make([]bool, len(own)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "log.retention.ms=-1", "auto.create.topics.enable=false")
	l.topic("meta", 2)
	l.run(chapter{"operation", l.operate})
}

// anywhere are differences that may be in every list.
var anywhere = []allowance{
	{step: `.*`, path: `.*\.order`, sometimes: true, reason: "Kafka's order is that of a hash table"},
	{step: `(CreateTopics|DescribeConfigs|badinput/CreateTopics|badinput/DescribeConfigs)/.*`, path: `.*Configs\.len|.*Configs\[gregor\..*`, sometimes: true, reason: "keys of gregor's own"},
}

// operationAllowed are the differences that may be.
var operationAllowed = []allowance{}

// operate sends what operators of a cluster send.
func (l *list) operate() {
	l.quorum()
	l.features()
	l.unregister()
	l.logDirs()
	l.producers()
	l.markers()
}

// quorum asks for the metadata quorum.
func (l *list) quorum() {
	type topic = kmsg.DescribeQuorumRequestTopic
	type partition = kmsg.DescribeQuorumRequestTopicPartition
	const metadataTopic = "__cluster_metadata"
	for name, topics := range byName(map[string][]topic{
		"metadata":                 {{Topic: metadataTopic, Partitions: []partition{{Partition: 0}}}},
		"partition 1":              {{Topic: metadataTopic, Partitions: []partition{{Partition: 1}}}},
		"partitions 0 and 1":       {{Topic: metadataTopic, Partitions: []partition{{Partition: 0}, {Partition: 1}}}},
		"partition 0 twice":        {{Topic: metadataTopic, Partitions: []partition{{}, {}}}},
		"topic twice":              {{Topic: metadataTopic, Partitions: []partition{{}}}, {Topic: metadataTopic, Partitions: []partition{{}}}},
		"another topic":            {{Topic: "meta", Partitions: []partition{{Partition: 0}}}},
		"unknown topic":            {{Topic: "unknown", Partitions: []partition{{Partition: 0}}}},
		"no name":                  {{Partitions: []partition{{Partition: 0}}}},
		"no partitions":            {{Topic: metadataTopic, Partitions: []partition{}}},
		"nothing":                  {},
		"metadata and another one": {{Topic: metadataTopic, Partitions: []partition{{Partition: 0}}}, {Topic: "meta", Partitions: []partition{{Partition: 0}}}},
	}) {
		l.each(keyDescribeQuorum, "DescribeQuorum/"+name, func(*site, int16) kmsg.Request { return &kmsg.DescribeQuorumRequest{Topics: topics} })
	}
}

// features changes levels of features, for show only.
func (l *list) features() {
	type update = kmsg.UpdateFeaturesRequestFeatureUpdate
	set := func(name string, updates ...update) {
		l.t.Helper()
		l.from(keyUpdateFeatures, 1, "UpdateFeatures/"+name, func(*site, int16) kmsg.Request {
			return &kmsg.UpdateFeaturesRequest{TimeoutMillis: aMinute, ValidateOnly: true, FeatureUpdates: updates}
		})
	}
	const upgrade, safe, unsafe = 1, 2, 3
	for _, feature := range []string{"metadata.version", "kraft.version", "unknown.version", ""} {
		for _, level := range []int16{-1, 0, 1, 2, 7, 20, 28, 29, 32, 33, 34, math.MaxInt16} {
			for _, how := range []int8{upgrade, safe, unsafe} {
				set(fmt.Sprintf("%s %d by %d", feature, level, how), update{Feature: feature, MaxVersionLevel: level, UpgradeType: how})
			}
		}
	}
	for _, how := range []int8{-1, 0, 4, math.MaxInt8} {
		set(fmt.Sprintf("way %d", how), update{Feature: "metadata.version", MaxVersionLevel: 33, UpgradeType: how})
	}
	set("nothing")
	set("twice", update{Feature: "metadata.version", MaxVersionLevel: 33, UpgradeType: upgrade}, update{Feature: "metadata.version", MaxVersionLevel: 33, UpgradeType: upgrade})
	set("right and wrong", update{Feature: "metadata.version", MaxVersionLevel: 33, UpgradeType: upgrade}, update{Feature: "unknown.version", MaxVersionLevel: 1, UpgradeType: upgrade})
	// The first version cannot say that it is for show: these change nothing.
	for _, u := range []update{{Feature: "metadata.version", MaxVersionLevel: 33}, {Feature: "metadata.version", MaxVersionLevel: 34}, {Feature: "unknown.version", MaxVersionLevel: 1}, {Feature: "kraft.version", MaxVersionLevel: 1},
		{Feature: "metadata.version", MaxVersionLevel: 0, AllowDowngrade: true}, {Feature: "metadata.version", MaxVersionLevel: -1}} {
		l.one(fmt.Sprintf("UpdateFeatures/for good, %s %d, %t/v0", u.Feature, u.MaxVersionLevel, u.AllowDowngrade), func(*site) kmsg.Request {
			return &kmsg.UpdateFeaturesRequest{TimeoutMillis: aMinute, FeatureUpdates: []update{u}}
		})
	}
}

// unregister forgets brokers that are not there.
func (l *list) unregister() {
	for _, id := range []int32{2, 0, -1, math.MaxInt32, math.MinInt32} {
		l.each(keyUnregisterBroker, fmt.Sprintf("UnregisterBroker/%d", id), func(*site, int16) kmsg.Request {
			return &kmsg.UnregisterBrokerRequest{BrokerID: id}
		})
	}
}

// logDirs asks for what is on disk.
func (l *list) logDirs() {
	type topic = kmsg.DescribeLogDirsRequestTopic
	l.topic("on-disk", 2)
	l.last("on-disk", "logdirs", of(spec{records: 3}))
	for name, topics := range byName(map[string][]topic{
		"one": {{Topic: "on-disk", Partitions: []int32{0}}}, "both": {{Topic: "on-disk", Partitions: []int32{1, 0}}}, "twice": {{Topic: "on-disk", Partitions: []int32{0, 0}}},
		"topic twice": {{Topic: "on-disk", Partitions: []int32{0}}, {Topic: "on-disk", Partitions: []int32{1}}}, "unknown partition": {{Topic: "on-disk", Partitions: []int32{0, 9, -1}}},
		"unknown topic": {{Topic: "unknown", Partitions: []int32{0}}}, "no partitions": {{Topic: "on-disk", Partitions: []int32{}}}, "nothing": {}, "all": nil, "no name": {{Partitions: []int32{0}}},
		"bad name": {{Topic: "bad name", Partitions: []int32{0}}},
	}) {
		l.each(keyDescribeLogDirs, "DescribeLogDirs/"+name, func(*site, int16) kmsg.Request { return &kmsg.DescribeLogDirsRequest{Topics: topics} })
	}
}

// producers asks for those that a partition remembers.
func (l *list) producers() {
	type topic = kmsg.DescribeProducersRequestTopic
	l.topic("produced", 2)
	for i, s := range []spec{{}, {producer: 70_000}, {producer: 70_000, sequence: 1, records: 4}, {producer: 70_001, epoch: 3}} {
		l.last("produced", fmt.Sprintf("producers %d", i), of(s))
	}
	for name, topics := range byName(map[string][]topic{
		"some": {{Topic: "produced", Partitions: []int32{0}}}, "none": {{Topic: "produced", Partitions: []int32{1}}}, "both": {{Topic: "produced", Partitions: []int32{0, 1}}},
		"twice": {{Topic: "produced", Partitions: []int32{1, 1}}}, "topic twice": {{Topic: "produced", Partitions: []int32{1}}, {Topic: "produced", Partitions: []int32{1}}},
		"unknown partition": {{Topic: "produced", Partitions: []int32{9, -1}}}, "unknown topic": {{Topic: "unknown", Partitions: []int32{0}}}, "bad name": {{Topic: "bad name", Partitions: []int32{0}}},
		"no name": {{Partitions: []int32{0}}}, "no partitions": {{Topic: "produced", Partitions: []int32{}}}, "nothing": {},
	}) {
		l.each(keyDescribeProducers, "DescribeProducers/"+name, func(*site, int16) kmsg.Request { return &kmsg.DescribeProducersRequest{Topics: topics} })
	}
}
