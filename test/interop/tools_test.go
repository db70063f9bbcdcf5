// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gregor/test/interop/kafka"
)

// toolTimeout ends a tool, or gregor's of its name, that waits for what never comes.
const toolTimeout = 5 * time.Minute

// toolbox runs Kafka's tools for all tests.
var toolbox kafka.Toolbox

// tool runs the class behind one of Kafka's shell scripts: a name with a
// package in lower case before it is taken as it is, others are in
// org.apache.kafka.tools. It returns what a user sees, without the logging
// library's own lines.
func tool(t *testing.T, stdin, class string, options ...string) string {
	t.Helper()
	if !strings.HasPrefix(class, "kafka.") {
		class = "org.apache.kafka.tools." + class
	}
	all, err := toolbox.Run(t, toolTimeout, class, stdin, options...) // some exit with 0 after an error, and some do not
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for line := range strings.Lines(all.Both) {
		if !strings.HasPrefix(line, "SLF4J") {
			said.WriteString(line)
		}
	}
	return said.String()
}

// toolStep is a command line and what a user sees of it, as a regular
// expression. NODE and FILE stand for the node's address and a file that holds
// the text.
type toolStep struct {
	class   string
	options string
	says    string
	file    string
	stdin   string
}

func runTools(t *testing.T, n *kafka.Node, steps []toolStep) {
	t.Helper()
	for _, x := range steps {
		t.Run(x.class+" "+x.options, func(t *testing.T) {
			options := strings.Fields(x.options)
			if !strings.Contains(x.options, "NODE") {
				options = append(options, "--bootstrap-server", "NODE")
			}
			for i := range options {
				options[i] = strings.ReplaceAll(options[i], "NODE", n.Address)
				if options[i] == "FILE" {
					options[i] = filepath.Join(t.TempDir(), "file")
					if err := os.WriteFile(options[i], []byte(x.file), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if said := tool(t, x.stdin, x.class, options...); !regexp.MustCompile(x.says).MatchString(said) {
				t.Errorf("want %s in\n%s", x.says, head(said))
			}
		})
	}
}

const nothing = `^\s*$`

// TestKafkaTopicsAndConfigs is what users do with kafka-topics and
// kafka-configs: every subcommand and flag that means something to one node.
func TestKafkaTopicsAndConfigs(t *testing.T) {
	kafka.Need(t, "java", "mvn")
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	const configs = "kafka.admin.ConfigCommand"
	runTools(t, n, []toolStep{
		{class: "TopicCommand", options: "--create --topic a --partitions 3 --replication-factor 1 --config segment.bytes=2097152 --config cleanup.policy=compact", says: `Created topic a\.`},
		{class: "TopicCommand", options: "--create --topic b_1 --replica-assignment 1,1", says: `Created topic b_1\.`},
		{class: "TopicCommand", options: "--create --topic a", says: `Topic 'a' already exists\.`},
		{class: "TopicCommand", options: "--create --topic a --if-not-exists", says: nothing},
		{class: "TopicCommand", options: "--create --topic c --replication-factor 2", says: `Unable to replicate the partition 2 time\(s\): The target replication factor of 2 cannot be reached because only 1 broker\(s\) are registered`},
		{class: "TopicCommand", options: "--create --topic c --config nope=1", says: `nope`},
		{class: "TopicCommand", options: "--create --topic b.1", says: `collides with existing topic`},
		{class: "TopicCommand", options: "--list", says: `^a\nb_1\n$`},
		{class: "TopicCommand", options: "--list --topic a.*", says: `^a\n$`},
		{class: "TopicCommand", options: "--list --exclude-internal", says: `^a\nb_1\n$`},
		{class: "TopicCommand", options: "--describe", says: `Topic: a\tTopicId: \S{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*cleanup\.policy=compact.*\n(\tTopic: a\tPartition: \d\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: ?\tLastKnownElr: ?\n){3}Topic: b_1\t.*PartitionCount: 2\t`},
		{class: "TopicCommand", options: "--describe --topics-with-overrides", says: `^Topic: a\t.*segment\.bytes=2097152`},
		{class: "TopicCommand", options: "--describe --under-replicated-partitions", says: nothing},
		{class: "TopicCommand", options: "--describe --under-min-isr-partitions", says: nothing},
		{class: "TopicCommand", options: "--describe --at-min-isr-partitions --topic b_1", says: `Topic: b_1\tPartition: 0\tLeader: 1`},
		{class: "TopicCommand", options: "--describe --unavailable-partitions", says: nothing},
		{class: "TopicCommand", options: "--alter --topic b_1 --partitions 4", says: nothing},
		{class: "TopicCommand", options: "--describe --topic b_1", says: `PartitionCount: 4`},
		{class: "TopicCommand", options: "--alter --topic nowhere --partitions 4 --if-exists", says: nothing},
		{class: "TopicCommand", options: "--alter --topic nowhere --partitions 4", says: `Topic 'nowhere' does not exist as expected`},

		{class: configs, options: "--describe --entity-type topics --entity-name a", says: `Dynamic configs for topic a are:\n  cleanup\.policy=compact sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:cleanup\.policy=compact, DEFAULT_CONFIG:log\.cleanup\.policy=delete\}\n`},
		{class: configs, options: "--describe --all --topic a", says: `All configs for topic a are:\n[\s\S]*  unclean\.leader\.election\.enable=false sensitive=false synonyms=`},
		{class: configs, options: "--alter --topic a --add-config cleanup.policy=[compact,delete],retention.bytes=1000000000", says: `Completed updating config for topic a\.`},
		{class: configs, options: "--alter --topic a --add-config-file FILE", file: "max.message.bytes=2000000\nmin.insync.replicas=1\n", says: `Completed updating config for topic a\.`},
		{class: configs, options: "--describe --topic a", says: `cleanup\.policy=compact,delete [\s\S]*max\.message\.bytes=2000000 `},
		{class: configs, options: "--alter --topic a --delete-config segment.bytes,cleanup.policy", says: `Completed updating config for topic a\.`},
		{class: configs, options: "--describe --topic a", says: `^Dynamic configs for topic a are:\n(  (max\.message\.bytes|min\.insync\.replicas|retention\.bytes)=.*\n){3}$`},
		{class: configs, options: "--alter --topic a --add-config nope=1", says: `InvalidConfigurationException: Unknown topic config name: nope`},
		{class: configs, options: "--alter --topic a --delete-config nope", says: `Completed updating config for topic a\.`},
		{class: configs, options: "--describe --topic nowhere", says: `Topic not found|does not exist|UnknownTopicOrPartition|The topic 'nowhere' doesn't exist`},
		{class: configs, options: "--alter --broker 1 --add-config log.cleaner.threads=2", says: `Completed updating config for broker 1\.`},
		{class: configs, options: "--describe --broker 1", says: `Dynamic configs for broker 1 are:\n  log\.cleaner\.threads=2 sensitive=false synonyms=\{DYNAMIC_BROKER_CONFIG:log\.cleaner\.threads=2, DEFAULT_CONFIG:log\.cleaner\.threads=1\}\n`},
		{class: configs, options: "--describe --broker 1 --all", says: `All configs for broker 1 are:\n[\s\S]*  log\.retention\.ms=-1 sensitive=false synonyms=\{STATIC_BROKER_CONFIG:log\.retention\.ms=-1`},
		{class: configs, options: "--alter --broker 1 --add-config node.id=2", says: `Cannot update these configs dynamically: \[node\.id\]`},
		{class: configs, options: "--alter --broker 1 --delete-config log.cleaner.threads", says: `Completed updating config for broker 1\.`},
		{class: configs, options: "--alter --broker-defaults --add-config message.max.bytes=2000000", says: `Completed updating default config for brokers in the cluster\.`},
		{class: configs, options: "--describe --broker-defaults", says: `Default configs for brokers in the cluster are:\n  message\.max\.bytes=2000000 sensitive=false synonyms=\{DYNAMIC_DEFAULT_BROKER_CONFIG:message\.max\.bytes=2000000`},
		{class: configs, options: "--alter --entity-type brokers --entity-default --delete-config message.max.bytes", says: `Completed updating default config for brokers in the cluster\.`},
		{class: configs, options: "--describe --broker-logger 1", says: `Dynamic configs for broker-logger 1 are:\n[\s\S]*root=[A-Z]+ `},
		{class: configs, options: "--alter --client-metrics sub --add-config metrics=org.apache.kafka.producer.,interval.ms=5000", says: `Completed updating config for client-metric sub\.`},
		{class: configs, options: "--describe --entity-type client-metrics --entity-name sub", says: `Dynamic configs for client-metric sub are:\n  interval\.ms=5000 `},
		{class: "ClientMetricsCommand", options: "--list", says: `^sub\n$`},
		{class: "ClientMetricsCommand", options: "--describe --name sub", says: `Client metrics configs for sub are:\n  interval\.ms=5000\n  match=\n  metrics=org\.apache\.kafka\.producer\.\n`},
		{class: "ClientMetricsCommand", options: "--alter --name two --metrics * --interval 10000 --match client_id=x", says: `Altered client metrics config for two\.`},
		{class: "ClientMetricsCommand", options: "--delete --name sub", says: `Deleted client metrics config for sub\.`},

		{class: "TopicCommand", options: "--delete --topic b_1", says: nothing},
		{class: "TopicCommand", options: "--delete --topic b_1", says: `Topic 'b_1' does not exist as expected`},
		{class: "TopicCommand", options: "--delete --topic b_1 --if-exists", says: nothing},
		{class: "TopicCommand", options: "--list", says: `^a\n$`},
	})
	n.Stop(t)
}

// TestKafkaDataTools writes, measures, reads and trims with Kafka's tools:
// console producer and consumer by partition, producer-perf, the verifiable
// producer, get-offsets, delete-records, log-dirs and what else looks at data.
func TestKafkaDataTools(t *testing.T) {
	kafka.Need(t, "java", "mvn")
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	const consumer = "consumer.ConsoleConsumer"
	runTools(t, n, []toolStep{
		{class: "TopicCommand", options: "--create --topic lines --partitions 1", says: `Created topic lines\.`},
		{class: "ConsoleProducer", options: "--topic lines --reader-property parse.key=true --reader-property key.separator=: --compression-codec zstd", stdin: "k1:v1\nk2:v2\nk3:v3\n", says: nothing},
		{class: "ConsoleProducer", options: "--topic lines --reader-property parse.headers=true --sync --request-required-acks 1 --compression-codec gzip", stdin: "h1:x,h2:y\tv4\nh1:z\tv5\n", says: nothing},
		{class: consumer, options: "--topic lines --partition 0 --offset earliest --max-messages 5 --timeout-ms 20000 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.partition=true --formatter-property print.headers=true",
			says: `^Partition:0\tOffset:0\tNO_HEADERS\tk1\tv1\nPartition:0\tOffset:1\tNO_HEADERS\tk2\tv2\nPartition:0\tOffset:2\tNO_HEADERS\tk3\tv3\nPartition:0\tOffset:3\th1:x,h2:y\tnull\tv4\nPartition:0\tOffset:4\th1:z\tnull\tv5\nProcessed a total of 5 messages\n$`},
		{class: consumer, options: "--topic lines --partition 0 --offset 3 --max-messages 2 --timeout-ms 20000", says: `^v4\nv5\nProcessed a total of 2 messages\n$`},
		{class: consumer, options: "--topic lines --partition 0 --offset 4 --isolation-level read_committed --max-messages 1 --timeout-ms 20000", says: `^v5\nProcessed a total of 1 messages\n$`},
		{class: consumer, options: "--topic lines --partition 0 --offset latest --timeout-ms 1500", says: `Processed a total of 0 messages`},

		{class: "GetOffsetShell", options: "--topic lines", says: `^lines:0:5\n$`},
		{class: "GetOffsetShell", options: "--topic lines --time earliest", says: `^lines:0:0\n$`},
		{class: "GetOffsetShell", options: "--topic lines --time max-timestamp", says: `^lines:0:4\n$`},
		{class: "GetOffsetShell", options: "--topic lines --time -4", says: `^lines:0:0\n$`},
		{class: "GetOffsetShell", options: "--topic lines --time 1000", says: `^lines:0:0\n$`},
		{class: "GetOffsetShell", options: "--topic nowhere", says: `Could not match any topic-partitions with the specified filters`},
		{class: "DeleteRecordsCommand", options: "--offset-json-file FILE", file: `{"partitions":[{"topic":"lines","partition":0,"offset":2}],"version":1}`, says: `Records delete operation completed:\npartition: lines-0\tlow_watermark: 2\n`},
		{class: "DeleteRecordsCommand", options: "--offset-json-file FILE", file: `{"partitions":[{"topic":"lines","partition":0,"offset":99}],"version":1}`, says: `partition: lines-0\terror: .*OffsetOutOfRangeException`},
		{class: "GetOffsetShell", options: "--topic-partitions lines:0 --time earliest", says: `^lines:0:2\n$`},
		{class: consumer, options: "--topic lines --partition 0 --offset earliest --max-messages 3 --timeout-ms 20000", says: `^v3\nv4\nv5\nProcessed a total of 3 messages\n$`},

		{class: "TopicCommand", options: "--create --topic perf --partitions 2", says: `Created topic perf\.`},
		{class: "ProducerPerformance", options: "--topic perf --num-records 20000 --record-size 200 --throughput -1 --command-property acks=all --command-property compression.type=lz4", says: `20000 records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, [\d.]+ ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.`},
		{class: "ProducerPerformance", options: "--topic perf --num-records 100 --payload-file FILE --throughput 1000 --command-property acks=1", file: "one\ntwo\nthree\n", says: `100 records sent`},
		{class: "VerifiableProducer", options: "--topic perf --max-messages 50 --acks 1 --value-prefix 7", says: `"name":"startup_complete"[\s\S]*("name":"producer_send_success","key":null,"value":"7\.\d+","offset":\d+,"topic":"perf","partition":[01]\}\n[\s\S]*){50}"sent":50,"acked":50,`},
		{class: "LogDirsCommand", options: "--describe --topic-list perf,lines --broker-list 1", says: `Received log directory information from brokers 1\n\{"brokers":\[\{"broker":1,"logDirs":\[\{"partitions":\[.*"partition":"perf-0","size":[1-9]\d*,"offsetLag":0,"isFuture":false\}.*"error":null`},
		{class: "TransactionsCommand", options: "--bootstrap-server NODE describe-producers --topic lines --partition 0", says: `ProducerId\s+ProducerEpoch\s+LatestCoordinatorEpoch\s+LastSequence\s+LastTimestamp\s+CurrentTransactionStartOffset\s*\n\d+\s+0\s+-1\s+2\s+\d+\s+None`},
		{class: "BrokerApiVersionsCommand", options: "", says: `\(id: 1 rack: null isFenced: false\) -> \(\n\tProduce\(0\): 0 to 13 \[usable: 13\],\n\tFetch\(1\): 4 to 18 \[usable: 18\],`},
		{class: "ClusterTool", options: "cluster-id", says: `^Cluster ID: \S{22}\n$`},
		{class: "ClusterTool", options: "list-endpoints", says: `(?m)^1\s+127\.0\.0\.1\s+\d+\s+null\s+unfenced\s+broker\s*$`},
		{class: "reassign.ReassignPartitionsCommand", options: "--generate --topics-to-move-json-file FILE --broker-list 1", file: `{"topics":[{"topic":"perf"}],"version":1}`, says: `Current partition replica assignment\n\{"version":1,"partitions":\[\{"topic":"perf","partition":0,"replicas":\[1\],"log_dirs":\["[^"]+"\]\},[\s\S]*Proposed partition reassignment configuration\n\{"version":1,"partitions":\[\{"topic":"perf","partition":0,"replicas":\[1\],"log_dirs":\["any"\]\}`},
		{class: "reassign.ReassignPartitionsCommand", options: "--execute --throttle 1000000 --reassignment-json-file FILE", file: `{"version":1,"partitions":[{"topic":"perf","partition":0,"replicas":[1]},{"topic":"perf","partition":1,"replicas":[1]}]}`, says: `The inter-broker throttle limit was set to 1000000 B/s\nSuccessfully started partition reassignments for perf-0,perf-1\n`},
		{class: "reassign.ReassignPartitionsCommand", options: "--verify --reassignment-json-file FILE", file: `{"version":1,"partitions":[{"topic":"perf","partition":0,"replicas":[1]},{"topic":"perf","partition":1,"replicas":[1]}]}`, says: `Reassignment of partition perf-0 is completed\.\nReassignment of partition perf-1 is completed\.\n\nClearing broker-level throttles on broker 1\n`},
		{class: "reassign.ReassignPartitionsCommand", options: "--cancel --reassignment-json-file FILE", file: `{"version":1,"partitions":[{"topic":"perf","partition":0,"replicas":[1]},{"topic":"perf","partition":1,"replicas":[1]}]}`, says: `None of the specified partition reassignments are active\.`},
		{class: "reassign.ReassignPartitionsCommand", options: "--execute --disallow-replication-factor-change --reassignment-json-file FILE", file: `{"version":1,"partitions":[{"topic":"perf","partition":0,"replicas":[2]}]}`, says: `Unknown broker id 2`},
	})
	t.Run("the records of producer-perf", func(t *testing.T) {
		ends, err := newAdmin(t, n.Address).ListEndOffsets(t.Context(), "perf")
		if err != nil || ends.Error() != nil {
			t.Fatal(err, ends.Error())
		}
		first, _ := ends.Lookup("perf", 0)
		second, _ := ends.Lookup("perf", 1)
		if got := first.Offset + second.Offset; got != 20_150 {
			t.Errorf("%d records were written instead of 20,150", got)
		}
	})
	n.Stop(t)
}

// TestKafkaClusterTools is what looks at the cluster and changes it: the
// quorum, features, elections, brokers, ACLs, reassignments.
func TestKafkaClusterTools(t *testing.T) {
	kafka.Need(t, "java", "mvn")
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	runTools(t, n, []toolStep{
		{class: "TopicCommand", options: "--create --topic orders --partitions 2 --replication-factor 1", says: `Created topic orders\.`},
		{class: "TopicCommand", options: "--alter --topic orders --partitions 5", says: nothing},
		{class: "TopicCommand", options: "--describe --topic orders --partition-size-limit-per-response 2", says: `PartitionCount: 5[\s\S]*Partition: 4\s+Leader: 1`},
		{class: "TopicCommand", options: "--alter --topic orders --partitions 3", says: `The topic orders currently has 5 partition\(s\); 3 would not be an increase\.`},
		{class: "MetadataQuorumCommand", options: "--bootstrap-server NODE describe --status", says: `LeaderId:\s+1\n[\s\S]*MaxFollowerLag:\s+0\n[\s\S]*CurrentVoters:\s+\[\{"id": 1, "directoryId": "[^"]{22}", "endpoints": \["CONTROLLER://[^"]+"\]\}\]\nCurrentObservers:\s+\[\]`},
		{class: "MetadataQuorumCommand", options: "--bootstrap-server NODE describe --replication", says: `(?m)^1\s+\S{22}\s+\d+\s+0\s+\d+\s+\d+\s+Leader\s*$`},
		{class: "MetadataQuorumCommand", options: "--bootstrap-server NODE describe --replication --human-readable", says: `(?m)^1\s+\S{22}\s+\d+\s+0\s+\d+ ms ago\s+\d+ ms ago\s+Leader\s*$`},
		{class: "FeatureCommand", options: "--bootstrap-server NODE describe", says: `Feature: metadata.version\s.*FinalizedVersionLevel: UNKNOWN 33`},
		{class: "FeatureCommand", options: "--bootstrap-server NODE upgrade --feature metadata.version=33", says: `metadata.version was upgraded to 33\.`},
		{class: "FeatureCommand", options: "--bootstrap-server NODE upgrade --feature nope=1", says: `Local controller 1 does not support this feature`},
		{class: "LeaderElectionCommand", options: "--election-type preferred --all-topic-partitions", says: nothing},
		{class: "LeaderElectionCommand", options: "--election-type preferred --topic orders --partition 0", says: `Valid replica already elected for partitions orders-0`},
		{class: "LeaderElectionCommand", options: "--election-type unclean --path-to-json-file FILE", file: `{"partitions":[{"topic":"orders","partition":1}]}`, says: `Valid replica already elected for partitions orders-1`},
		{class: "ClusterTool", options: "unregister --id 77", says: `Broker ID 77 is not currently registered`},
		{class: "AclCommand", options: "--list", says: `SecurityDisabledException: No Authorizer is configured on the broker`},
		{class: "AclCommand", options: "--add --allow-principal User:alice --operation Read --topic orders", says: `SecurityDisabledException: No Authorizer is configured`},
		{class: "AclCommand", options: "--remove --force --topic orders", says: `SecurityDisabledException: No Authorizer is configured\.`},
		{class: "reassign.ReassignPartitionsCommand", options: "--list", says: `No partition reassignments found`},
	})
	n.Stop(t)
}

// TestKafkaGroupTools runs the tools that read as members of a group.
func TestKafkaGroupTools(t *testing.T) {
	kafka.Need(t, "java", "mvn")
	n := startWith(t, filepath.Join(t.TempDir(), "data"), forGroups...)
	all := content{"perf": {partitions: 2, count: 1000}}
	all.create(t, n.Address)
	all.write(t, n.Address, 0)
	const consumer, groups = "consumer.ConsoleConsumer", "consumer.group.ConsumerGroupCommand"
	runTools(t, n, []toolStep{
		{class: "ConsumerPerformance", options: "--topic perf --num-records 2000 --group perf --timeout 20000", says: `start\.time, end\.time, data\.consumed\.in\.MB, MB\.sec, data\.consumed\.in\.nMsg, nMsg\.sec[^\n]*\n[^\n]*, 20\d\d, `},
		{class: consumer, options: "--topic perf --group lines --from-beginning --max-messages 2000 --timeout-ms 20000", says: `Processed a total of 2000 messages`},
		{class: consumer, options: "--topic perf --group lines --timeout-ms 3000", says: `Processed a total of 0 messages`},
		{class: groups, options: "--list", says: `(?m)^lines$`},
		{class: groups, options: "--describe --group lines", says: `(?m)^lines\s+perf\s+0\s+1000\s+1000\s+0\s+-\s+-\s+-`},
		{class: groups, options: "--describe --group lines --state", says: `(?m)^lines\s+127\.0\.0\.1:\d+\s+\(1\)\s+.*Empty\s+.*0`},
		{class: groups, options: "--reset-offsets --group lines --topic perf:0 --to-offset 400 --execute", says: `(?m)^lines\s+perf\s+0\s+400`},
		{class: consumer, options: "--topic perf --group lines --max-messages 600 --timeout-ms 20000", says: `Processed a total of 600 messages`},
		{class: groups, options: "--delete-offsets --group lines --topic perf", says: `Request succeeded for deleting offsets from group lines\.\s+TOPIC\s+PARTITION\s+STATUS\s+perf\s+0\s+Successful`},
		{class: groups, options: "--delete --group lines", says: `Deletion of requested consumer groups \('lines'\) was successful`},
		{class: "GroupsCommand", options: "--list", says: `(?m)^perf\s+Classic\s+consumer`},
	})
	t.Run("VerifiableConsumer", func(t *testing.T) { verifiableConsumer(t, n) })
	n.Stop(t)
}

// verifiableConsumer reads all and ends by itself after so many messages.
func verifiableConsumer(t *testing.T, n *kafka.Node) {
	said := tool(t, "", "VerifiableConsumer", "--bootstrap-server", n.Address, "--topic", "perf", "--group-id", "verifiable", "--max-messages", "2000", "--reset-policy", "earliest")
	var read, committed int
	for line := range strings.Lines(said) {
		var event struct {
			Name    string
			Count   int
			Success bool
		}
		if json.Unmarshal([]byte(line), &event) != nil {
			continue
		}
		switch event.Name {
		case "records_consumed":
			read += event.Count
		case "offsets_committed":
			if event.Success {
				committed++
			}
		}
	}
	if read != 2000 || committed == 0 {
		t.Errorf("%d records were read and %d commits succeeded\n%s", read, committed, head(said))
	}
}
