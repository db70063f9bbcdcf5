// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/badinput"
)

// TestBadInput compares what becomes of requests that no client should send.
func TestBadInput(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	own := slices.Concat(anywhere, badInputAllowed)
	found := &ledger{allowed: own, used: make([]bool, len(own)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1")
	l.run(chapter{"bad input", l.badInput})
}

// badInputAllowed are the differences that may be.
var badInputAllowed = []allowance{
	{step: `badinput/ApiVersions/.*`, path: `ApiKeys\.(len|order)|ApiKeys\[(` + notBuilt() + `)\].*`, reason: "APIs that gregor does not have yet"},
	{step: `badinput/ApiVersions/.*`, path: `SupportedFeatures\.len|SupportedFeatures\[(share|streams|transaction|eligible\.leader\.replicas)\.version\].*`, reason: "features that gregor does not have yet"},
	{step: `badinput/ListGroups/.*`, path: `Groups\[a[^b].*`, reason: "a group whose name is not UTF-8 has replacement characters for Kafka, and its bytes for gregor"},
	{step: `badinput/.* is not UTF-8/.*`, path: `.*`, reason: "Kafka answers with replacement characters, gregor with the bytes that it got"},
	{step: `badinput/.* is 32767 long/.*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR, or never answers, where its text for the error is too long to be sent; gregor cuts the text"},
	{step: `badinput/.* claims 4 billion/.*`, path: `.*`, reason: "a length below -1 is malformed; Kafka takes it for null"},
	{step: `badinput/.*/TimeoutMillis is (the least|-2|-1|0|2|100)/.*`, path: `.*`, apache: `7|-1|null|zero|\(absent\)|[0-9]+`, reason: "Kafka lets a request without time fail; gregor gives each a second"},
	{step: `badinput/(Fetch|ListOffsets)/IsolationLevel is .*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for isolation levels that are none"},
	{step: `badinput/Fetch/.*MaxBytes is (the least|-.)/.*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for limits below 0, which gregor takes for 0"},
	{step: `badinput/Fetch/SessionID is the (least|most)/.*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for ids far from those it gives"},
	{step: `badinput/Fetch/.*`, path: `.*RecordBatches\.part`, sometimes: true, reason: "gregor sends whole batches; Kafka cuts the last one where the limit is"},
	{step: `badinput/Fetch/.*`, path: `.*RecordBatches\[.*`, sometimes: true, reason: "records carry the time at which each broker was sent them"},
	{step: `badinput/Produce/.*`, path: `.*\.ErrorMessage`, reason: "gregor says in its own words what is wrong with a batch, also where Kafka is silent"},
	{step: `badinput/Produce/Topics.Partitions is empty/.*`, path: `Topics.*`, reason: "Kafka leaves topics without partitions out of its answer"},
	{step: `badinput/ListOffsets/Topics(.Partitions)? is (there twice|empty)/.*`, path: `Topics.*`, reason: "gregor answers each partition as often as it is asked for, and topics without partitions"},
	{step: `badinput/Metadata/Topics.Topic is null/v1[23]`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for a topic without name and id; gregor leaves it out"},
	{step: `badinput/InitProducerID/TransactionalID .*`, path: `.*`, reason: "there are no transactions yet"},
	{step: `badinput/DescribeConfigs/.*`, path: `.*Documentation`, reason: "gregor explains keys in its own words"},
	{step: `badinput/AlterConfigs/Resources is there twice/.*`, path: `.*`, apache: `no answer|\(absent\)`, reason: "Kafka fails, and never answers"},
	{step: `badinput/DescribeLogDirs/.*`, path: `.*Size`, reason: "DeleteRecords has given back the room of what is deleted, which Kafka keeps in the active segment"},
	{step: `badinput/IncrementalAlterConfigs/.*Op is .*`, path: `.*Error(Code|Message)`, apache: `-1|null`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for operations that are none"},
	{step: `badinput/WriteTxnMarkers/Markers.(ProducerID|ProducerEpoch|TransactionVersion) is (the least|-.)/.*`, path: `.*ErrorCode`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for a marker of producer, epoch or version -1, and judges lower ones as if they were some; gregor refuses what is below 0"},
	{step: `badinput/WriteTxnMarkers/Markers.Topics(.Partitions)? is there twice/.*`, path: `.*`, apache: `no answer|\(absent\)`, reason: "Kafka counts the partitions and never answers"},
	{step: `badinput/ConsumerGroupHeartbeat/.*`, path: `ErrorMessage`, reason: "gregor says in its own words why a member is refused"},
	{step: `badinput/DescribeTopicPartitions/Cursor.Partition is the most/.*`, path: `NextCursor.*`, reason: "Kafka's next partition is less than 0"},
}

// ofProduce are cases that are compared elsewhere, as they leave different logs
// behind, or that Kafka does not answer at all: it fails, and forgets the
// request.
var ofProduce = map[string]bool{
	"Topics is there twice": true, "Topics.Partitions is there twice": true,
	"Topics.Partitions.Records is null": true, "Topics.Partitions.Records claims 4 billion": true,
}

// badInput sends what can be wrong in one place of a request, for every API and
// version. Of the requests that end too early there are a few.
func (l *list) badInput() {
	l.topic(badinput.Topic, 1)
	l.until(finding(3, coordinatesGroup, "abc"), func(r kmsg.Response) bool { return r.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 })
	l.until(beating(3, "abc", "nobody", 1), func(r kmsg.Response) bool { return r.(*kmsg.HeartbeatResponse).ErrorCode == 25 })
	offsets := "__consumer_offsets"
	l.send(step{name: "Metadata/setup", conn: "setup", build: func(*site) kmsg.Request { return metadata(12, false, &offsets) },
		then: func(s *site, r kmsg.Response) { s.learn(offsets, r.(*kmsg.MetadataResponse).Topics[0].TopicID) }})
	l.each(keyProduce, "badinput/Produce", func(s *site, v int16) kmsg.Request {
		return badinput.Sample(keyProduce, v, s.id(badinput.Topic))
	})
	l.badInputOf(served)
}

func (l *list) badInputOf(apis map[int16][2]int16) {
	for key, versions := range byName(apis) {
		for v := versions[0]; v <= versions[1]; v++ {
			cases := map[*site][]badinput.Case{}
			for _, s := range l.sites {
				cases[s] = badinput.Cases(badinput.Sample(key, v, s.id(badinput.Topic)))
			}
			flexible := badinput.Sample(key, v, [16]byte{}).IsFlexible()
			name := kmsg.NameForKey(key)
			l.raw(fmt.Sprintf("badinput/%s/right/v%d", name, v), key, v, func(s *site, id int32) []byte {
				return badinput.Sample(key, v, s.id(badinput.Topic)).AppendTo(header(id, key, v, flexible))
			})
			for i, c := range cases[l.sites[0]] {
				if key == keyJoinGroup && c.Name == "MemberID is empty" { // it makes members, which TestGroups does
					continue
				}
				if strings.HasPrefix(c.Name, "first ") && i%7 != 0 || strings.HasSuffix(c.Name, "100 times") || key == keyProduce && ofProduce[c.Name] {
					continue
				}
				l.send(step{name: fmt.Sprintf("badinput/%s/%s/v%d", name, c.Name, v), key: key, version: v, patience: patienceFor(key, c.Name), mute: key == keyProduce && c.Name == "Acks is 0",
					raw: func(s *site, id int32) []byte { return append(header(id, key, v, flexible), cases[s][i].Body...) }})
			}
		}
	}
}

// patienceFor is how long Kafka is waited for where it fails and never answers;
// what it answers all the same counts for nothing there.
func patienceFor(key int16, fault string) time.Duration {
	never := key == keyAlterConfigs && fault == "Resources is there twice" ||
		key == keyWriteTxnMarkers && (fault == "Markers.Topics is there twice" || fault == "Markers.Topics.Partitions is there twice")
	if never || strings.HasSuffix(fault, " is 32767 long") {
		return time.Second
	}
	return 0
}
