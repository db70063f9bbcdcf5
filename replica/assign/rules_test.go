// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"reflect"
	"testing"

	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/config"
)

// changed gives, for each topic key that works, a value that is not its
// default, and what else must be set for it to matter.
var changed = map[string]struct{ value, with, withValue string }{
	"cleanup.policy":                  {value: "compact"},
	"compression.gzip.level":          {"1", "compression.type", "gzip"},
	"compression.lz4.level":           {"1", "compression.type", "lz4"},
	"compression.type":                {value: "zstd"},
	"compression.zstd.level":          {"1", "compression.type", "zstd"},
	"file.delete.delay.ms":            {value: "5"},
	"flush.messages":                  {value: "5"},
	"flush.ms":                        {value: "5"},
	"gregor.produce.validation":       {value: "strict"},
	"index.interval.bytes":            {value: "5"},
	"internal.segment.bytes":          {value: "5"},
	"max.decompressed.message.bytes":  {value: "5"},
	"max.message.bytes":               {value: "5"},
	"message.timestamp.after.max.ms":  {value: "5"},
	"message.timestamp.before.max.ms": {value: "5"},
	"message.timestamp.type":          {value: "LogAppendTime"},
	"min.insync.replicas":             {value: "5"},
	"preallocate":                     {value: "true"},
	"retention.bytes":                 {value: "5"},
	"retention.ms":                    {value: "5"},
	"segment.bytes":                   {value: "5000000"},
	"segment.index.bytes":             {value: "5"},
	"segment.jitter.ms":               {value: "5"},
	"segment.ms":                      {value: "5"},
}

// elsewhere are keys that replicas do not obey.
var elsewhere = map[string]string{"unclean.leader.election.enable": "the controller elects"}

// A topic key that is said to work reaches the replicas of the topic, whether
// it was set for the topic or, by its broker twin, for all brokers or one.
func TestKeysThatWorkReachReplicas(t *testing.T) {
	static, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	x := &Executor{o: Options{Self: 1, Config: static}}
	set := func(values map[image.Resource]map[string]string) *image.Image {
		d := image.NewDelta(image.Empty())
		for r, keys := range values {
			for key, value := range keys {
				if err := d.Replay(&metarec.Config{ResourceType: int8(r.Type), ResourceName: r.Name, Name: key, Value: &value}); err != nil {
					t.Fatal(err)
				}
			}
		}
		return d.Apply(1, 1)
	}
	topic := image.TopicResource("t")
	for _, d := range config.TopicDefinitions() {
		if d.Effect != config.Works || elsewhere[d.Name] != "" {
			continue
		}
		c, ok := changed[d.Name]
		if !ok {
			t.Errorf("%s is said to work, and this test has no value for it", d.Name)
			continue
		}
		own := map[string]string{}
		if c.with != "" {
			own[c.with] = c.withValue
		}
		before := x.resolve(set(map[image.Resource]map[string]string{topic: own}), "t")
		check := func(where string, values map[image.Resource]map[string]string) {
			t.Helper()
			if after := x.resolve(set(values), "t"); reflect.DeepEqual(before, after) {
				t.Errorf("%s=%s %s changes nothing", d.Name, c.value, where)
			}
		}
		all := map[string]string{d.Name: c.value}
		for k, v := range own {
			all[k] = v
		}
		check("for the topic", map[image.Resource]map[string]string{topic: all})
		for _, twin := range config.BrokerKeys(d.Name) {
			if definition, _ := config.Lookup(twin); definition.Scope != config.ClusterWide {
				continue
			}
			check("for all brokers", map[image.Resource]map[string]string{topic: own, image.ClusterResource: {twin: c.value}})
			check("for this broker", map[image.Resource]map[string]string{topic: own, {Type: image.ResourceBroker, Name: "1"}: {twin: c.value}})
			if after := x.resolve(set(map[image.Resource]map[string]string{topic: own, {Type: image.ResourceBroker, Name: "2"}: {twin: c.value}}), "t"); !reflect.DeepEqual(before, after) {
				t.Errorf("%s for another broker changes something here", twin)
			}
		}
	}
	before := x.resolve(image.Empty(), "t")
	after := x.resolve(set(map[image.Resource]map[string]string{image.ClusterResource: {"producer.id.expiration.ms": "5"}}), "t")
	if before.Log.ProducerIDExpirationMs != 86_400_000 || after.Log.ProducerIDExpirationMs != 5 {
		t.Errorf("producer.id.expiration.ms: %d, then %d", before.Log.ProducerIDExpirationMs, after.Log.ProducerIDExpirationMs)
	}
}
