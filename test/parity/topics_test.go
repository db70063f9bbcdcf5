// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topics creates and deletes topics, rightly and wrongly.
func (l *list) topics() {
	create := func(topics ...kmsg.CreateTopicsRequestTopic) func(*site, int16) kmsg.Request {
		return func(*site, int16) kmsg.Request {
			return &kmsg.CreateTopicsRequest{TimeoutMillis: aMinute, Topics: topics}
		}
	}
	check := func(topics ...kmsg.CreateTopicsRequestTopic) func(*site, int16) kmsg.Request {
		return func(*site, int16) kmsg.Request {
			return &kmsg.CreateTopicsRequest{TimeoutMillis: aMinute, ValidateOnly: true, Topics: topics}
		}
	}
	for v := served[keyCreateTopics][0]; v <= served[keyCreateTopics][1]; v++ {
		name := fmt.Sprintf("made-v%d", v)
		l.send(step{name: fmt.Sprintf("CreateTopics/plain/v%d", v), build: func(s *site) kmsg.Request {
			req := create(newTopic(name, 2, 1, config{"retention.ms", "1000"}, config{"cleanup.policy", "compact"}))(s, v)
			req.SetVersion(v)
			return req
		}, then: learnCreated})
	}
	for v := served[keyCreateTopics][0]; v <= served[keyCreateTopics][1]; v++ {
		name := fmt.Sprintf("made-v%d", v)
		l.settle(name, 2)
		l.send(step{name: fmt.Sprintf("CreateTopics/made/v%d", v), build: func(*site) kmsg.Request { return metadata(12, false, &name) },
			then: func(s *site, r kmsg.Response) { s.learn(name, r.(*kmsg.MetadataResponse).Topics[0].TopicID) }})
	}
	l.each(keyCreateTopics, "CreateTopics/exists", create(newTopic("made-v7", 1, 1)))
	l.each(keyCreateTopics, "CreateTopics/exists, only checked", check(newTopic("made-v7", 1, 1)))
	l.each(keyCreateTopics, "CreateTopics/only checked", check(newTopic("checked", 3, 1)))
	l.each(keyCreateTopics, "CreateTopics/default counts", check(newTopic("checked", -1, -1)))
	l.each(keyCreateTopics, "CreateTopics/default partitions", check(newTopic("checked", -1, 1)))
	l.each(keyCreateTopics, "CreateTopics/nothing asked", create())
	l.each(keyCreateTopics, "CreateTopics/twice in one request", create(newTopic("twice", 1, 1), newTopic("twice", 2, 1)))
	l.each(keyCreateTopics, "CreateTopics/twice, and another", check(newTopic("twice", 1, 1), newTopic("once", 1, 1), newTopic("twice", 2, 1)))
	l.each(keyCreateTopics, "CreateTopics/good and bad together", check(newTopic("good", 1, 1), newTopic("bad name", 1, 1), newTopic("too-many", 1, 5)))
	for _, c := range []struct {
		name       string
		partitions int32
		replicas   int16
	}{
		{"no partitions", 0, 1}, {"-2 partitions", -2, 1}, {"no replicas", 1, 0}, {"-2 replicas", 1, -2}, {"2 replicas", 1, 2}, {"32767 replicas", 1, 32767},
		{"10001 partitions", 10_001, 1}, {"a billion partitions", 1_000_000_000, 1},
	} {
		l.each(keyCreateTopics, "CreateTopics/"+c.name, check(newTopic("checked", c.partitions, c.replicas)))
	}
	for i, name := range badNames {
		l.each(keyCreateTopics, fmt.Sprintf("CreateTopics/name %d", i), check(newTopic(name, 1, 1)))
	}
	for _, name := range []string{"a", "A.b_c-D9", strings.Repeat("x", 249), "__internal", "-", "_", "...", "1"} {
		l.each(keyCreateTopics, fmt.Sprintf("CreateTopics/good name %.10s", name), check(newTopic(name, 1, 1)))
	}
	l.topic("coll.ides_here", 1)
	l.each(keyCreateTopics, "CreateTopics/collides", check(newTopic("coll_ides.here", 1, 1)))
	l.each(keyCreateTopics, "CreateTopics/collides in one request", check(newTopic("x.y", 1, 1), newTopic("x_y", 1, 1)))
	l.each(keyCreateTopics, "CreateTopics/internal names", check(newTopic("__consumer_offsets", 1, 1), newTopic("__transaction_state", 1, 1), newTopic("__cluster_metadata", 1, 1), newTopic("__share_group_state", 1, 1)))
	l.configs(check)
	l.assignments(check)
	l.deletes()
}

