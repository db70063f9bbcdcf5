// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/config"
)

// ofResource is a resource of a type; keys narrow what is asked for.
func ofResource(t int8, name string, keys ...string) kmsg.DescribeConfigsRequestResource {
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceType(t), name, keys
	return r
}

func describeRequest(version int16, resources ...kmsg.DescribeConfigsRequestResource) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.Resources, req.IncludeSynonyms, req.IncludeDocumentation = version, resources, true, version >= 3
	return req
}

func (c *client) describeConfigs(version int16, resources ...kmsg.DescribeConfigsRequestResource) []kmsg.DescribeConfigsResponseResource {
	c.t.Helper()
	return c.do(describeRequest(version, resources...)).(*kmsg.DescribeConfigsResponse).Resources
}

// valueOf tells a key as "value source".
func valueOf(r kmsg.DescribeConfigsResponseResource, key string) string {
	for _, e := range r.Configs {
		if e.Name == key {
			if e.Value == nil {
				return fmt.Sprintf("null %d", e.Source)
			}
			return fmt.Sprintf("%s %d", *e.Value, e.Source)
		}
	}
	return "missing"
}

// 58 and 59: every key of topics and brokers, with value, source, type,
// synonyms and documentation, at every version.
func TestPoint59DescribeConfigs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"log.retention.hours=100", "message.max.bytes=900000"} })
		n.topic("t", 1, "cleanup.policy", "compact")
		for version := int16(1); version <= 4; version++ {
			got := n.dial().describeConfigs(version, ofResource(2, "t"), ofResource(4, "1"), ofResource(4, ""))
			if len(got) != 3 {
				t.Fatalf("v%d: %d resources", version, len(got))
			}
			topic, broker := got[0], got[1]
			if want := 38; len(topic.Configs) != want { // Kafka's 37 and ours
				t.Errorf("v%d: %d keys of the topic, want %d", version, len(topic.Configs), want)
			}
			if want := len(config.DescribeBroker(1, nil, nil, n.cfg)); len(broker.Configs) != want {
				t.Errorf("v%d: %d keys of the broker, want %d", version, len(broker.Configs), want)
			}
			for _, c := range []struct {
				from      kmsg.DescribeConfigsResponseResource
				key, want string
			}{
				{topic, "cleanup.policy", "compact 1"}, {topic, "max.message.bytes", "900000 4"}, {topic, "retention.ms", "360000000 5"},
				{topic, "min.insync.replicas", "1 5"}, {broker, "num.partitions", "1 5"}, {broker, "message.max.bytes", "900000 4"},
				{broker, "node.id", "1 4"}, {broker, "ssl.keystore.password", "null 5"}, {broker, "advertised.listeners", "null 5"},
			} {
				if got := valueOf(c.from, c.key); got != c.want {
					t.Errorf("v%d: %s is %s, want %s", version, c.key, got, c.want)
				}
			}
			for _, r := range got {
				if r.ErrorCode != 0 || r.ErrorMessage == nil || *r.ErrorMessage != "" {
					t.Errorf("v%d: %q: %d", version, r.ResourceName, r.ErrorCode)
				}
				for _, e := range r.Configs {
					if version >= 3 && (e.ConfigType == 0 || e.Documentation == nil) {
						t.Errorf("v%d: %s: type %d, documentation %v", version, e.Name, e.ConfigType, e.Documentation)
					}
					if e.IsSensitive != (e.ConfigType == kmsg.ConfigTypePassword) && version >= 3 {
						t.Errorf("v%d: %s: sensitive %v", version, e.Name, e.IsSensitive)
					}
				}
			}
			if len(got[2].Configs) != 0 {
				t.Errorf("v%d: nothing was set for all brokers, told %d keys", version, len(got[2].Configs))
			}
		}
	})
}

// A list of keys narrows the answer, an empty one does not; synonyms and
// documentation come when they are asked for.
func TestDescribeConfigsTellsWhatIsAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("t", 1)
		c := n.dial()
		got := c.describeConfigs(4, ofResource(2, "t", "retention.ms", "no.such.key", "retention.ms"), ofResource(2, "t", "segment.ms"), ofResource(2, "t", []string{}...))
		if len(got) != 3 || len(got[0].Configs) != 1 || len(got[1].Configs) != 1 || got[1].Configs[0].Name != "segment.ms" || len(got[2].Configs) != 38 {
			t.Fatalf("%+v", got)
		}
		key := c.describeConfigs(4, ofResource(2, "t", "max.message.bytes"))[0].Configs[0]
		if len(key.ConfigSynonyms) != 1 || key.ConfigSynonyms[0].Name != "message.max.bytes" || *key.ConfigSynonyms[0].Value != "1048588" || key.ConfigSynonyms[0].Source != 5 {
			t.Errorf("synonyms %+v", key.ConfigSynonyms)
		}
		req := describeRequest(4, ofResource(2, "t", "max.message.bytes"))
		req.IncludeSynonyms, req.IncludeDocumentation = false, false
		key = c.do(req).(*kmsg.DescribeConfigsResponse).Resources[0].Configs[0]
		if key.ConfigSynonyms != nil || key.Documentation != nil {
			t.Errorf("told unasked: %+v", key)
		}
	})
}

