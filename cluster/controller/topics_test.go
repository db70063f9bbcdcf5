// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// cluster is a world with a bootstrapped cluster of these brokers.
func cluster(t *testing.T, brokers string) *world {
	w := newWorld(t)
	w.run("activate")
	w.run("brokers " + brokers)
	return w
}

// create asks for topics of one partition and one replica and gives the answers
// by name.
func (w *world) create(version int16, change func(*kmsg.CreateTopicsRequest), names ...string) map[string]kmsg.CreateTopicsResponseTopic {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(version)
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, t)
	}
	if change != nil {
		change(req)
	}
	out := w.handle(req)
	w.commit(out)
	answers := map[string]kmsg.CreateTopicsResponseTopic{}
	for _, t := range out.Response.(*kmsg.CreateTopicsResponse).Topics {
		if _, twice := answers[t.Topic]; twice {
			w.t.Errorf("two answers for %q", t.Topic)
		}
		answers[t.Topic] = t
	}
	return answers
}

// TestCreateTopics is protocol.md's point 58.
func TestCreateTopics(t *testing.T) {
	t.Run("-1 takes the defaults", func(t *testing.T) {
		w := cluster(t, "1 2")
		w.env.Config.NumPartitions, w.env.Config.DefaultReplicationFactor = 3, 2
		a := w.create(4, func(r *kmsg.CreateTopicsRequest) { r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor = -1, -1 }, "t")["t"]
		if a.ErrorCode != 0 || a.NumPartitions != 3 || a.ReplicationFactor != 2 || w.img.Topic("t").PartitionCount() != 3 || len(w.img.Topic("t").Partition(2).Replicas) != 2 {
			t.Errorf("%+v\n%s", a, w.show())
		}
	})
	t.Run("all configs are returned from v5 on", func(t *testing.T) {
		w := cluster(t, "1")
		one, secret := "1", "s"
		w.env.DescribeTopicConfig = func(_ *image.Image, overrides map[string]string) []TopicConfig {
			own := overrides["retention.ms"]
			return []TopicConfig{
				{Name: "cleanup.policy", Value: &one, Source: 5}, {Name: "retention.ms", Value: &own, Source: 1},
				{Name: "secret", Value: &secret, Sensitive: true, ReadOnly: true},
			}
		}
		set := func(r *kmsg.CreateTopicsRequest) {
			v := "77"
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = "retention.ms", &v
			r.Topics[0].Configs = append(r.Topics[0].Configs, c)
		}
		if a := w.create(4, set, "four")["four"]; len(a.Configs) != 0 {
			t.Errorf("v4: %+v", a)
		}
		a := w.create(5, set, "five")["five"]
		if len(a.Configs) != 3 || *a.Configs[1].Value != "77" || a.Configs[1].Source != 1 || a.Configs[2].Value != nil || !a.Configs[2].IsSensitive {
			t.Errorf("v5: %s", show(a))
		}
		if got := w.img.Configs(image.TopicResource("five")); len(got) != 1 || got["retention.ms"] != "77" {
			t.Errorf("stored: %v", got)
		}
		w.env.MayDescribe = func(string) bool { return false }
		if a := w.create(7, set, "hidden")["hidden"]; a.ErrorCode != 0 || kafka.Code(a.ConfigErrorCode) != kafka.TopicAuthorizationFailed || len(a.Configs) != 0 || a.NumPartitions != -1 {
			t.Errorf("without the right to describe: %s", show(a))
		}
	})
	t.Run("names that differ in dots and underscores collide", func(t *testing.T) {
		w := cluster(t, "1")
		w.create(7, nil, "a.b_c", "plain", "x-y")
		for name, want := range map[string]kafka.Code{
			"a_b.c": kafka.InvalidTopicException, "a.b.c": kafka.InvalidTopicException, "a_b_c": kafka.InvalidTopicException,
			"a.b_c": kafka.TopicAlreadyExists, "a.b": kafka.None, "a.b_cd": kafka.None, "x_y": kafka.None, "plain.": kafka.None,
		} {
			if a := w.create(7, nil, name)[name]; kafka.Code(a.ErrorCode) != want {
				t.Errorf("%s: %s, want %s", name, kafka.Code(a.ErrorCode), want)
			}
		}
	})
	t.Run("a topic twice in a request is refused once, others are created", func(t *testing.T) {
		w := cluster(t, "1")
		a := w.create(7, nil, "twice", "once", "twice")
		if kafka.Code(a["twice"].ErrorCode) != kafka.InvalidRequest || a["once"].ErrorCode != 0 || w.img.Topic("twice") != nil || w.img.Topic("once") == nil {
			t.Errorf("%v", a)
		}
	})
	t.Run("configs are judged", func(t *testing.T) {
		w := cluster(t, "1")
		w.env.ValidateTopicConfig = func(_ *image.Image, topic string, overrides map[string]string) error {
			if _, ok := overrides["nonsense"]; ok {
				return fmt.Errorf("Unknown topic config name: nonsense: %w", kafka.InvalidConfig)
			}
			return nil
		}
		a := w.create(7, func(r *kmsg.CreateTopicsRequest) {
			v := "1"
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = "nonsense", &v
			r.Topics[0].Configs = append(r.Topics[0].Configs, c)
		}, "bad", "good")
		if kafka.Code(a["bad"].ErrorCode) != kafka.InvalidConfig || *a["bad"].ErrorMessage != "Unknown topic config name: nonsense" || a["good"].ErrorCode != 0 {
			t.Errorf("%s", show(a["bad"]))
		}
	})
	t.Run("validate only creates nothing", func(t *testing.T) {
		w := cluster(t, "1")
		a := w.create(7, func(r *kmsg.CreateTopicsRequest) { r.ValidateOnly = true }, "t")["t"]
		if a.ErrorCode != 0 || w.img.Topic("t") != nil {
			t.Errorf("%+v", a)
		}
	})
	t.Run("names", func(t *testing.T) {
		w := cluster(t, "1")
		long := strings.Repeat("x", 250)
		for name, ok := range map[string]bool{
			"": false, ".": false, "..": false, long: false, long[:249]: true, "ä": false, "a b": false, "a\x00": false, "A-Z_0.9": true, "...": true,
		} {
			if a := w.create(7, nil, name)[name]; (a.ErrorCode == 0) != ok {
				t.Errorf("%q: %s", name, kafka.Code(a.ErrorCode))
			}
		}
	})
}