// badNames are names that no topic may have.
var badNames = []string{"", ".", "..", "a b", "a/b", "ä", strings.Repeat("x", 250), "a\x00b", "a:b", "a,b", "名前", " "}

func (l *list) configs(check func(...kmsg.CreateTopicsRequestTopic) func(*site, int16) kmsg.Request) {
	for i, c := range [][]config{
		{{"no.such.config", "1"}}, {{"retention.ms", "x"}}, {{"retention.ms", ""}}, {{"retention.ms", "-2"}}, {{"retention.ms", "99999999999999999999"}},
		{{"cleanup.policy", "x"}}, {{"cleanup.policy", "compact,delete"}}, {{"cleanup.policy", "delete,delete"}}, {{"cleanup.policy", ""}},
		{{"compression.type", "lzma"}}, {{"compression.type", "zstd"}}, {{"compression.type", "ZSTD"}}, {{"min.insync.replicas", "0"}}, {{"min.insync.replicas", "1"}},
		{{"segment.bytes", "13"}}, {{"segment.bytes", "1048576"}}, {{"max.message.bytes", "-1"}}, {{"message.timestamp.type", "x"}}, {{"message.timestamp.type", "LogAppendTime"}},
		{{"retention.ms", "1000"}, {"retention.bytes", "x"}}, {{"retention.ms", "1"}, {"retention.ms", "2"}}, {{"segment.ms", "0"}}, {{"flush.ms", "0"}}, {{"flush.messages", "0"}},
		{{"min.cleanable.dirty.ratio", "1.1"}}, {{"min.cleanable.dirty.ratio", "0.5"}}, {{"preallocate", "yes"}}, {{"preallocate", "true"}}, {{"unclean.leader.election.enable", "true"}},
		{{"min.compaction.lag.ms", "10"}, {"max.compaction.lag.ms", "5"}}, {{"local.retention.ms", "5"}}, {{"retention.ms", "5"}, {"local.retention.ms", "10"}}, {{"retention.bytes", "5"}, {"local.retention.bytes", "10"}},
		{{"remote.storage.enable", "true"}}, {{"remote.storage.enable", "false"}}, {{"remote.log.copy.disable", "true"}}, {{"remote.log.delete.on.disable", "true"}},
		{{"message.format.version", "2.8"}}, {{"message.downconversion.enable", "false"}}, {{"message.timestamp.difference.max.ms", "1"}}, {{"message.timestamp.before.max.ms", "-1"}}, {{"message.timestamp.after.max.ms", "10"}},
		{{"leader.replication.throttled.replicas", "*"}}, {{"leader.replication.throttled.replicas", "0:1"}}, {{"follower.replication.throttled.replicas", "x"}}, {{"leader.replication.throttled.replicas", ""}},
		{{"index.interval.bytes", "-1"}}, {{"segment.index.bytes", "3"}}, {{"segment.jitter.ms", "-1"}}, {{"file.delete.delay.ms", "-1"}}, {{"delete.retention.ms", "-1"}},
		{{"compression.gzip.level", "10"}}, {{"compression.gzip.level", "-1"}}, {{"compression.gzip.level", "0"}}, {{"compression.lz4.level", "18"}}, {{"compression.zstd.level", "23"}}, {{"compression.zstd.level", "-5"}},
		{{"retention.ms", " 1000 "}}, {{"cleanup.policy", " compact , delete "}}, {{"preallocate", "TRUE"}}, {{"max.message.bytes", "2147483648"}}, {{"", "x"}}, {{"errors.deadletterqueue.group.enable", "true"}},
	} {
		name := fmt.Sprintf("CreateTopics/config %d %v", i, c)
		l.from(keyCreateTopics, 5, name, check(newTopic("configured", 1, 1, c...)))
		l.send(step{name: name + "/v2", build: func(s *site) kmsg.Request {
			req := check(newTopic("configured", 1, 1, c...))(s, 2)
			req.SetVersion(2)
			return req
		}})
	}
	l.each(keyCreateTopics, "CreateTopics/null value", func(s *site, v int16) kmsg.Request {
		topic := newTopic("configured", 1, 1, config{"retention.ms", "1"}, config{"segment.ms", "5"})
		topic.Configs[0].Value = nil
		return check(topic)(s, v)
	})
}

