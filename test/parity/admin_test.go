// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of resources that have configs.
const (
	ofTopic        = 2
	ofBroker       = 4
	ofBrokerLogger = 8
	ofMetrics      = 16
	ofGroup        = 32
)

// admin sends what administrators send.
func (l *list) admin() {
	l.describeConfigs()
	l.alterConfigs()
	l.createPartitions()
	l.deleteRecords()
	l.describePartitions()
	l.elections()
	l.reassignments()
	l.acls()
	l.scram()
}

func (l *list) describeConfigs() {
	l.topic("admin", 2, config{"retention.ms", "5000"}, config{"cleanup.policy", "compact"})
	type resource = kmsg.DescribeConfigsRequestResource
	ask := func(name string, synonyms, docs bool, resources ...resource) {
		l.t.Helper()
		l.each(keyDescribeConfigs, "DescribeConfigs/"+name, func(*site, int16) kmsg.Request {
			return &kmsg.DescribeConfigsRequest{Resources: resources, IncludeSynonyms: synonyms, IncludeDocumentation: docs}
		})
	}
	for _, synonyms := range []bool{false, true} {
		ask(fmt.Sprintf("topic, synonyms %t", synonyms), synonyms, false, resource{ResourceType: ofTopic, ResourceName: "admin"})
	}
	ask("topic, some", true, false, resource{ResourceType: ofTopic, ResourceName: "admin", ConfigNames: []string{"retention.ms", "no.such", "segment.bytes", "retention.ms"}})
	ask("topic, none", true, false, resource{ResourceType: ofTopic, ResourceName: "admin", ConfigNames: []string{}})
	ask("unknown topic", false, false, resource{ResourceType: ofTopic, ResourceName: "unknown"})
	ask("bad topic", false, false, resource{ResourceType: ofTopic, ResourceName: "bad name"}, resource{ResourceType: ofTopic})
	ask("twice", false, false, resource{ResourceType: ofTopic, ResourceName: "admin", ConfigNames: []string{"retention.ms"}}, resource{ResourceType: ofTopic, ResourceName: "admin", ConfigNames: []string{"segment.bytes"}})
	ask("nothing", false, false)
	for _, name := range []string{"1", "2", "x", "-1"} {
		ask("broker "+name, true, false, resource{ResourceType: ofBroker, ResourceName: name, ConfigNames: []string{"num.partitions", "log.retention.ms", "min.insync.replicas", "message.max.bytes", "auto.create.topics.enable", "broker.id", "node.id", "no.such"}})
	}
	ask("cluster default", true, false, resource{ResourceType: ofBroker})
	for _, kind := range []int8{0, 1, 3, 5, ofMetrics, ofGroup, 64, -1} {
		ask(fmt.Sprintf("kind %d", kind), false, false, resource{ResourceType: kmsg.ConfigResourceType(kind), ResourceName: "x", ConfigNames: []string{"no.such"}})
	}
	for _, kinds := range [][]int8{nil, {ofTopic}, {ofBroker}, {ofGroup}, {ofMetrics}, {ofBrokerLogger}, {1}, {ofTopic, 99}} {
		l.each(keyListConfigResources, fmt.Sprintf("ListConfigResources/%v", kinds), func(*site, int16) kmsg.Request {
			return &kmsg.ListConfigResourcesRequest{ResourceTypes: kinds}
		})
	}
}

