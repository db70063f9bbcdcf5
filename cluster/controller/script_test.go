// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/test/script"
)

// TestScripts runs testdata/*.txt. A block is a command, then ---- and what
// comes of it: the records and the reply. Commands are
//
//	Name vN {json of kmsg's request}    "@topic" stands for a topic's id, "#n" for the id n
//	brokers 1 2 3                       register and unfence brokers; 4/east gives a rack
//	activate                            what a new active controller writes
//	at 10s                              moves the clock on and fences whose session ran out
//	gone 1                              broker 1 is known to be dead
//	balance                             gives leadership back to preferred replicas
//	elr                                 a log from elsewhere finalized eligible leader replicas
//	directories                         the directory of each replica
//	image                               brokers, features and partitions as they are
func TestScripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func([]string) string {
		w := newWorld(t)
		return func(commands []string) string { return w.run(strings.Join(commands, " ")) }
	})
}

// world is a cluster's metadata and its active controller.
type world struct {
	t     testing.TB
	img   *image.Image
	env   Env
	start time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, img: image.Empty(), start: time.Unix(1_000_000, 0)}
	w.env = Env{
		Now:    w.start,
		Random: rand.NewChaCha8([32]byte{4, 4}),
		Config: &Config{
			NodeID: 100, ClusterID: "cluster", NumPartitions: 1, DefaultReplicationFactor: 1, MinInSyncReplicas: 1,
			DeleteTopicEnable: true, RecordsMax: 10_000,
			Features: []metarec.FeatureRange{{Name: image.FeatureMetadataVersion, Min: 7, Max: MetadataVersion44IV2}, {Name: FeatureKRaftVersion, Min: 0, Max: 1}},
		},
	}
	w.env.Sessions = NewSessions(9*time.Second, w.img, w.start)
	w.env.ListConfig = func(_ image.ResourceType, key string) (string, bool) {
		bases := map[string]string{"cleanup.policy": "delete", "leader.replication.throttled.replicas": ""}
		base, ok := bases[key]
		return base, ok
	}
	w.env.ValidateConfig = func(_ *image.Image, r image.Resource, values, existing map[string]string) error {
		if v, ok := values["retention.ms"]; ok && r.Type == image.ResourceTopic {
			if _, err := strconv.Atoi(v); err != nil {
				return fmt.Errorf("Invalid value %s for configuration retention.ms, it was %s", v, existing["retention.ms"])
			}
		}
		return nil
	}
	return w
}

// commit replays an outcome and returns it as text.
func (w *world) commit(out Outcome) string {
	w.t.Helper()
	var b strings.Builder
	d := image.NewDelta(w.img)
	for _, rec := range out.Records {
		if err := d.Replay(rec); err != nil {
			w.t.Fatalf("replay of %s: %v", show(rec), err)
		}
		fmt.Fprintf(&b, "+ %s\n", show(rec))
	}
	if len(out.Records) != 0 {
		w.img = d.Apply(w.img.Offset()+kafka.Offset(len(out.Records)), 1)
	}
	w.env.NextOffset = w.img.Offset() + 1
	if out.Response != nil {
		fmt.Fprintf(&b, "= %s\n", show(out.Response))
	}
	return b.String()
}

