// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"gregor/test/interop/client"
	"gregor/test/interop/kafka"
)

// lacks are the calls that a client does not offer. One that learns a call
// must lose its place here.
var lacks = map[string][]string{
	"java":                       {"alter_configs"},
	"kafka-python":               {},
	"confluent-kafka-python":     {"describe_topic_partitions", "list_config_resources", "describe_log_dirs", "describe_features", "describe_quorum", "describe_producers", "list_reassignments"},
	"aiokafka":                   {"describe_topic_partitions", "list_config_resources", "describe_log_dirs", "describe_features", "describe_quorum", "describe_producers", "list_reassignments", "incremental_alter_configs", "list_offsets", "elect_leaders"},
	"kafkajs":                    {"describe_topic_partitions", "list_config_resources", "describe_log_dirs", "describe_features", "describe_quorum", "describe_producers", "incremental_alter_configs", "elect_leaders"},
	"confluent-kafka-javascript": {"describe_topic_partitions", "list_config_resources", "describe_log_dirs", "describe_features", "describe_quorum", "describe_producers", "list_reassignments", "incremental_alter_configs", "alter_configs", "describe_configs", "describe_cluster", "elect_leaders"},
}

// lacksPart are calls with arguments that a client cannot give.
var lacksPart = map[string][]string{
	"kafkajs":                    {"list_offsets max_timestamp"},
	"confluent-kafka-javascript": {"create_topic validate_only"},
}

type arguments map[string]any

// adminStep is a call and what must come of it.
type adminStep struct {
	call string
	with arguments
	code int    // Kafka's, of an error
	says string // JSON that must be answered; for an object, at least these fields
	part string // of the call, for lacksPart
}

// adminSteps is the life of a topic under a client's hands; the test writes
// ten records to partition 0 where the step "" stands.
func adminSteps(topic string) []adminStep {
	set := func(key, operation, value string) []arguments {
		return []arguments{{"key": key, "operation": operation, "value": value}}
	}
	onTopic := func(more arguments) arguments {
		more["type"], more["name"] = "topic", topic
		return more
	}
	fresh := func(more arguments) arguments {
		all := arguments{"topic": topic, "partitions": 2, "replicas": 1, "configs": arguments{}}
		for key, value := range more {
			all[key] = value
		}
		return all
	}
	at := func(spec any) arguments { return arguments{"topic": topic, "partition": 0, "at": spec} }
	return []adminStep{
		{call: "create_topic", with: fresh(arguments{"validate_only": true}), says: "null", part: "validate_only"},
		{call: "create_topic", with: fresh(arguments{"configs": arguments{"retention.bytes": "86400000"}}), says: "null"},
		{call: "create_topic", with: fresh(nil), code: 36},
		{call: "create_topic", with: fresh(arguments{"topic": topic + "-x", "configs": arguments{"retention.bytes": "much"}}), code: 40},
		{call: "create_topic", with: fresh(arguments{"topic": topic + "-x", "replicas": 3}), code: 38},
		{call: "create_topic", with: fresh(arguments{"topic": topic + "/x"}), code: 17},
		{call: "list_topics", says: fmt.Sprintf("[%q]", topic)},
		{call: "describe_topic", with: arguments{"topic": topic}, says: `[{"partition":0,"leader":1,"replicas":[1],"isr":[1]},{"partition":1,"leader":1,"replicas":[1],"isr":[1]}]`},
		{call: "create_partitions", with: arguments{"topic": topic, "count": 4}, says: "null"},
		{call: "create_partitions", with: arguments{"topic": topic, "count": 3}, code: 37},
		{call: "describe_topic_partitions", with: arguments{"topic": topic}, says: "[0,1,2,3]"},

		{call: "describe_configs", with: onTopic(arguments{}), says: `{"retention.bytes":{"value":"86400000","default":false},"segment.bytes":{"value":"1073741824","default":true},"cleanup.policy":{"value":"delete","default":true}}`},
		{call: "alter_configs", with: onTopic(arguments{"configs": arguments{"segment.bytes": "2097152", "retention.bytes": "3600000"}}), says: "null"},
		{call: "alter_configs", with: onTopic(arguments{"configs": arguments{"segment.bytes": "many"}}), code: 40},
		{call: "incremental_alter_configs", with: onTopic(arguments{"operations": set("segment.bytes", "set", "4194304")}), says: "null"},
		{call: "describe_configs", with: onTopic(arguments{}), says: `{"segment.bytes":{"value":"?","default":false}}`},
		{call: "incremental_alter_configs", with: onTopic(arguments{"operations": set("cleanup.policy", "append", "compact")}), says: "null"},
		{call: "incremental_alter_configs", with: onTopic(arguments{"operations": set("cleanup.policy", "subtract", "compact")}), says: "null"},
		{call: "incremental_alter_configs", with: onTopic(arguments{"operations": []arguments{{"key": "segment.bytes", "operation": "delete"}}}), says: "null"},
		{call: "incremental_alter_configs", with: onTopic(arguments{"operations": set("no.such.key", "set", "1")}), code: 40},
		{call: "describe_configs", with: arguments{"type": "broker", "name": "1"}, says: `{"log.segment.bytes":{"value":"1073741824"},"num.partitions":{"value":"1"},"node.id":{"value":"1"}}`},
		{call: "incremental_alter_configs", with: arguments{"type": "broker", "name": "1", "operations": set("log.cleaner.threads", "set", "2")}, says: "null"},
		{call: "incremental_alter_configs", with: arguments{"type": "broker", "name": "1", "operations": []arguments{{"key": "log.cleaner.threads", "operation": "delete"}}}, says: "null"},
		{call: "incremental_alter_configs", with: arguments{"type": "broker", "name": "1", "operations": set("node.id", "set", "7")}, code: 42},
		{call: "list_config_resources", with: arguments{"type": "broker"}, says: `["1"]`},

		{},
		{call: "list_offsets", with: at("earliest"), says: "0"},
		{call: "list_offsets", with: at("latest"), says: "10"},
		{call: "list_offsets", with: at(firstTimestamp + 4), says: "4"},
		{call: "list_offsets", with: at("max_timestamp"), says: "9", part: "max_timestamp"},
		{call: "describe_log_dirs", with: arguments{"topic": topic, "partition": 1}, says: "0"},
		{call: "describe_producers", with: arguments{"topic": topic, "partition": 0}, says: "1"},
		{call: "delete_records", with: arguments{"topic": topic, "partition": 0, "before": 6}, says: "6"},
		{call: "delete_records", with: arguments{"topic": topic, "partition": 0, "before": 11}, code: 1},
		{call: "list_offsets", with: at("earliest"), says: "6"},

		{call: "describe_cluster", says: `{"brokers":[1],"controller":1}`},
		{call: "describe_features", says: `{"metadata.version":33,"kraft.version":1}`},
		{call: "describe_quorum", says: `{"leader":1,"voters":[1]}`},
		{call: "elect_leaders", with: arguments{"topic": topic, "partition": 0}, code: 84},
		{call: "list_reassignments", says: "0"},

		{call: "delete_topic", with: arguments{"topic": topic}, says: "null"},
		{call: "delete_topic", with: arguments{"topic": topic}, code: 3},
		{call: "list_topics", says: "[]"},
	}
}

