// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

func TestActivateEndsATransaction(t *testing.T) {
	w := cluster(t, "1")
	w.commit(Outcome{Records: []metarec.Record{&metarec.BeginTransaction{}, &metarec.Topic{Name: "t", TopicID: kafka.TopicID{1}}}})
	if !w.img.InTransaction() {
		t.Fatal("no transaction")
	}
	w.run("activate")
	if w.img.InTransaction() || w.img.Topic("t") != nil {
		t.Error("the predecessor's transaction counts")
	}
}

// TestBootstrapOfBuiltFeatures: what is built is finalized; with eligible leader
// replicas the cluster gets its min.insync.replicas.
func TestBootstrapOfBuiltFeatures(t *testing.T) {
	w := newWorld(t)
	w.env.Config.MinInSyncReplicas = 2
	w.env.Config.Features = append(w.env.Config.Features,
		metarec.FeatureRange{Name: "group.version", Max: 0}, metarec.FeatureRange{Name: FeatureELR, Max: 1})
	w.run("activate")
	var got []string
	for name := range w.img.Features() {
		got = append(got, name)
	}
	if want := []string{FeatureELR, image.FeatureMetadataVersion}; !slices.Equal(got, want) {
		t.Errorf("features %v, want %v", got, want)
	}
	if got := w.img.Configs(image.ClusterResource)[keyMinISR]; got != "2" {
		t.Errorf("min.insync.replicas of the cluster: %q", got)
	}
}

// TestELRFixesMinISR: when eligible leader replicas are switched on, the cluster
// has one min.insync.replicas, and brokers none of their own.
func TestELRFixesMinISR(t *testing.T) {
	w := newWorld(t)
	w.run("activate")
	w.env.Config.MinInSyncReplicas = 3
	w.env.Config.Features = append(w.env.Config.Features, metarec.FeatureRange{Name: FeatureELR, Max: 1})
	two := "2"
	w.commit(Outcome{Records: []metarec.Record{&metarec.Config{ResourceType: int8(image.ResourceBroker), ResourceName: "5", Name: keyMinISR, Value: &two}}})
	got := w.run(`UpdateFeatures v1 {"FeatureUpdates":[{"Feature":"eligible.leader.replicas.version","MaxVersionLevel":1,"UpgradeType":1}]}`)
	if w.img.FeatureLevel(FeatureELR) != 1 || w.img.Configs(image.ClusterResource)[keyMinISR] != "3" ||
		w.img.Configs(image.Resource{Type: image.ResourceBroker, Name: "5"}) != nil {
		t.Error(got)
	}
}

// TestUpdateFeaturesAsksAllNodes: a level that one registered node cannot do is
// refused.
func TestUpdateFeaturesAsksAllNodes(t *testing.T) {
	w := cluster(t, "1")
	w.env.Config.Features = append(w.env.Config.Features, metarec.FeatureRange{Name: "group.version", Max: 1})
	ask := `UpdateFeatures v1 {"ValidateOnly":true,"FeatureUpdates":[{"Feature":"group.version","MaxVersionLevel":1,"UpgradeType":1}]}`
	if got := w.run(ask); !strings.Contains(got, "Broker 1 does not support this feature.") {
		t.Errorf("a broker without the feature: %s", got)
	}
	able := []metarec.FeatureRange{{Name: "group.version", Max: 1}}
	w.commit(Outcome{Records: []metarec.Record{
		&metarec.RegisterBroker{BrokerID: 1, BrokerEpoch: 1, Features: able},
		&metarec.RegisterController{ControllerID: 7, Features: []metarec.FeatureRange{{Name: "group.version", Max: 0}}},
	}})
	if got := w.run(ask); !strings.Contains(got, "Controller 7 only supports versions 0-0") {
		t.Errorf("a controller with less: %s", got)
	}
	w.commit(Outcome{Records: []metarec.Record{&metarec.RegisterController{ControllerID: 7, Features: able}}})
	if got := w.run(ask); strings.Contains(got, "ErrorCode") || w.img.FeatureLevel("group.version") != 0 {
		t.Errorf("validate only: %s", got)
	}
}

// TestOfflineDirectory: the replicas of a directory that fails leave their ISRs,
// those of the broker's other directories stay.
func TestOfflineDirectory(t *testing.T) {
	w := cluster(t, "2")
	req := registration(1, 1)
	req.LogDirs = [][16]byte{uuid(101), uuid(102)}
	w.commit(w.handle(req))
	w.commit(w.handle(w.beat(1)))
	part := func(id kafka.PartitionID, dir byte) *metarec.Partition {
		return &metarec.Partition{
			TopicID: kafka.TopicID{1}, PartitionID: id, Leader: 1, Replicas: []kafka.NodeID{1, 2}, ISR: []kafka.NodeID{1, 2},
			Directories: []kafka.DirectoryID{uuid(dir), uuid(2)},
		}
	}
	w.commit(Outcome{Records: []metarec.Record{&metarec.Topic{Name: "t", TopicID: kafka.TopicID{1}}, part(0, 101), part(1, 102)}})
	beat := w.beat(1)
	beat.SetVersion(2)
	beat.OfflineLogDirs = [][16]byte{uuid(101)}
	beat.CordonedLogDirs = [][16]byte{uuid(102)}
	w.commit(w.handle(beat))
	if p := w.img.Topic("t").Partition(0); p.Leader != 2 || p.InSync(1) {
		t.Errorf("t-0, whose directory failed: %+v", *p)
	}
	if p := w.img.Topic("t").Partition(1); p.Leader != 1 || !p.InSync(1) {
		t.Errorf("t-1, in the other directory: %+v", *p)
	}
	b := w.img.Broker(1)
	if b.HasDirectory(uuid(101)) || !b.HasDirectory(uuid(102)) || !slices.Equal(b.CordonedLogDirs, []kafka.DirectoryID{uuid(102)}) {
		t.Errorf("broker: %+v", b)
	}
	if again := w.handle(beat); len(again.Records) != 0 {
		t.Errorf("the same heartbeat again gives records: %s", show(again.Records[0]))
	}
}