func (w *world) handle(req kmsg.Request) Outcome {
	w.t.Helper()
	out, err := Handle(w.img, &w.env, req)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

var requests = map[string]func() kmsg.Request{
	"BrokerRegistration":     func() kmsg.Request { return kmsg.NewPtrBrokerRegistrationRequest() },
	"BrokerHeartbeat":        func() kmsg.Request { return kmsg.NewPtrBrokerHeartbeatRequest() },
	"UnregisterBroker":       func() kmsg.Request { return kmsg.NewPtrUnregisterBrokerRequest() },
	"ControllerRegistration": func() kmsg.Request { return kmsg.NewPtrControllerRegistrationRequest() },
	"CreateTopics":           func() kmsg.Request { return kmsg.NewPtrCreateTopicsRequest() },
	"DeleteTopics":           func() kmsg.Request { return kmsg.NewPtrDeleteTopicsRequest() },
	"CreatePartitions":       func() kmsg.Request { return kmsg.NewPtrCreatePartitionsRequest() },
	"AllocateProducerIds":    func() kmsg.Request { return kmsg.NewPtrAllocateProducerIDsRequest() },
	"AlterPartition":         func() kmsg.Request { return kmsg.NewPtrAlterPartitionRequest() },
	"AssignReplicasToDirs":   func() kmsg.Request { return kmsg.NewPtrAssignReplicasToDirsRequest() },
	"UpdateFeatures":         func() kmsg.Request { return kmsg.NewPtrUpdateFeaturesRequest() },
	"ElectLeaders":           func() kmsg.Request { return kmsg.NewPtrElectLeadersRequest() },
	"AlterPartitionReassignments": func() kmsg.Request {
		return kmsg.NewPtrAlterPartitionAssignmentsRequest()
	},
	"ListPartitionReassignments": func() kmsg.Request {
		return kmsg.NewPtrListPartitionReassignmentsRequest()
	},
	"AlterConfigs": func() kmsg.Request { return kmsg.NewPtrAlterConfigsRequest() },
	"IncrementalAlterConfigs": func() kmsg.Request {
		return kmsg.NewPtrIncrementalAlterConfigsRequest()
	},
	"AlterClientQuotas": func() kmsg.Request { return kmsg.NewPtrAlterClientQuotasRequest() },
}

func (w *world) run(command string) string {
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "activate":
		return w.commit(Activate(w.img, &w.env))
	case "brokers":
		for _, arg := range strings.Fields(rest) {
			id, rack, racked := strings.Cut(arg, "/")
			n, err := strconv.Atoi(id)
			if err != nil {
				w.t.Fatal(err)
			}
			req := registration(int32(n), byte(n))
			if racked {
				req.Rack = &rack
			}
			w.commit(w.handle(req))
			w.commit(w.handle(w.beat(int32(n))))
		}
		return ""
	case "at":
		d, err := time.ParseDuration(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		w.env.Now = w.start.Add(d)
		return w.sweep()
	case "gone":
		n, _ := strconv.Atoi(rest)
		w.env.Sessions.Drop(kafka.NodeID(n), w.img.Broker(kafka.NodeID(n)).BrokerEpoch)
		return ""
	case "balance":
		return w.commit(BalanceLeaders(w.img, &w.env, 100))
	case "tokens":
		n, err := strconv.Atoi(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		w.env.Mutations = &tokens{left: n}
		return ""
	case "elr":
		return w.commit(Outcome{Records: []metarec.Record{&metarec.FeatureLevel{Name: FeatureELR, Level: 1}}})
	case "directories":
		return w.directories()
	case "image":
		return w.show()
	}
	return w.commit(w.handle(w.request(command)))
}

// tokens is a quota that does not fill up. A wait of a second a partition is
// told.
type tokens struct {
	left       int
	throttleMs int32
}

func (q *tokens) Charge(partitions int, strict bool) bool {
	if strict && q.left < 0 {
		q.throttleMs = int32(-1000 * q.left)
		return false
	}
	q.left -= partitions
	if !strict {
		q.throttleMs = int32(max(-1000*q.left, 0))
	}
	return true
}

func (q *tokens) ThrottleMs() int32 { return q.throttleMs }

// request reads "Name vN {json}".
func (w *world) request(command string) kmsg.Request {
	verb, rest, _ := strings.Cut(command, " ")
	make, ok := requests[verb]
	if !ok {
		w.t.Fatalf("no command %q", command)
	}
	req := make()
	v, body, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(strings.TrimPrefix(v, "v"))
	if err != nil {
		w.t.Fatalf("%s: %v", command, err)
	}
	req.SetVersion(int16(n))
	if err := json.Unmarshal([]byte(w.ids(body)), req); err != nil {
		w.t.Fatalf("%s: %v", command, err)
	}
	return req
}

func (w *world) sweep() string {
	var b strings.Builder
	for {
		out, more := Sweep(w.img, &w.env)
		if !more {
			return b.String()
		}
		b.WriteString(w.commit(out))
	}
}

var idText = regexp.MustCompile(`"[@#][^"]+"`)

// ids puts the ids in, which kmsg wants as arrays of numbers.
func (w *world) ids(body string) string {
	return idText.ReplaceAllStringFunc(body, func(s string) string {
		name := strings.Trim(s, `"`)
		id := uuid(99) // of no topic
		if t := w.img.Topic(name[1:]); name[0] == '@' && t != nil {
			id = t.ID
		} else if n, err := strconv.Atoi(name[1:]); err == nil {
			id = uuid(byte(n))
		}
		b, _ := json.Marshal(id)
		return string(b)
	})
}

// uuid is a small id; Kafka keeps the first hundred for itself.
func uuid(n byte) [16]byte { return [16]byte{0: n, 15: n} }

// registration is broker id's, of an incarnation.
func registration(id int32, incarnation byte) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.SetVersion(4)
	req.BrokerID, req.ClusterID, req.IncarnationID = id, "cluster", uuid(incarnation)
	req.LogDirs = [][16]byte{uuid(byte(id))}
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "PLAINTEXT", "localhost", 9092
	req.Listeners = append(req.Listeners, l)
	f := kmsg.NewBrokerRegistrationRequestFeature()
	f.Name, f.MinSupportedVersion, f.MaxSupportedVersion = image.FeatureMetadataVersion, 7, MetadataVersion44IV2
	req.Features = append(req.Features, f)
	return req
}

// beat is the heartbeat of a broker that has read all metadata.
func (w *world) beat(id int32) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(1)
	req.BrokerID, req.CurrentMetadataOffset = id, int64(w.img.Offset())
	if b := w.img.Broker(kafka.NodeID(id)); b != nil {
		req.BrokerEpoch = int64(b.BrokerEpoch)
	}
	return req
}