// TestClientsAdminister goes through a topic's life with each client, on a
// node of its own: topics, partitions, configurations the old way and the new,
// records, offsets, cluster, quorum, features.
func TestClientsAdminister(t *testing.T) {
	t.Parallel() // what one of the clients needs is compiled for minutes
	for _, c := range allClients(t) {
		t.Run(c.Name, func(t *testing.T) {
			n := startGregor(t, filepath.Join(t.TempDir(), "data"))
			session := c.Administer(t, n.Address)
			topic := "topic-of-" + c.Name
			for _, step := range adminSteps(topic) {
				if step.call == "" {
					writeTen(t, n, topic)
					continue
				}
				administer(t, c, session, step)
			}
			session.Wait(t)
			n.Stop(t)
		})
	}
}

func writeTen(t *testing.T, n *kafka.Node, topic string) {
	t.Helper()
	c := content{topic: {partitions: 1, count: 10}}
	c.write(t, n.Address, 0)
}

func administer(t *testing.T, c *client.Client, session *client.Session, step adminStep) {
	t.Helper()
	said := session.Call(t, step.call, step.with)
	what := fmt.Sprintf("%s %v", step.call, step.with)
	expected := slices.Contains(lacks[c.Name], step.call) || step.part != "" && slices.Contains(lacksPart[c.Name], step.call+" "+step.part)
	switch {
	case said.Lacks != expected:
		t.Errorf("%s: the client lacks it: %v; the test's list says %v", what, said.Lacks, expected)
	case said.Lacks:
	case step.code != 0:
		if said.Error == nil || said.Error.Code == nil || *said.Error.Code != step.code {
			t.Errorf("%s: want error %d, got %s %s", what, step.code, said.Answer, refused(said.Error))
		}
	case said.Error != nil:
		t.Errorf("%s: %s", what, refused(said.Error))
	default:
		if difference := holds(said.Answer, []byte(step.says)); difference != "" {
			t.Errorf("%s: %s", what, difference)
		}
	}
}

func refused(e *client.Refusal) string {
	if e == nil {
		return ""
	}
	if e.Code == nil {
		return fmt.Sprintf("the client failed: %s", e.Text)
	}
	return fmt.Sprintf("error %d: %s", *e.Code, e.Text)
}

// holds compares JSON: of objects, what the wanted one has; "?" is any value.
func holds(got, want []byte) string {
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		return fmt.Sprintf("%s: %v", got, err)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return fmt.Sprintf("%s: %v", want, err)
	}
	return holdsAt("", g, w)
}

func holdsAt(path string, got, want any) string {
	if want == "?" {
		return ""
	}
	fields, isObject := want.(map[string]any)
	have, isToo := got.(map[string]any)
	if isObject && isToo {
		for name, value := range fields {
			if difference := holdsAt(path+"/"+name, have[name], value); difference != "" {
				return difference
			}
		}
		return ""
	}
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		return fmt.Sprintf("%s is %.300s, not %s", path, g, w)
	}
	return ""
}