func (l *list) assignments(check func(...kmsg.CreateTopicsRequestTopic) func(*site, int16) kmsg.Request) {
	type places = map[int32][]int32
	for i, c := range []struct {
		partitions int32
		replicas   int16
		at         places
	}{
		{-1, -1, places{0: {1}}}, {-1, -1, places{0: {1}, 1: {1}, 2: {1}}}, {-1, -1, places{1: {1}}}, {-1, -1, places{0: {1}, 2: {1}}}, {-1, -1, places{0: {2}}},
		{-1, -1, places{0: {1, 1}}}, {-1, -1, places{0: {1, 2}}}, {-1, -1, places{0: {}}}, {-1, -1, places{0: {1}, 1: {1, 2}}}, {1, -1, places{0: {1}}}, {-1, 1, places{0: {1}}},
		{1, 1, places{0: {1}}}, {2, 2, places{0: {1}}}, {-1, -1, places{-1: {1}}}, {-1, -1, places{0: {-1}}}, {0, 0, places{0: {1}}},
	} {
		l.each(keyCreateTopics, fmt.Sprintf("CreateTopics/assignment %d %v", i, c), func(s *site, v int16) kmsg.Request {
			topic := newTopic("assigned", c.partitions, c.replicas)
			for _, p := range sorted(c.at) {
				topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: p, Replicas: c.at[p]})
			}
			return check(topic)(s, v)
		})
	}
	l.each(keyCreateTopics, "CreateTopics/assignment twice", func(s *site, v int16) kmsg.Request {
		topic := newTopic("assigned", -1, -1)
		for range 2 {
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: 0, Replicas: []int32{1}})
		}
		return check(topic)(s, v)
	})
}

func (l *list) deletes() {
	byName := func(names ...string) func(*site, int16) kmsg.Request {
		return func(_ *site, v int16) kmsg.Request {
			req := &kmsg.DeleteTopicsRequest{TimeoutMillis: aMinute, TopicNames: names}
			for _, n := range names {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr(n)})
			}
			return req
		}
	}
	l.each(keyDeleteTopics, "DeleteTopics/unknown", byName("unknown"))
	l.each(keyDeleteTopics, "DeleteTopics/unknown, empty and bad", byName("unknown", "", "bad name"))
	l.each(keyDeleteTopics, "DeleteTopics/nothing asked", byName())
	for v := served[keyDeleteTopics][0]; v <= served[keyDeleteTopics][1]; v++ {
		one, two := fmt.Sprintf("away-v%d", v), fmt.Sprintf("away-too-v%d", v)
		l.topic(one, 1)
		l.topic(two, 2)
		for _, round := range []string{"first", "again"} {
			l.send(step{name: fmt.Sprintf("DeleteTopics/%s/v%d", round, v), build: func(s *site) kmsg.Request {
				req := byName(one, "unknown", two)(s, v)
				req.SetVersion(v)
				return req
			}})
			l.gone(one)
			l.gone(two)
		}
		l.topic(one, 1)
		l.send(step{name: fmt.Sprintf("DeleteTopics/twice in one request/v%d", v), build: func(s *site) kmsg.Request {
			req := byName(one, one, "unknown", "unknown")(s, v)
			req.SetVersion(v)
			return req
		}})
	}
	l.topic("ids-1", 1)
	l.topic("ids-2", 1)
	ids := func(name string, topics func(s *site) []kmsg.DeleteTopicsRequestTopic) {
		l.one("DeleteTopics/"+name+"/v6", func(s *site) kmsg.Request {
			return &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: aMinute, Topics: topics(s)}
		})
	}
	type asked = kmsg.DeleteTopicsRequestTopic
	ids("unknown id", func(*site) []asked { return []asked{{TopicID: [16]byte{9}}} })
	ids("name and id", func(s *site) []asked { return []asked{{Topic: kmsg.StringPtr("ids-1"), TopicID: s.id("ids-1")}} })
	ids("neither", func(*site) []asked { return []asked{{}} })
	ids("neither, twice", func(*site) []asked { return []asked{{}, {}} })
	ids("name and id of one", func(s *site) []asked {
		return []asked{{Topic: kmsg.StringPtr("ids-1")}, {TopicID: s.id("ids-1")}}
	})
	ids("id twice", func(s *site) []asked { return []asked{{TopicID: s.id("ids-2")}, {TopicID: s.id("ids-2")}} })
	ids("id", func(s *site) []asked { return []asked{{TopicID: s.id("ids-2")}} })
	ids("id again", func(s *site) []asked { return []asked{{TopicID: s.id("ids-2")}} })
	ids("all at once", func(s *site) []asked {
		return []asked{{TopicID: s.id("ids-1")}, {TopicID: [16]byte{9}}, {Topic: kmsg.StringPtr("unknown")}, {}, {Topic: kmsg.StringPtr("x"), TopicID: [16]byte{8}}}
	})
}