func (l *list) alterConfigs() {
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	type resource = kmsg.IncrementalAlterConfigsRequestResource
	const set, del, add, subtract = 0, 1, 2, 3
	str := kmsg.StringPtr
	alter := func(name string, check bool, resources ...resource) {
		l.t.Helper()
		l.each(keyIncrementalAlterConfigs, "IncrementalAlterConfigs/"+name, func(*site, int16) kmsg.Request {
			return &kmsg.IncrementalAlterConfigsRequest{ValidateOnly: check, Resources: resources}
		})
	}
	topic := func(changes ...change) resource {
		return resource{ResourceType: ofTopic, ResourceName: "admin", Configs: changes}
	}
	for i, c := range [][]change{
		{{Name: "retention.ms", Op: set, Value: str("7000")}}, {{Name: "retention.ms", Op: set, Value: str("x")}}, {{Name: "retention.ms", Op: set}}, {{Name: "retention.ms", Op: del}}, {{Name: "no.such", Op: set, Value: str("1")}}, {{Name: "no.such", Op: del}},
		{{Name: "cleanup.policy", Op: add, Value: str("delete")}}, {{Name: "cleanup.policy", Op: add, Value: str("compact")}}, {{Name: "cleanup.policy", Op: add, Value: str("x")}}, {{Name: "cleanup.policy", Op: subtract, Value: str("compact")}}, {{Name: "cleanup.policy", Op: subtract, Value: str("x")}},
		{{Name: "retention.ms", Op: add, Value: str("1")}}, {{Name: "retention.ms", Op: subtract, Value: str("1")}}, {{Name: "retention.ms", Op: 4, Value: str("1")}}, {{Name: "retention.ms", Op: -1, Value: str("1")}},
		{{Name: "retention.ms", Op: set, Value: str("1")}, {Name: "retention.ms", Op: set, Value: str("2")}}, {}, {{Name: "", Op: set, Value: str("1")}}, {{Name: "segment.bytes", Op: set, Value: str("1")}}, {{Name: "min.insync.replicas", Op: set, Value: str("5")}},
	} {
		alter(fmt.Sprintf("%d", i), true, topic(c...))
		alter(fmt.Sprintf("%d for good", i), false, topic(c...))
	}
	one := change{Name: "retention.ms", Op: set, Value: str("9000")}
	alter("twice", true, topic(one), topic(one))
	alter("unknown topic", true, resource{ResourceType: ofTopic, ResourceName: "unknown", Configs: []change{one}}, topic(one))
	alter("bad topic", true, resource{ResourceType: ofTopic, ResourceName: "bad name", Configs: []change{one}}, resource{ResourceType: ofTopic, Configs: []change{one}})
	alter("nothing", true)
	for _, kind := range []int8{0, 1, 3, 64} {
		alter(fmt.Sprintf("kind %d", kind), true, resource{ResourceType: kmsg.ConfigResourceType(kind), ResourceName: "x", Configs: []change{one}})
	}
	for _, name := range []string{"1", "2", "x", ""} {
		for _, key := range []string{"log.retention.ms", "log.dirs", "no.such", "node.id"} {
			alter(fmt.Sprintf("broker %q %s", name, key), true, resource{ResourceType: ofBroker, ResourceName: name, Configs: []change{{Name: key, Op: set, Value: str("86400000")}}})
		}
	}
	type old = kmsg.AlterConfigsRequestResourceConfig
	for i, c := range [][]old{{{Name: "retention.ms", Value: str("1000")}}, {{Name: "retention.ms", Value: str("x")}}, {{Name: "retention.ms"}}, {{Name: "no.such", Value: str("1")}}, {}} {
		for _, name := range []string{"admin", "unknown", "bad name"} {
			l.each(keyAlterConfigs, fmt.Sprintf("AlterConfigs/%d of %s", i, name), func(*site, int16) kmsg.Request {
				return &kmsg.AlterConfigsRequest{Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: ofTopic, ResourceName: name, Configs: c}}}
			})
		}
	}
}

func (l *list) createPartitions() {
	type topic = kmsg.CreatePartitionsRequestTopic
	type at = kmsg.CreatePartitionsRequestTopicAssignment
	grow := func(name string, check bool, topics ...topic) {
		l.t.Helper()
		l.each(keyCreatePartitions, "CreatePartitions/"+name, func(*site, int16) kmsg.Request {
			return &kmsg.CreatePartitionsRequest{TimeoutMillis: aMinute, ValidateOnly: check, Topics: topics}
		})
	}
	l.topic("grows", 2)
	for _, n := range []int32{-1, 0, 1, 2, 3, 10, 10_003, math.MaxInt32} {
		grow(fmt.Sprintf("to %d", n), true, topic{Topic: "grows", Count: n})
	}
	for i, c := range [][]at{{}, {{Replicas: []int32{1}}}, {{Replicas: []int32{1}}, {Replicas: []int32{1}}}, {{Replicas: []int32{2}}}, {{Replicas: []int32{1, 1}}}, {{Replicas: []int32{1, 2}}}, {{}}, {{Replicas: []int32{-1}}}} {
		grow(fmt.Sprintf("assignment %d", i), true, topic{Topic: "grows", Count: 3, Assignment: c})
	}
	grow("unknown", true, topic{Topic: "unknown", Count: 5}, topic{Topic: "bad name", Count: 5}, topic{Count: 5})
	grow("twice", true, topic{Topic: "grows", Count: 5}, topic{Topic: "grows", Count: 6})
	grow("nothing", true)
	grow("for good", false, topic{Topic: "grows", Count: 4})
	l.settle("grows", 4)
	l.from(keyMetadata, 7, "CreatePartitions/grown", func(*site, int16) kmsg.Request { return metadata(0, false, kmsg.StringPtr("grows")) })
}