// A small request cannot make the broker build any size of answer: things may
// be named twice, but not without end.
func TestDescribeConfigsOfOneThingManyTimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"gregor.request.elements.max=2000"} })
		c := n.dial()
		var many []kmsg.DescribeConfigsRequestResource
		for i := range 1500 {
			many = append(many, ofResource(4, strings.Repeat("0", i%20)+"1"))
		}
		keys, refused := 0, 0
		for _, r := range c.describeConfigs(4, many...) {
			keys += len(r.Configs)
			if kafka.Code(r.ErrorCode) == kafka.InvalidRequest {
				refused++
			}
		}
		if keys > 4000 || refused < 1400 {
			t.Errorf("%d keys told, %d refused", keys, refused)
		}
	})
}

func TestDescribeConfigsRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		for _, x := range []struct {
			kind int8
			name string
			code kafka.Code
			text string
		}{
			{2, "nope", kafka.UnknownTopicOrPartition, ""},
			{2, "b ad", kafka.InvalidTopicException, "Topic name is invalid: 'b ad' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
			{2, "", kafka.InvalidTopicException, "Topic name is invalid: the empty string is not allowed"},
			{4, "2", kafka.InvalidRequest, "Unexpected broker id, expected 1 or empty string, but received 2"},
			{4, "-1", kafka.InvalidRequest, "Unexpected broker id, expected 1 or empty string, but received -1"},
			{4, "abc", kafka.InvalidRequest, "Broker id must be an integer, but it is: abc"},
			{4, " 1", kafka.InvalidRequest, "Broker id must be an integer, but it is:  1"},
			{4, "01", kafka.None, ""}, {4, "+1", kafka.None, ""},
			{16, "", kafka.InvalidRequest, "Client metrics subscription name must not be empty"},
			{16, "none", kafka.None, ""},
			{0, "x", kafka.InvalidRequest, malformedText}, {-1, "", kafka.InvalidRequest, malformedText}, {99, "x", kafka.InvalidRequest, malformedText},
		} {
			got := c.describeConfigs(4, ofResource(x.kind, x.name))[0]
			if kafka.Code(got.ErrorCode) != x.code || *got.ErrorMessage != x.text || got.ResourceName != x.name || int8(got.ResourceType) != x.kind {
				t.Errorf("%d %q: %v %q", x.kind, x.name, kafka.Code(got.ErrorCode), *got.ErrorMessage)
			}
			if (x.code == kafka.None) != (len(got.Configs) > 0) {
				t.Errorf("%d %q: %d keys", x.kind, x.name, len(got.Configs))
			}
		}
		// One unknown type refuses all, as in Kafka.
		for _, r := range c.describeConfigs(4, ofResource(4, "1"), ofResource(0, "x")) {
			if kafka.Code(r.ErrorCode) != kafka.InvalidRequest || len(r.Configs) != 0 {
				t.Errorf("%q: %v", r.ResourceName, kafka.Code(r.ErrorCode))
			}
		}
		if got := c.do(describeRequest(4)).(*kmsg.DescribeConfigsResponse); len(got.Resources) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// change is one resource to alter: "key=value", "key+value", "key-value" and
// "key!" set, append, subtract and delete.
func change(t int8, name string, ops ...string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(t), name
	for _, o := range ops {
		at := strings.IndexAny(o, "=+-!")
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name = o[:at]
		k.Op = map[byte]kmsg.IncrementalAlterConfigOp{'=': 0, '!': 1, '+': 2, '-': 3}[o[at]]
		if value := o[at+1:]; o[at] != '!' {
			k.Value = &value
		}
		r.Configs = append(r.Configs, k)
	}
	return r
}

// alter tells each resource's result as "CODE text".
func (c *client) alter(version int16, validateOnly bool, resources ...kmsg.IncrementalAlterConfigsRequestResource) []string {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.ValidateOnly, req.Resources = version, validateOnly, resources
	var out []string
	for i, r := range c.do(req).(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if r.ResourceName != resources[i].ResourceName || r.ResourceType != resources[i].ResourceType {
			c.t.Errorf("result %d is of %q", i, r.ResourceName)
		}
		out = append(out, verdict(r.ErrorCode, r.ErrorMessage))
	}
	return out
}

func verdict(code int16, text *string) string {
	if text == nil {
		return kafka.Code(code).String()
	}
	return kafka.Code(code).String() + " " + *text
}

// 60: what is changed is seen by the client's next request, and no restart is
// needed for it to hold.
func TestPoint60IncrementalAlterConfigs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		for version := int16(0); version <= 1; version++ {
			c := n.dial()
			began := time.Now()
			if got := c.alter(version, false, change(2, "t", "max.message.bytes=100", "cleanup.policy+compact", "retention.ms=5"), change(4, "", "log.roll.ms=9000")); !slices.Equal(got, []string{"NONE", "NONE"}) {
				t.Fatalf("v%d: %v", version, got)
			}
			if waited := time.Since(began); waited != 0 {
				t.Errorf("v%d: the answer came after %v, though the image held the change at once", version, waited)
			}
			r := c.describeConfigs(4, ofResource(2, "t"))[0]
			for key, want := range map[string]string{"max.message.bytes": "100 1", "cleanup.policy": "delete,compact 1", "retention.ms": "5 1", "segment.ms": "9000 3"} {
				if got := valueOf(r, key); got != want {
					t.Errorf("v%d: %s is %s, want %s", version, key, got, want)
				}
			}
			n.exec.Wait()
			if p := c.produce(9, "t", id, 0, 1, records(strings.Repeat("x", 200))); kafka.Code(p.ErrorCode) != kafka.MessageTooLarge {
				t.Errorf("v%d: a large batch: %v", version, kafka.Code(p.ErrorCode))
			}
			if got := c.alter(version, false, change(2, "t", "max.message.bytes!", "cleanup.policy-compact", "retention.ms!"), change(4, "", "log.roll.ms!")); !slices.Equal(got, []string{"NONE", "NONE"}) {
				t.Fatalf("v%d: %v", version, got)
			}
			n.exec.Wait()
			if p := c.produce(9, "t", id, 0, 1, records(strings.Repeat("x", 200))); p.ErrorCode != 0 {
				t.Errorf("v%d: the limit is gone: %v", version, kafka.Code(p.ErrorCode))
			}
		}
	})
}

func TestIncrementalAlterConfigsRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("t", 1)
		n.topic("u", 1)
		c := n.dial()
		for _, x := range []struct {
			change []kmsg.IncrementalAlterConfigsRequestResource
			want   []string
		}{
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(2, "t", "retention.ms+5")}, []string{"INVALID_CONFIG Can't APPEND to key retention.ms because its type is not LIST."}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(4, "", "message.max.bytes-1")}, []string{"INVALID_CONFIG Config value subtract is not allowed for config key: message.max.bytes"}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(2, "t", "retention.ms=1"), change(2, "t", "retention.ms=2"), change(2, "u", "retention.ms=3")},
				[]string{"INVALID_REQUEST Each resource must appear at most once.", "INVALID_REQUEST Each resource must appear at most once.", "NONE"}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(2, "t", "retention.ms=1", "retention.ms=2"), change(4, "1", "message.max.bytes=1", "message.max.bytes=2")},
				[]string{"INVALID_REQUEST Error due to duplicate config keys", "INVALID_REQUEST Error due to duplicate config keys"}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(2, "t", "retention.ms=abc"), change(2, "u", "zip=1")},
				[]string{"INVALID_CONFIG Invalid value abc for configuration retention.ms: Not a number of type LONG", "INVALID_CONFIG Unknown topic config name: zip"}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(4, "1", "num.partitions=4"), change(4, "", "listeners=PLAINTEXT://:1"), change(4, "2", "message.max.bytes=1"), change(4, "x", "a=1")},
				[]string{"INVALID_REQUEST Cannot update these configs dynamically: [num.partitions]",
					"INVALID_REQUEST Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
					"INVALID_REQUEST Unexpected broker id, expected 1, but received 2", "INVALID_REQUEST Node id must be an integer, but it is: x"}},
			{[]kmsg.IncrementalAlterConfigsRequestResource{change(2, "nope", "retention.ms=1"), change(0, "1", "a=1"), change(16, "", "interval.ms=1000")},
				[]string{"UNKNOWN_TOPIC_OR_PARTITION The topic 'nope' does not exist.", "INVALID_REQUEST Unknown resource type 0", "INVALID_REQUEST Subscription name can't be empty"}},
			{nil, nil},
		} {
			before := n.images.Load().Offset()
			if got := c.alter(1, false, x.change...); !slices.Equal(got, x.want) {
				t.Errorf("\n got %q\nwant %q", got, x.want)
			}
			if !slices.Contains(x.want, "NONE") && n.images.Load().Offset() != before {
				t.Errorf("%q: something was written", x.want)
			}
		}
		null := change(2, "t", "retention.ms=1")
		null.Configs[0].Value = nil
		if got := c.alter(1, false, null); got[0] != "INVALID_REQUEST Null value not supported for : retention.ms" {
			t.Error(got)
		}
		before := n.images.Load().Offset()
		if got := c.alter(1, true, change(2, "t", "retention.ms=1"), change(4, "", "log.roll.ms=1"), change(2, "u", "retention.ms=x")); got[0] != "NONE" || got[1] != "NONE" || got[2] == "NONE" {
			t.Error(got)
		}
		if n.images.Load().Offset() != before {
			t.Error("a trial was carried out")
		}
		n.frozen = true
		if got := c.alter(1, false, change(2, "t", "retention.ms=1"), change(4, "x", "a=1")); got[0] != "NOT_CONTROLLER NOT_CONTROLLER" || got[1] != "INVALID_REQUEST Node id must be an integer, but it is: x" {
			t.Error(got)
		}
	})
}