func (w *world) delete(version int16, topics ...kmsg.DeleteTopicsRequestTopic) []string {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(version)
	for _, t := range topics {
		if version < 6 {
			req.TopicNames = append(req.TopicNames, *t.Topic)
		}
	}
	if version >= 6 {
		req.Topics = topics
	}
	out := w.handle(req)
	w.commit(out)
	var answers []string
	for _, t := range out.Response.(*kmsg.DeleteTopicsResponse).Topics {
		name := "-"
		if t.Topic != nil {
			name = *t.Topic
		}
		answers = append(answers, name+" "+kafka.Code(t.ErrorCode).String())
	}
	return answers
}

func byName(name string) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	return t
}

func byID(id kafka.TopicID) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.TopicID = id
	return t
}

// TestDeleteTopics is protocol.md's point 61.
func TestDeleteTopics(t *testing.T) {
	setup := func(t *testing.T) (*world, kafka.TopicID) {
		w := cluster(t, "1")
		w.create(7, nil, "t", "u", "v")
		return w, w.img.Topic("t").ID
	}
	expect := func(t *testing.T, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	t.Run("name and id together", func(t *testing.T) {
		w, id := setup(t)
		both := byName("t")
		both.TopicID = id
		expect(t, w.delete(6, both), "t INVALID_REQUEST")
	})
	t.Run("an id that nobody has", func(t *testing.T) {
		w, _ := setup(t)
		expect(t, w.delete(6, byID(kafka.TopicID{9})), "- UNKNOWN_TOPIC_ID")
	})
	t.Run("deletion switched off", func(t *testing.T) {
		w, _ := setup(t)
		w.env.Config.DeleteTopicEnable = false
		expect(t, w.delete(6, byName("t")), "t TOPIC_DELETION_DISABLED")
		expect(t, w.delete(3, byName("t")), "t TOPIC_DELETION_DISABLED")
		expect(t, w.delete(2, byName("t")), "t INVALID_REQUEST")
		if w.img.Topic("t") == nil {
			t.Error("deleted all the same")
		}
	})
	t.Run("what may not be described is not named", func(t *testing.T) {
		w, id := setup(t)
		w.env.MayDescribe = func(topic string) bool { return topic == "u" }
		w.env.MayDelete = func(topic string) bool { return false }
		expect(t, w.delete(6, byID(id), byName("t"), byName("nothing"), byID(w.img.Topic("u").ID), byName("u")),
			"- TOPIC_AUTHORIZATION_FAILED", "t TOPIC_AUTHORIZATION_FAILED", "nothing TOPIC_AUTHORIZATION_FAILED",
			"u TOPIC_AUTHORIZATION_FAILED", "u TOPIC_AUTHORIZATION_FAILED")
	})
	t.Run("what is named twice is refused once", func(t *testing.T) {
		w, id := setup(t)
		expect(t, w.delete(6, byName("u"), byID(id), byID(id), byName("u"), byName("v")), "u INVALID_REQUEST", "- INVALID_REQUEST", "v NONE")
		if w.img.Topic("t") == nil || w.img.Topic("u") == nil || w.img.Topic("v") != nil {
			t.Error(w.show())
		}
	})
	t.Run("a name and its id", func(t *testing.T) {
		w, id := setup(t)
		expect(t, w.delete(6, byName("t"), byID(id)), "t INVALID_REQUEST")
	})
	t.Run("configs go with the topic", func(t *testing.T) {
		w, _ := setup(t)
		v := "1"
		w.commit(Outcome{Records: []metarec.Record{&metarec.Config{ResourceType: 2, ResourceName: "t", Name: "k", Value: &v}}})
		expect(t, w.delete(1, byName("t")), "t NONE")
		if w.img.Configs(image.TopicResource("t")) != nil {
			t.Error("the configs are still there")
		}
	})
}