func (l *list) deleteRecords() {
	type topic = kmsg.DeleteRecordsRequestTopic
	type partition = kmsg.DeleteRecordsRequestTopicPartition
	cut := func(name string, topics ...topic) {
		l.t.Helper()
		l.each(keyDeleteRecords, "DeleteRecords/"+name, func(*site, int16) kmsg.Request {
			return &kmsg.DeleteRecordsRequest{TimeoutMillis: aMinute, Topics: topics}
		})
	}
	l.topic("cut", 2)
	for i := range 5 {
		l.last("cut", fmt.Sprint(i), of(spec{records: 10}))
	}
	for _, offset := range []int64{0, 5, 10, 3, 0, 51, 1000, -2, math.MaxInt64, 20} {
		cut(fmt.Sprintf("to %d", offset), topic{Topic: "cut", Partitions: []partition{{Partition: 0, Offset: offset}}})
	}
	l.each(keyFetch, "DeleteRecords/Fetch at 0", func(s *site, v int16) kmsg.Request { return fetching(v, part{topic: "cut", id: s.id("cut")}) })
	l.each(keyFetch, "DeleteRecords/Fetch at 20", func(s *site, v int16) kmsg.Request {
		return fetching(v, part{topic: "cut", id: s.id("cut"), offset: 20})
	})
	for _, ts := range []int64{-1, -2, -3, -4, 0} {
		l.each(keyListOffsets, fmt.Sprintf("DeleteRecords/ListOffsets %d", ts), func(*site, int16) kmsg.Request {
			return listing(-1, 0, offsetOf{topic: "cut", timestamp: ts})
		})
	}
	l.each(keyProduce, "DeleteRecords/Produce", func(s *site, v int16) kmsg.Request {
		return producing(v, "cut", s.id("cut"), 0, -1, of(spec{}))
	})
	cut("all", topic{Topic: "cut", Partitions: []partition{{Partition: 0, Offset: -1}}})
	cut("empty", topic{Topic: "cut", Partitions: []partition{{Partition: 1, Offset: -1}}})
	cut("unknown", topic{Topic: "unknown", Partitions: []partition{{Partition: 0}}}, topic{Topic: "cut", Partitions: []partition{{Partition: 9}}})
	cut("compacted", topic{Topic: "admin", Partitions: []partition{{Partition: 0}}})
	cut("nothing")
}

func (l *list) describePartitions() {
	type topic = kmsg.DescribeTopicPartitionsRequestTopic
	type cursor = kmsg.DescribeTopicPartitionsRequestCursor
	for i, c := range []*kmsg.DescribeTopicPartitionsRequest{
		{Topics: []topic{{Topic: "meta"}, {Topic: "admin"}}, ResponsePartitionLimit: 2000}, {Topics: []topic{{Topic: "meta"}, {Topic: "admin"}}, ResponsePartitionLimit: 2}, {Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: 0}, {Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: -1},
		{Topics: []topic{{Topic: ""}}, ResponsePartitionLimit: 10}, {Topics: []topic{{Topic: "unknown"}, {Topic: "admin"}}, ResponsePartitionLimit: 10}, {Topics: []topic{{Topic: "bad name"}}, ResponsePartitionLimit: 10}, {Topics: []topic{{Topic: "meta"}, {Topic: "meta"}}, ResponsePartitionLimit: 10},
		{Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: 1, Cursor: &cursor{Topic: "meta", Partition: 1}}, {Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: 10, Cursor: &cursor{Topic: "meta", Partition: -1}}, {Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: 10, Cursor: &cursor{Topic: "meta", Partition: 99}},
		{Topics: []topic{{Topic: "admin"}, {Topic: "meta"}}, ResponsePartitionLimit: 10, Cursor: &cursor{Topic: "b", Partition: 0}}, {Topics: []topic{{Topic: "meta"}}, ResponsePartitionLimit: 10, Cursor: &cursor{Topic: "zzz", Partition: 0}},
	} {
		l.each(keyDescribeTopicPartitions, fmt.Sprintf("DescribeTopicPartitions/%d", i), func(*site, int16) kmsg.Request { again := *c; return &again })
	}
}

func (l *list) elections() {
	type topic = kmsg.ElectLeadersRequestTopic
	for _, kind := range []int8{0, 1, 2, -1} {
		for i, topics := range [][]topic{nil, {}, {{Topic: "meta", Partitions: []int32{0, 1}}}, {{Topic: "meta", Partitions: []int32{9}}, {Topic: "unknown", Partitions: []int32{0}}}, {{Topic: "meta", Partitions: []int32{0, 0}}}} {
			l.each(keyElectLeaders, fmt.Sprintf("ElectLeaders/kind %d, %d", kind, i), func(*site, int16) kmsg.Request {
				return &kmsg.ElectLeadersRequest{ElectionType: kind, Topics: topics, TimeoutMillis: aMinute}
			})
		}
	}
}