// metadata asks for topics.
func (l *list) metadata() {
	str := kmsg.StringPtr
	l.topic("meta", 3)
	ask := func(create bool, names ...*string) func(*site, int16) kmsg.Request {
		return func(*site, int16) kmsg.Request { return metadata(0, create, names...) }
	}
	l.each(keyMetadata, "Metadata/one", ask(false, str("meta")))
	l.each(keyMetadata, "Metadata/unknown", func(s *site, v int16) kmsg.Request {
		if v < 4 {
			return metadata(v, false, str("meta")) // would create it
		}
		return metadata(v, false, str("unknown"))
	})
	l.each(keyMetadata, "Metadata/none", func(s *site, v int16) kmsg.Request { return metadata(v, false) })
	l.each(keyMetadata, "Metadata/all", func(*site, int16) kmsg.Request { return &kmsg.MetadataRequest{} })
	l.each(keyMetadata, "Metadata/twice", ask(false, str("meta"), str("made-v2"), str("meta")))
	for i, name := range badNames {
		l.each(keyMetadata, fmt.Sprintf("Metadata/name %d", i), ask(false, str(name)))
		l.each(keyMetadata, fmt.Sprintf("Metadata/name %d, create", i), ask(true, str(name)))
	}
	l.from(keyMetadata, 10, "Metadata/null name", ask(false, nil))
	l.from(keyMetadata, 10, "Metadata/null name and another", ask(false, nil, str("meta")))
	l.from(keyMetadata, 8, "Metadata/operations", func(*site, int16) kmsg.Request {
		req := metadata(0, false, str("meta"), str("unknown"), str("bad name"))
		req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
		return req
	})
	l.from(keyMetadata, 10, "Metadata/operations of an id", func(*site, int16) kmsg.Request {
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{TopicID: [16]byte{7}}}, IncludeTopicAuthorizedOperations: true}
	})
	l.from(keyMetadata, 10, "Metadata/id", func(s *site, _ int16) kmsg.Request {
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{TopicID: s.id("meta")}}}
	})
	l.from(keyMetadata, 10, "Metadata/ids", func(s *site, _ int16) kmsg.Request {
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{TopicID: s.id("meta")}, {TopicID: [16]byte{7}}, {TopicID: s.id("meta")}, {TopicID: s.id("ids-2")}}}
	})
	l.from(keyMetadata, 10, "Metadata/id and name", func(s *site, _ int16) kmsg.Request {
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{TopicID: s.id("meta"), Topic: str("made-v2")}}}
	})
	l.from(keyMetadata, 10, "Metadata/id and another's name", func(s *site, _ int16) kmsg.Request {
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{TopicID: s.id("meta")}, {Topic: str("made-v2")}}}
	})
	l.autoCreate()
}

// autoCreate asks for topics that are not there, and for them to be made.
func (l *list) autoCreate() {
	str := kmsg.StringPtr
	for v := served[keyMetadata][0]; v <= served[keyMetadata][1]; v++ {
		name := fmt.Sprintf("auto-v%d", v)
		l.one(fmt.Sprintf("Metadata/create/v%d", v), func(*site) kmsg.Request { return metadata(v, true, &name) })
		l.until(metadata(12, false, &name), func(r kmsg.Response) bool {
			topics := r.(*kmsg.MetadataResponse).Topics
			return topics[0].ErrorCode == 0 && !slices.ContainsFunc(topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.ErrorCode != 0 })
		})
		l.settle(name, 1)
		l.send(step{name: fmt.Sprintf("Metadata/created/v%d", v), build: func(*site) kmsg.Request { return metadata(12, false, &name) },
			then: func(s *site, r kmsg.Response) { s.learn(name, r.(*kmsg.MetadataResponse).Topics[0].TopicID) }})
	}
	l.from(keyMetadata, 4, "Metadata/create, but not asked to", func(*site, int16) kmsg.Request { return metadata(0, false, str("not-made")) })
	l.each(keyMetadata, "Metadata/create what collides", func(*site, int16) kmsg.Request { return metadata(0, true, str("coll_ides_here")) })
	l.from(keyMetadata, 4, "Metadata/internal", func(*site, int16) kmsg.Request {
		return metadata(0, false, str("__consumer_offsets"), str("__transaction_state"), str("__share_group_state"), str("__cluster_metadata"))
	})
}