// A broker may be called 01: what is set for it is set for 1.
func TestBrokersHaveOneName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		if got := c.alter(1, false, change(4, "01", "message.max.bytes=820000")); got[0] != "NONE" {
			t.Fatal(got)
		}
		if got := valueOf(c.describeConfigs(4, ofResource(4, "1"))[0], "message.max.bytes"); got != "820000 2" {
			t.Error(got)
		}
	})
}

// AlterConfigs replaces: what is not named is deleted.
func TestAlterConfigsReplaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("t", 1)
		for version := int16(0); version <= 2; version++ {
			c := n.dial()
			alter := func(t int8, name string, validateOnly bool, settings ...string) string {
				req := kmsg.NewPtrAlterConfigsRequest()
				req.Version, req.ValidateOnly = version, validateOnly
				r := kmsg.NewAlterConfigsRequestResource()
				r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(t), name
				for _, s := range settings {
					k := kmsg.NewAlterConfigsRequestResourceConfig()
					key, value, _ := strings.Cut(s, "=")
					k.Name, k.Value = key, &value
					r.Configs = append(r.Configs, k)
				}
				req.Resources = append(req.Resources, r)
				got := c.do(req).(*kmsg.AlterConfigsResponse).Resources[0]
				return verdict(got.ErrorCode, got.ErrorMessage)
			}
			for _, x := range []struct {
				validateOnly bool
				settings     []string
				retention    string
				policy       string
			}{
				{false, []string{"retention.ms=1000", "cleanup.policy=compact"}, "1000 1", "compact 1"},
				{false, []string{"retention.ms=1000"}, "1000 1", "delete 5"},
				{true, []string{"retention.ms=2000"}, "1000 1", "delete 5"},
				{false, nil, "604800000 5", "delete 5"},
			} {
				if got := alter(2, "t", x.validateOnly, x.settings...); got != "NONE" {
					t.Errorf("v%d: %v: %s", version, x.settings, got)
				}
				r := c.describeConfigs(4, ofResource(2, "t"))[0]
				if a, b := valueOf(r, "retention.ms"), valueOf(r, "cleanup.policy"); a != x.retention || b != x.policy {
					t.Errorf("v%d: %v: %s, %s", version, x.settings, a, b)
				}
			}
			if got := alter(4, "", false, "message.max.bytes=500000"); got != "NONE" {
				t.Error(got)
			}
			if got := alter(4, "", false, "log.roll.ms=500000"); got != "NONE" {
				t.Error(got)
			}
			r := c.describeConfigs(4, ofResource(4, ""))[0]
			if len(r.Configs) != 1 || valueOf(r, "log.roll.ms") != "500000 3" {
				t.Errorf("all brokers: %+v", r.Configs)
			}
			for _, x := range []struct {
				kind     int8
				name     string
				settings []string
				want     string
			}{
				{4, "1", []string{"node.id=4"}, "INVALID_REQUEST Cannot update these configs dynamically: [node.id]"},
				{2, "nope", nil, "UNKNOWN_TOPIC_OR_PARTITION The topic 'nope' does not exist."},
				{2, "t", []string{"zip=1"}, "INVALID_CONFIG Unknown topic config name: zip"},
				{2, "t", []string{"retention.ms=1", "retention.ms=2"}, "INVALID_REQUEST Error due to duplicate config keys"},
			} {
				if got := alter(x.kind, x.name, false, x.settings...); got != x.want {
					t.Errorf("v%d: %s", version, got)
				}
			}
		}
	})
}

