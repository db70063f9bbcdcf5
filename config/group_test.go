// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// Each value is judged as Apache Kafka does, in its words.
func TestGroupConfigsAreJudgedAsByKafka(t *testing.T) {
	static, _, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("testdata/group.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		n++
		at := strings.Split(lines.Text(), "\t")
		got := ""
		if err := ValidateGroup(map[string]string{at[0]: at[1]}, static); err != nil {
			got = err.Error()
		}
		if got != at[2] {
			t.Errorf("%s=%s:\n\tKafka:  %s\n\tgregor: %s", at[0], at[1], at[2], got)
		}
	}
	if n < 100 {
		t.Errorf("%d cases", n)
	}
}

// A session that is not longer than the heartbeat interval is refused, whichever
// of the two is the group's own.
func TestGroupSessionIsLongerThanItsHeartbeats(t *testing.T) {
	static, _, err := Load(Sources{Set: []string{"group.consumer.min.session.timeout.ms=1000", "group.consumer.max.heartbeat.interval.ms=50000"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
	for _, values := range []map[string]string{
		{"consumer.session.timeout.ms": "5000"}, {"consumer.heartbeat.interval.ms": "45000"},
		{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "6000"},
	} {
		if err := ValidateGroup(values, static); err == nil || err.Error() != want {
			t.Errorf("%v: %v", values, err)
		}
	}
	if err := ValidateGroup(map[string]string{"consumer.session.timeout.ms": "5001"}, static); err != nil {
		t.Error(err)
	}
}

// What a group has for itself goes before the broker's, within its bounds.
func TestGroupConfigInForce(t *testing.T) {
	static, _, err := Load(Sources{Set: []string{"group.consumer.session.timeout.ms=50000", "group.consumer.max.heartbeat.interval.ms=7000"}})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"consumer.session.timeout.ms": "55000", "consumer.heartbeat.interval.ms": "15000", "consumer.assignment.interval.ms": "nonsense"}
	g := ResolveGroup(values, nil, nil, static)
	if *g.ConsumerSessionTimeoutMs != 55000 || *g.ConsumerHeartbeatIntervalMs != 7000 || g.ConsumerAssignmentIntervalMs != nil {
		t.Errorf("in force: %d, %d, %v", *g.ConsumerSessionTimeoutMs, *g.ConsumerHeartbeatIntervalMs, g.ConsumerAssignmentIntervalMs)
	}
	told := map[string]Entry{}
	for _, e := range DescribeGroup(values, nil, nil, static) {
		told[e.Name] = e
	}
	if len(told) != 21 {
		t.Errorf("%d keys", len(told))
	}
	for _, want := range []struct {
		name, value string
		source      ConfigSource
		synonyms    int
	}{
		{"consumer.session.timeout.ms", "55000", SourceGroup, 3}, // the group's, the broker's and Kafka's
		{"share.auto.offset.reset", "latest", SourceDefault, 1},
		{"streams.assignor.name", "sticky", SourceDefault, 1},
	} {
		if e := told[want.name]; e.Value == nil || *e.Value != want.value || e.Source != want.source || len(e.Synonyms) != want.synonyms {
			t.Errorf("%s: %+v", want.name, e)
		}
	}
}

// What a running broker is told for all groups counts for those that have nothing
// of their own.
func TestGroupConfigOfARunningBroker(t *testing.T) {
	static := mustLoad(t)
	const key = "group.consumer.assignment.interval.ms"
	own := map[string]string{"consumer.assignment.interval.ms": "7"}
	cluster, broker, far := map[string]string{key: "3000"}, map[string]string{key: "4000"}, map[string]string{key: "99999"}
	for _, c := range []struct {
		own, cluster, broker map[string]string
		want                 int32
	}{{nil, cluster, nil, 3000}, {nil, cluster, broker, 4000}, {own, cluster, broker, 7}, {nil, far, nil, 15000}, {map[string]string{"consumer.assignment.interval.ms": "x"}, cluster, nil, 3000}} {
		if got := ResolveGroup(c.own, c.cluster, c.broker, static).ConsumerAssignmentIntervalMs; got == nil || *got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if g := ResolveGroup(nil, nil, nil, static); g != (Group{}) {
		t.Errorf("nothing is set: %+v", g)
	}
}

// A node whose keys of groups contradict each other does not start, as Kafka's does not.
func TestGroupKeysThatContradictEachOther(t *testing.T) {
	for setting, want := range map[string]string{
		"group.consumer.session.timeout.ms=100000":       "group.consumer.session.timeout.ms=100000 (--set): must be at most group.consumer.max.session.timeout.ms, 60000",
		"group.consumer.session.timeout.ms=30000":        "group.consumer.session.timeout.ms=30000 (--set): must be at least group.consumer.min.session.timeout.ms, 45000",
		"group.consumer.heartbeat.interval.ms=20000":     "group.consumer.heartbeat.interval.ms=20000 (--set): must be at most group.consumer.max.heartbeat.interval.ms, 15000",
		"group.consumer.heartbeat.interval.ms=100":       "group.consumer.heartbeat.interval.ms=100 (--set): must be at least group.consumer.min.heartbeat.interval.ms, 5000",
		"group.consumer.assignment.interval.ms=20000":    "group.consumer.assignment.interval.ms=20000 (--set): must be at most group.consumer.max.assignment.interval.ms, 15000",
		"group.consumer.min.session.timeout.ms=50000":    "group.consumer.min.session.timeout.ms=50000 (--set): must be at most group.consumer.session.timeout.ms, 45000",
		"group.consumer.max.assignment.interval.ms=999":  "group.consumer.max.assignment.interval.ms=999 (--set): must be at least group.consumer.assignment.interval.ms, 1000",
		"group.coordinator.rebalance.protocols=consumer": "group.coordinator.rebalance.protocols=consumer (--set): classic cannot be left out",
	} {
		if _, _, err := Load(Sources{Set: []string{setting}}); err == nil || err.Error() != want {
			t.Errorf("%s:\n\tgot  %v\n\twant %s", setting, err, want)
		}
	}
	beats := []string{"group.consumer.min.session.timeout.ms=1000", "group.consumer.session.timeout.ms=5000"}
	if _, _, err := Load(Sources{Set: beats}); err == nil || !strings.Contains(err.Error(), "group.consumer.session.timeout.ms=5000 (--set): must be more than group.consumer.heartbeat.interval.ms, 5000") {
		t.Errorf("a session as short as the interval: %v", err)
	}
}
