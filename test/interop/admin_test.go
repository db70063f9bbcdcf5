// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gregor/test/interop/kafka"
)

// TestKafkaAdminTools administers a node with the classes behind Kafka's
// kafka-topics, -metadata-quorum, -features, -leader-election, -cluster and
// -reassign-partitions, one after the other.
func TestKafkaAdminTools(t *testing.T) {
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	const tools = "org.apache.kafka.tools."
	for _, x := range []struct {
		class   string
		options string
		says    string // a regular expression, over lines
	}{
		{"TopicCommand", "--create --topic orders --partitions 2 --replication-factor 1", `Created topic orders\.`},
		{"TopicCommand", "--describe --topic orders", `PartitionCount: 2\s+ReplicationFactor: 1[\s\S]*Partition: 1\s+Leader: 1\s+Replicas: 1\s+Isr: 1\s+Elr:\s+LastKnownElr:`},
		{"TopicCommand", "--describe --topic nowhere", `Topic 'nowhere' does not exist as expected`},
		{"TopicCommand", "--alter --topic orders --partitions 5", `^\s*$`},
		{"TopicCommand", "--describe --topic orders --partition-size-limit-per-response 2", `PartitionCount: 5[\s\S]*Partition: 4\s+Leader: 1`},
		{"TopicCommand", "--alter --topic orders --partitions 3", `The topic orders currently has 5 partition\(s\); 3 would not be an increase\.`},
		{"TopicCommand", "--describe --unavailable-partitions", `^\s*$`},
		{"MetadataQuorumCommand", "describe --status", `LeaderId:\s+1\n[\s\S]*MaxFollowerLag:\s+0\n[\s\S]*CurrentVoters:\s+\[\{"id": 1, "directoryId": "[^"]{22}", "endpoints": \["CONTROLLER://[^"]+"\]\}\]\nCurrentObservers:\s+\[\]`},
		{"MetadataQuorumCommand", "describe --replication", `(?m)^1\s+\S{22}\s+\d+\s+0\s+\d+\s+\d+\s+Leader\s*$`},
		{"FeatureCommand", "describe", `Feature: metadata.version\s.*FinalizedVersionLevel: UNKNOWN 33`},
		{"FeatureCommand", "upgrade --feature metadata.version=33", `metadata.version was upgraded to 33\.`},
		{"FeatureCommand", "upgrade --feature nope=1", `Local controller 1 does not support this feature`},
		{"LeaderElectionCommand", "--election-type preferred --all-topic-partitions", `^\s*$`},
		{"LeaderElectionCommand", "--election-type preferred --topic orders --partition 0", `Valid replica already elected for partitions orders-0`},
		{"ClusterTool", "unregister --id 77", `Broker ID 77 is not currently registered`},
		{"reassign.ReassignPartitionsCommand", "--list", `No partition reassignments found`},
	} {
		t.Run(x.class+" "+x.options, func(t *testing.T) {
			options := append(strings.Fields(x.options), "--bootstrap-server", n.Address)
			if x.class == "MetadataQuorumCommand" || x.class == "FeatureCommand" { // these want it before the verb
				options = append([]string{"--bootstrap-server", n.Address}, strings.Fields(x.options)...)
			}
			command := exec.CommandContext(t.Context(), "java", append([]string{"-Xmx256m", "-cp", kafka.Jars(t, kafka.Tools), tools + x.class}, options...)...)
			out, _ := command.CombinedOutput() // some exit with 0 after an error, and some do not
			var said strings.Builder
			for line := range strings.Lines(string(out)) {
				if !strings.HasPrefix(line, "SLF4J") {
					said.WriteString(line)
				}
			}
			if !regexp.MustCompile(x.says).MatchString(said.String()) {
				t.Errorf("want %s in\n%s", x.says, head(said.String()))
			}
		})
	}
	n.Stop(t)
}