func (w *world) show() string {
	var b strings.Builder
	for name, level := range w.img.Features() {
		fmt.Fprintf(&b, "feature %s %d\n", name, level)
	}
	for br := range w.img.Brokers() {
		fmt.Fprintf(&b, "broker %d epoch %d fenced %v stopping %v\n", br.BrokerID, br.BrokerEpoch, br.Fenced, br.InControlledShutdown)
	}
	for q := range w.img.ClientQuotas() {
		fmt.Fprintf(&b, "%s %v\n", QuotaEntityText(q.Entity), q.Values)
	}
	for t := range w.img.Topics() {
		for id, p := range t.Partitions() {
			fmt.Fprintf(&b, "%s-%d replicas %v isr %v elr %v leader %d epoch %d partition epoch %d\n",
				t.Name, id, p.Replicas, p.ISR, p.ELR(), p.Leader, p.LeaderEpoch, p.PartitionEpoch)
		}
	}
	return b.String()
}

func (w *world) directories() string {
	var b strings.Builder
	for t := range w.img.Topics() {
		for id, p := range t.Partitions() {
			fmt.Fprintf(&b, "%s-%d %v in %v\n", t.Name, id, p.Replicas, p.Directories)
		}
	}
	return b.String()
}

// show writes a struct with the fields that are not zero.
func show(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	return r.Type().Name() + showValue(r)
}

func showValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return showValue(v.Elem())
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if f := v.Field(i); strings.HasSuffix(name, "ErrorCode") && !f.IsZero() {
				fields = append(fields, name+"="+kafka.Code(f.Int()).String())
			} else if !f.IsZero() && name != "Version" && !strings.HasPrefix(name, "Unknown") {
				fields = append(fields, name+"="+showValue(f))
			}
		}
		return "{" + strings.Join(fields, " ") + "}"
	case reflect.Array:
		return kafka.UUID(v.Convert(reflect.TypeOf(kafka.UUID{})).Interface().(kafka.UUID)).String()
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, showValue(v.Index(i)))
		}
		return "[" + strings.Join(all, " ") + "]"
	case reflect.String:
		return strconv.Quote(v.String())
	}
	if v.CanInt() {
		return strconv.FormatInt(v.Int(), 10)
	}
	return fmt.Sprint(v.Interface())
}