// The log level changes at once, and only here.
func TestBrokerLoggers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		level := func(name string) string {
			r := c.describeConfigs(4, ofResource(8, name))[0]
			if r.ErrorCode != 0 {
				return verdict(r.ErrorCode, r.ErrorMessage)
			}
			if len(r.Configs) != 1 {
				t.Fatalf("%+v", r.Configs)
			}
			return valueOf(r, "root")
		}
		if got := level("1"); got != "INFO 6" {
			t.Error(got)
		}
		before := n.images.Load().Offset()
		for _, x := range []struct {
			change kmsg.IncrementalAlterConfigsRequestResource
			try    bool
			want   string
			level  string
		}{
			{change(8, "1", "root=DEBUG"), false, "NONE", "DEBUG 6"}, {change(8, "01", "root=TRACE"), false, "NONE", "TRACE 6"},
			{change(8, "1", "root=FATAL"), false, "NONE", "FATAL 6"}, {change(8, "1", "root=WARN"), true, "NONE", "FATAL 6"},
			{change(8, "1", "root=WARN"), false, "NONE", "WARN 6"}, {change(8, "1"), false, "NONE", "WARN 6"},
			{change(8, "2", "root=DEBUG"), false, "INVALID_REQUEST Unexpected node id. Expected 1, but received 2", "WARN 6"},
			{change(8, "", "root=DEBUG"), false, "INVALID_REQUEST Node id must be an integer, but it is: ", "WARN 6"},
			{change(8, "1", "nope=DEBUG"), false, "INVALID_CONFIG Logger nope does not exist!", "WARN 6"},
			{change(8, "1", "nope!"), false, "INVALID_CONFIG Logger nope does not exist!", "WARN 6"},
			{change(8, "1", "root=debug"), false, "INVALID_CONFIG Cannot set the log level of root to debug as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN", "WARN 6"},
			{change(8, "1", "root!"), false, "INVALID_REQUEST Removing the log level of the root logger is not allowed", "WARN 6"},
			{change(8, "1", "root+INFO"), false, "INVALID_REQUEST APPEND operation is not allowed for the BROKER_LOGGER resource", "WARN 6"},
			{change(8, "1", "root=INFO", "root=DEBUG"), false, "INVALID_REQUEST Error due to duplicate config keys", "WARN 6"},
		} {
			if got := c.alter(1, x.try, x.change)[0]; got != x.want {
				t.Errorf("got %s, want %s", got, x.want)
			}
			if got := level("1"); got != x.level {
				t.Errorf("after %s: %s, want %s", x.want, got, x.level)
			}
		}
		for name, want := range map[string]string{
			"": "INVALID_REQUEST Broker id must not be empty", "x": "INVALID_REQUEST Broker id must be an integer, but it is: x",
			"2": "INVALID_REQUEST Unexpected broker id, expected 1 but received 2",
		} {
			if got := level(name); got != want {
				t.Errorf("%q: %s", name, got)
			}
		}
		if n.images.Load().Offset() != before {
			t.Error("a level went into the metadata")
		}
	})
}

func TestListConfigResources(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("b", 1)
		n.topic("a", 1)
		c := n.dial()
		if got := c.alter(1, false, change(16, "m", "interval.ms=1000")); got[0] != "NONE" {
			t.Fatal(got)
		}
		list := func(version int16, types ...int8) string {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.Version, req.ResourceTypes = version, types
			resp := c.do(req).(*kmsg.ListConfigResourcesResponse)
			var out []string
			for _, r := range resp.ConfigResources {
				out = append(out, fmt.Sprintf("%d:%s", r.Type, r.Name))
			}
			slices.Sort(out)
			return fmt.Sprint(resp.ErrorCode, out)
		}
		for _, x := range []struct {
			version int16
			types   []int8
			want    string
		}{
			{0, nil, "0 [16:m]"}, {1, nil, "0 [16:m 2:a 2:b 4:1 8:1]"}, {1, []int8{8}, "0 [8:1]"}, {1, []int8{2}, "0 [2:a 2:b]"}, {1, []int8{2, 4}, "0 [2:a 2:b 4:1]"},
			{1, []int8{32}, "0 []"}, {1, []int8{2, 99}, "35 []"}, {1, []int8{0}, "35 []"}, {1, []int8{-1}, "35 []"},
		} {
			if got := list(x.version, x.types...); got != x.want {
				t.Errorf("v%d %v: %s, want %s", x.version, x.types, got, x.want)
			}
		}
	})
}
