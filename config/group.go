// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"gregor/base/kafka"
)

// groupKey is one key of a group's configuration.
type groupKey struct {
	Definition
	// broker is the broker's key that holds where the group has none; empty:
	// Definition.Default does.
	broker string
	// min and max are broker keys that bound the value; empty: there is no bound.
	min, max IntKey
}

// groupKeys are the keys of groups, by name. Those of share and of streams
// groups are kept and checked; there are no such groups yet.
var groupKeys = [...]groupKey{
	{Definition{Name: "consumer.assignment.interval.ms", Type: Int, Check: atLeast(0), Doc: "Shortest time between assignments of a consumer group."},
		"group.consumer.assignment.interval.ms", GroupConsumerMinAssignmentIntervalMs, GroupConsumerMaxAssignmentIntervalMs},
	{Definition{Name: "consumer.assignor.offload.enable", Type: Boolean, Hidden: true, Doc: "Whether Kafka assigns on a background thread."}, "group.consumer.assignor.offload.enable", "", ""},
	{Definition{Name: "consumer.heartbeat.interval.ms", Type: Int, Check: atLeast(1), Doc: "Heartbeat interval given to the members of a consumer group."},
		"group.consumer.heartbeat.interval.ms", GroupConsumerMinHeartbeatIntervalMs, GroupConsumerMaxHeartbeatIntervalMs},
	{Definition{Name: "consumer.session.timeout.ms", Type: Int, Check: atLeast(1), Doc: "Silence after which a member of a consumer group is gone."},
		"group.consumer.session.timeout.ms", GroupConsumerMinSessionTimeoutMs, GroupConsumerMaxSessionTimeoutMs},
	{Definition{Name: "errors.deadletterqueue.copy.record.enable", Type: Boolean, Default: "false", Doc: "Whether dead letters of a share group hold the record itself."}, "", "", ""},
	{Definition{Name: deadLetters, Type: String, Doc: "Topic of a share group's dead letters; none when empty."}, "", "", ""},
	{Definition{Name: "share.assignment.interval.ms", Type: Int, Check: atLeast(0), Doc: "Shortest time between assignments of a share group."},
		"group.share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{Definition{Name: "share.assignor.offload.enable", Type: Boolean, Hidden: true, Doc: "Whether Kafka assigns on a background thread."}, "group.share.assignor.offload.enable", "", ""},
	{Definition{Name: "share.auto.offset.reset", Type: String, Default: "latest", Check: offsetReset{}, Doc: "Where a share group begins."}, "", "", ""},
	{Definition{Name: "share.delivery.count.limit", Type: Int, Check: atLeast(2), Doc: "Deliveries of a record to a share group before it is given up."},
		"group.share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{Definition{Name: "share.heartbeat.interval.ms", Type: Int, Check: atLeast(1), Doc: "Heartbeat interval given to the members of a share group."},
		"group.share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{Definition{Name: "share.isolation.level", Type: String, Default: "read_uncommitted", Check: oneOf{of: []string{"read_committed", "read_uncommitted"}}, Doc: "Whether a share group reads records of open and aborted transactions."}, "", "", ""},
	{Definition{Name: "share.partition.max.record.locks", Type: Int, Check: atLeast(100), Doc: "Records of a partition that a share group may lock at once."},
		"group.share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{Definition{Name: "share.record.lock.duration.ms", Type: Int, Check: atLeast(1000), Doc: "How long a record that was delivered to a share group stays locked."},
		"group.share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{Definition{Name: "share.renew.acknowledge.enable", Type: Boolean, Default: "true", Doc: "Whether members of a share group may prolong their locks."}, "", "", ""},
	{Definition{Name: "share.session.timeout.ms", Type: Int, Check: atLeast(1), Doc: "Silence after which a member of a share group is gone."},
		"group.share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{Definition{Name: "streams.acceptable.recovery.lag", Type: Long, Check: atLeast(0), Hidden: true, Doc: "Lag at which a task of a streams group counts as caught up."}, "group.streams.acceptable.recovery.lag", "", ""},
	{Definition{Name: "streams.assignment.interval.ms", Type: Int, Check: atLeast(0), Doc: "Shortest time between assignments of a streams group."},
		"group.streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
	{Definition{Name: "streams.assignor.name", Type: String, Doc: "Assignor of a streams group, one of group.streams.assignors."}, streamsAssignors, "", ""},
	{Definition{Name: "streams.assignor.offload.enable", Type: Boolean, Hidden: true, Doc: "Whether Kafka assigns on a background thread."}, "group.streams.assignor.offload.enable", "", ""},
	{Definition{Name: "streams.heartbeat.interval.ms", Type: Int, Check: atLeast(1), Doc: "Heartbeat interval given to the members of a streams group."},
		"group.streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{Definition{Name: "streams.initial.rebalance.delay.ms", Type: Int, Check: atLeast(0), Doc: "Wait for more members before the first rebalance of a streams group."}, "group.streams.initial.rebalance.delay.ms", "", ""},
	{Definition{Name: "streams.num.standby.replicas", Type: Int, Check: atLeast(0), Doc: "Standby replicas of a task."}, "group.streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{Definition{Name: "streams.num.warmup.replicas", Type: Int, Check: atLeast(0), Hidden: true, Doc: "Warm-up replicas at once."}, "group.streams.num.warmup.replicas", "", "group.streams.max.warmup.replicas"},
	{Definition{Name: streamsTags, Type: List, Check: elements{empty: true}, Doc: "Client tags that spread standby replicas."}, "group.streams.rack.aware.assignment.tags", "", ""},
	{Definition{Name: "streams.session.timeout.ms", Type: Int, Check: atLeast(1), Doc: "Silence after which a member of a streams group is gone."},
		"group.streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{Definition{Name: "streams.task.offset.interval.ms", Type: Int, Check: atLeast(1), Hidden: true, Doc: "Interval of offset reports."}, "group.streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", ""},
}

const (
	streamsAssignors = "group.streams.assignors"
	deadLetters      = "errors.deadletterqueue.topic.name"
	streamsTags      = "streams.rack.aware.assignment.tags"
)

func groupKeyOf(name string) *groupKey {
	for i := range groupKeys {
		if groupKeys[i].Name == name {
			return &groupKeys[i]
		}
	}
	return nil
}

// InvalidGroupConfigError says why the configuration of a group is refused. Its
// text is Kafka's.
type InvalidGroupConfigError struct{ Message string }

func (e *InvalidGroupConfigError) Error() string { return e.Message }

// Unwrap lets kafka.CodeOf find the code.
func (e *InvalidGroupConfigError) Unwrap() error { return kafka.InvalidConfig }

// ValidateGroup judges the configuration of a group as a whole. The error is a
// *ValueError or an *InvalidGroupConfigError.
func ValidateGroup(values map[string]string, static *Node) error {
	numbers := map[string]int64{}
	for _, name := range keysOf(values) {
		if groupKeyOf(name) == nil {
			return &InvalidGroupConfigError{"Unknown group config name: " + name}
		}
	}
	for _, name := range keysOf(values) {
		k := groupKeyOf(name)
		v, err := k.parse(values[name])
		if err != nil {
			return err
		}
		if name == streamsTags { // parse takes repeated elements out
			v, _ = parseType(List, values[name])
		}
		if n, ok := v.(int64); ok {
			numbers[name] = n
		}
		if err := k.judge(v, static); err != nil {
			return err
		}
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, heartbeat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		_, own := numbers[session]
		_, beats := numbers[heartbeat]
		if (own || beats) && groupNumber(numbers, session, static) <= groupNumber(numbers, heartbeat, static) {
			return &InvalidGroupConfigError{session + " must be greater than " + heartbeat}
		}
	}
	return nil
}

// judge compares a value with what the broker allows.
func (k *groupKey) judge(v any, static *Node) error {
	switch v := v.(type) {
	case int64:
		return k.judgeBounds(v, static)
	case string:
		known := static.List(ListKey(streamsAssignors))
		switch {
		case k.broker == streamsAssignors && !slices.Contains(known, v):
			return &InvalidGroupConfigError{fmt.Sprintf("%s '%s' is not a registered task assignor. Registered assignors are: [%s].", k.Name, v, strings.Join(known, ", "))}
		case k.Name == deadLetters && strings.HasPrefix(v, "__"):
			return &InvalidGroupConfigError{deadLetters + ": DLQ topic name must not start with '__'"}
		}
	case []string:
		if k.Name == streamsTags && len(withoutRepetition(v)) != len(v) {
			return &InvalidGroupConfigError{streamsTags + " must not contain duplicate tag keys."}
		}
	}
	return nil
}

func (k *groupKey) judgeBounds(n int64, static *Node) error {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if k.min != "" {
		low = int64(static.Int(k.min))
	}
	if k.max != "" {
		high = int64(static.Int(k.max))
	}
	switch {
	case n >= low && n <= high:
		return nil
	case k.min != "" && k.max != "":
		return &InvalidGroupConfigError{fmt.Sprintf("%s must be in the range %d to %d inclusive.", k.Name, low, high)}
	case k.max != "":
		return &InvalidGroupConfigError{fmt.Sprintf("%s must be less than or equal to %d", k.Name, high)}
	}
	return &InvalidGroupConfigError{fmt.Sprintf("%s must be greater than or equal to %d", k.Name, low)}
}

func groupNumber(numbers map[string]int64, name string, static *Node) int64 {
	if n, ok := numbers[name]; ok {
		return n
	}
	return int64(static.Int(IntKey(groupKeyOf(name).broker)))
}

// DescribeGroup gives the keys of a group, internal ones only where they are
// set. A value that is out of the broker's bounds, which may have been changed
// since, is told and held within them (ResolveGroup).
func DescribeGroup(values, clusterDynamic, brokerDynamic map[string]string, static *Node) []Entry {
	r := resolver{layers(nil, clusterDynamic, brokerDynamic), static}
	entries := make([]Entry, 0, len(groupKeys))
	for i := range groupKeys {
		k := &groupKeys[i]
		own, set := values[k.Name]
		if k.Hidden && !set {
			continue
		}
		e := Entry{Name: k.Name, Type: k.Type, Doc: k.Doc}
		if v, err := k.parse(own); set && err == nil {
			text := format(v)
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, &text, SourceGroup})
		}
		if k.broker == "" {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, &k.Default, SourceDefault})
		} else {
			e.Synonyms = append(e.Synonyms, r.brokerSynonyms(k.broker, false)...)
		}
		e.Source = sourceOf(e.Synonyms)
		e.SetSource = e.Source
		e.Value = e.Synonyms[0].Value
		e.Set = e.Value
		entries = append(entries, e)
	}
	return entries
}

// Group is what a consumer group has for itself; nil is the broker's.
type Group struct {
	ConsumerSessionTimeoutMs, ConsumerHeartbeatIntervalMs, ConsumerAssignmentIntervalMs *int32
}

// ResolveGroup reads the configuration of a group, and what a running broker was
// told for all of them. Values that this build does not understand count as not
// set, and those outside the broker's bounds as the nearest within.
func ResolveGroup(values, clusterDynamic, brokerDynamic map[string]string, static *Node) Group {
	read := func(name string) *int32 {
		k := groupKeyOf(name)
		for _, from := range [...]struct {
			values map[string]string
			name   string
		}{{values, name}, {brokerDynamic, k.broker}, {clusterDynamic, k.broker}} {
			text, ok := from.values[from.name]
			if !ok {
				continue
			}
			if v, err := k.parse(text); err == nil {
				n := min(max(int32(v.(int64)), static.Int(k.min)), static.Int(k.max))
				return &n
			}
		}
		return nil
	}
	return Group{
		ConsumerSessionTimeoutMs:     read("consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMs:  read("consumer.heartbeat.interval.ms"),
		ConsumerAssignmentIntervalMs: read("consumer.assignment.interval.ms"),
	}
}

// groupOrder are keys of which the first is not larger than the second.
var groupOrder = [...]struct{ small, large IntKey }{
	{GroupConsumerMinHeartbeatIntervalMs, GroupConsumerMaxHeartbeatIntervalMs},
	{GroupConsumerMinHeartbeatIntervalMs, GroupConsumerHeartbeatIntervalMs},
	{GroupConsumerHeartbeatIntervalMs, GroupConsumerMaxHeartbeatIntervalMs},
	{GroupConsumerMinSessionTimeoutMs, GroupConsumerMaxSessionTimeoutMs},
	{GroupConsumerMinSessionTimeoutMs, GroupConsumerSessionTimeoutMs},
	{GroupConsumerSessionTimeoutMs, GroupConsumerMaxSessionTimeoutMs},
	{GroupConsumerMinAssignmentIntervalMs, GroupConsumerMaxAssignmentIntervalMs},
	{GroupConsumerMinAssignmentIntervalMs, GroupConsumerAssignmentIntervalMs},
	{GroupConsumerAssignmentIntervalMs, GroupConsumerMaxAssignmentIntervalMs},
}

// checkGroups holds Kafka's rules over the broker's keys of groups.
func (l *loader) checkGroups() {
	n := l.node
	for _, o := range groupOrder {
		if small, large := n.Int(o.small), n.Int(o.large); small > large {
			l.blameOneOf(o.small, "must be at most %s, %d", o.large, "must be at least %s, %d")
		}
	}
	if n.Int(GroupConsumerHeartbeatIntervalMs) >= n.Int(GroupConsumerSessionTimeoutMs) {
		l.blameOneOf(GroupConsumerHeartbeatIntervalMs, "must be less than %s, %d", GroupConsumerSessionTimeoutMs, "must be more than %s, %d")
	}
	if !slices.Contains(n.List(GroupCoordinatorRebalanceProtocols), "classic") {
		l.blame(string(GroupCoordinatorRebalanceProtocols), "classic cannot be left out")
	}
}

// blameOneOf blames that of two keys that was set, each in words that name the
// other one and its value; the first if both were.
func (l *loader) blameOneOf(first IntKey, sayFirst string, second IntKey, saySecond string) {
	if !l.isSet(string(first)) {
		first, sayFirst, second = second, saySecond, first
	}
	l.blame(string(first), sayFirst, second, l.node.Int(second))
}

// checkGroupsDynamic holds the same rules over what changes on a running broker.
func checkGroupsDynamic(values map[string]string, r *resolver, static *Node) error {
	const name = GroupConsumerAssignmentIntervalMs
	if _, ok := values[string(name)]; !ok {
		return nil
	}
	switch ms := r.long(string(name)); {
	case ms < int64(static.Int(GroupConsumerMinAssignmentIntervalMs)):
		return invalidBroker("%s must be greater than or equal to %s", name, GroupConsumerMinAssignmentIntervalMs)
	case ms > int64(static.Int(GroupConsumerMaxAssignmentIntervalMs)):
		return invalidBroker("%s must be less than or equal to %s", name, GroupConsumerMaxAssignmentIntervalMs)
	}
	return nil
}

// offsetReset allows where a share group may begin.
type offsetReset struct{}

// duration is what Java's Duration reads.
var duration = regexp.MustCompile(`(?i)^\+?P(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+(?:[.,]\d{0,9})?S)?)?$`)

func (offsetReset) check(v any) *violation {
	s, _ := v.(string)
	length, byDuration := strings.CutPrefix(s, "by_duration:")
	if s == "earliest" || s == "latest" || byDuration && duration.MatchString(length) && !strings.HasSuffix(strings.ToUpper(length), "T") && len(length) > 1 {
		return nil
	}
	return &violation{text: "Invalid value `" + s + "` for configuration {key}. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."}
}

func (offsetReset) String() string { return "earliest, latest, by_duration:<PnDTnHnMn.nS>" }