// TestSessions: when the next one runs out, and that a new active controller
// gives each broker a whole session.
func TestSessions(t *testing.T) {
	w := cluster(t, "1 2")
	w.run("at 5s")
	w.commit(w.handle(w.beat(2)))
	if at, ok := w.env.Sessions.Next(); !ok || at.Sub(w.start) != 9*time.Second+time.Nanosecond {
		t.Errorf("next at %v, %v", at.Sub(w.start), ok)
	}
	w.run("at 9500ms")
	if !w.img.Broker(1).Fenced || w.img.Broker(2).Fenced {
		t.Error(w.show())
	}
	w.env.Sessions = NewSessions(9*time.Second, w.img, w.env.Now)
	w.run("at 18s")
	if w.img.Broker(2).Fenced {
		t.Error("broker 2 had less than a session at the new controller")
	}
	w.run("at 18501ms")
	if !w.img.Broker(2).Fenced {
		t.Error("broker 2 was not heard of for a session")
	}
	if _, ok := w.env.Sessions.Next(); ok {
		t.Error("a session of a fenced broker is waited for")
	}
}

// TestManyPartitionsNeedNotBeOneBatch: what a broker's going changes may be more
// than a batch holds, and the fencing comes last.
func TestManyPartitionsNeedNotBeOneBatch(t *testing.T) {
	w := cluster(t, "1")
	recs := []metarec.Record{&metarec.Topic{Name: "t", TopicID: kafka.TopicID{1}}}
	for id := range kafka.PartitionID(12_000) {
		recs = append(recs, &metarec.Partition{
			TopicID: kafka.TopicID{1}, PartitionID: id, Leader: 1, Replicas: []kafka.NodeID{1}, ISR: []kafka.NodeID{1},
			Directories: []kafka.DirectoryID{uuid(1)},
		})
	}
	w.commit(Outcome{Records: recs})
	w.env.Now = w.env.Now.Add(time.Minute)
	out, more := Sweep(w.img, &w.env)
	if !more || out.Atomic || len(out.Records) != 12_001 {
		t.Fatalf("%d records, atomic %v", len(out.Records), out.Atomic)
	}
	if last, ok := out.Records[12_000].(*metarec.BrokerRegistrationChange); !ok || last.Fenced != 1 {
		t.Errorf("the last record is %s", show(out.Records[12_000]))
	}
}

// TestRegistrationRefusals are those that the scripts do not show.
func TestRegistrationRefusals(t *testing.T) {
	w := cluster(t, "1")
	w.env.Config.Features = append(w.env.Config.Features, metarec.FeatureRange{Name: "group.version", Max: 1})
	w.commit(Outcome{Records: []metarec.Record{&metarec.FeatureLevel{Name: "group.version", Level: 1}}})
	for name, c := range map[string]struct {
		change func(*kmsg.BrokerRegistrationRequest)
		want   kafka.Code
	}{
		"reserved directory":          {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = [][16]byte{{15: 1}} }, kafka.InvalidRegistration},
		"directory twice":             {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = append(r.LogDirs, r.LogDirs[0]) }, kafka.InvalidRegistration},
		"listener twice":              {func(r *kmsg.BrokerRegistrationRequest) { r.Listeners = append(r.Listeners, r.Listeners[0]) }, kafka.InvalidRegistration},
		"a ZooKeeper broker":          {func(r *kmsg.BrokerRegistrationRequest) { r.IsMigratingZkBroker = true }, kafka.BrokerIDNotRegistered},
		"without a finalized feature": {func(*kmsg.BrokerRegistrationRequest) {}, kafka.UnsupportedVersion},
		"a negative id":               {func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = -1 }, kafka.InvalidRequest},
	} {
		req := registration(9, 9)
		c.change(req)
		out := w.handle(req)
		resp := out.Response.(*kmsg.BrokerRegistrationResponse)
		if kafka.Code(resp.ErrorCode) != c.want || resp.BrokerEpoch != -1 || out.Reason == "" || len(out.Records) != 0 {
			t.Errorf("%s: %s, %q", name, show(resp), out.Reason)
		}
	}
}

// TestForeignLevelsDoNotCount: features that a log of Apache Kafka has finalized
// and that are not built keep no broker out.
func TestForeignLevelsDoNotCount(t *testing.T) {
	w := cluster(t, "1")
	w.commit(Outcome{Records: []metarec.Record{
		&metarec.FeatureLevel{Name: "transaction.version", Level: 2}, &metarec.FeatureLevel{Name: "share.version", Level: 2},
	}})
	w.commit(w.handle(registration(2, 2)))
	w.commit(w.handle(w.beat(2)))
	if b := w.img.Broker(2); b == nil || b.Fenced || w.img.FeatureLevel("share.version") != 2 {
		t.Error(w.show())
	}
}
