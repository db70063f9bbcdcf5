// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// ConfigOp is one change of one key. A request of AlterConfigs is told in them
// too: SET of what it names, DELETE of what it does not.
type ConfigOp struct {
	Op    kmsg.IncrementalAlterConfigOp
	Key   string
	Value *string
}

// The operations, by Kafka's numbers.
const (
	OpSet      kmsg.IncrementalAlterConfigOp = 0
	OpDelete   kmsg.IncrementalAlterConfigOp = 1
	OpAppend   kmsg.IncrementalAlterConfigOp = 2
	OpSubtract kmsg.IncrementalAlterConfigOp = 3
)

// errNotList refuses APPEND and SUBTRACT of a key whose values are no lists.
var errNotList = errors.New("the key's type is not LIST")

// CheckConfigOps refuses a list of changes that contradicts itself.
func CheckConfigOps(ops []ConfigOp) error {
	seen := make(map[string]bool, len(ops))
	var nulls []string
	for _, o := range ops {
		if seen[o.Key] {
			return refuse(kafka.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[o.Key] = true
		if o.Op != OpDelete && o.Value == nil {
			nulls = append(nulls, o.Key)
		}
	}
	if len(nulls) > 0 {
		return refuse(kafka.InvalidRequest, "Null value not supported for : %s", strings.Join(nulls, ", "))
	}
	for _, o := range ops {
		if o.Op < OpSet || o.Op > OpSubtract {
			return refuse(kafka.InvalidRequest, "Unknown operations type %d", o.Op)
		}
	}
	return nil
}

// Apply gives the new value of the key, nil for none. list tells whether the
// key's values are lists, and what they start from where there is none. Lists
// are taken apart at commas alone, as Kafka's controller does.
func (o ConfigOp) Apply(current *string, list func(key string) (base string, ok bool)) (*string, error) {
	switch o.Op {
	case OpSet:
		return o.Value, nil
	case OpDelete:
		return nil, nil
	}
	base, ok := list(o.Key)
	if !ok {
		return nil, errNotList
	}
	if current != nil {
		base = *current
	}
	parts := slices.DeleteFunc(strings.Split(base, ","), func(s string) bool { return s == "" })
	for _, element := range strings.Split(*o.Value, ",") {
		at := slices.Index(parts, element)
		switch {
		case o.Op == OpAppend && at < 0:
			parts = append(parts, element)
		case o.Op == OpSubtract && at >= 0:
			parts = slices.Delete(parts, at, at+1)
		}
	}
	value := strings.Join(parts, ",")
	return &value, nil
}

// alteration is one request of IncrementalAlterConfigs or AlterConfigs under
// way. Each resource stands for itself: one that is refused does not keep the
// others from being changed.
type alteration struct {
	view
	recs []metarec.Record
	seen map[image.Resource]int
}

// incrementalAlterConfigs: IncrementalAlterConfigs v0–1.
func incrementalAlterConfigs(img *image.Image, env *Env, req *kmsg.IncrementalAlterConfigsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	a := alteration{view: view{img, env}, seen: map[image.Resource]int{}}
	for i := range req.Resources {
		a.seen[resourceOf(int8(req.Resources[i].ResourceType), req.Resources[i].ResourceName)]++
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		ops := make([]ConfigOp, len(r.Configs))
		for j, c := range r.Configs {
			ops[j] = ConfigOp{c.Op, c.Name, c.Value}
		}
		why := a.alter(resourceOf(int8(r.ResourceType), r.ResourceName), ops)
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.ResourceType, r.ResourceName, why.wire(), why.message()
		resp.Resources = append(resp.Resources, out)
	}
	return a.outcome(resp, req.ValidateOnly)
}

// alterConfigs: AlterConfigs v0–2. What a resource has and the request does not
// name is deleted.
func alterConfigs(img *image.Image, env *Env, req *kmsg.AlterConfigsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	a := alteration{view: view{img, env}, seen: map[image.Resource]int{}}
	for i := range req.Resources {
		a.seen[resourceOf(int8(req.Resources[i].ResourceType), req.Resources[i].ResourceName)]++
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		resource := resourceOf(int8(r.ResourceType), r.ResourceName)
		ops := make([]ConfigOp, 0, len(r.Configs))
		named := make(map[string]bool, len(r.Configs))
		for _, c := range r.Configs {
			ops = append(ops, ConfigOp{OpSet, c.Name, c.Value})
			named[c.Name] = true
		}
		for _, key := range slices.Sorted(maps.Keys(img.Configs(resource))) {
			if !named[key] {
				ops = append(ops, ConfigOp{Op: OpDelete, Key: key})
			}
		}
		why := a.alter(resource, ops)
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.ResourceType, r.ResourceName, why.wire(), why.message()
		resp.Resources = append(resp.Resources, out)
	}
	return a.outcome(resp, req.ValidateOnly)
}

func resourceOf(t int8, name string) image.Resource {
	return image.Resource{Type: image.ResourceType(t), Name: name}
}

func (a *alteration) outcome(resp kmsg.Response, validateOnly bool) Outcome {
	if validateOnly {
		a.recs = nil
	}
	return Outcome{Records: a.recs, Atomic: true, Response: resp}
}

// alter judges one resource and adds its records.
func (a *alteration) alter(r image.Resource, ops []ConfigOp) *refusal {
	if a.seen[r] > 1 {
		return refuse(kafka.InvalidRequest, "Each resource must appear at most once.")
	}
	if err := CheckConfigOps(ops); err != nil {
		return refusalOf(err)
	}
	if why := checkResourceName(r); why != nil {
		return why
	}
	existing := a.img.Configs(r)
	values := maps.Clone(existing)
	if values == nil {
		values = map[string]string{}
	}
	recs, why := a.changes(r, ops, values)
	if why != nil {
		return why
	}
	if a.env.ValidateConfig != nil {
		if err := a.env.ValidateConfig(a.img, r, values, existing); err != nil {
			return refusalOf(err)
		}
	}
	if why := a.checkExists(r); why != nil {
		return why
	}
	a.recs = append(a.recs, recs...)
	return nil
}

// changes gives the records of the changes and carries them out on values. A
// broker's are written even where nothing changes, as Kafka does: its files
// behind a value may have.
func (a *alteration) changes(r image.Resource, ops []ConfigOp, values map[string]string) ([]metarec.Record, *refusal) {
	var recs []metarec.Record
	list := func(key string) (string, bool) {
		if a.env.ListConfig == nil {
			return "", false
		}
		return a.env.ListConfig(r.Type, key)
	}
	for _, o := range ops {
		var current *string
		if v, ok := values[o.Key]; ok {
			current = &v
		}
		next, err := o.Apply(current, list)
		if err != nil {
			return nil, refuse(kafka.InvalidConfig, "Can't %s to key %s because its type is not LIST.", OpName(o.Op), o.Key)
		}
		if why := a.checkMinISR(r, o.Key, next); why != nil {
			return nil, why
		}
		if equal(current, next) && r.Type != image.ResourceBroker {
			continue
		}
		recs = append(recs, &metarec.Config{ResourceType: int8(r.Type), ResourceName: r.Name, Name: o.Key, Value: next})
		if next == nil {
			delete(values, o.Key)
		} else {
			values[o.Key] = *next
		}
		if o.Key == keyMinISR && a.elrEnabled() {
			// Who was eligible under the old number may not hold all records that
			// were acknowledged under the new one.
			rec := &metarec.ClearELR{}
			if r.Type == image.ResourceTopic {
				rec.TopicName = r.Name
			}
			recs = append(recs, rec)
		}
	}
	return recs, nil
}

func equal(a, b *string) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// OpName is Kafka's name of an operation.
func OpName(op kmsg.IncrementalAlterConfigOp) string {
	return [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}[op]
}

// checkMinISR: eligible leader replicas need one min.insync.replicas for all
// brokers (KIP-966).
func (a *alteration) checkMinISR(r image.Resource, key string, next *string) *refusal {
	switch {
	case key != keyMinISR || r.Type != image.ResourceBroker || !a.elrEnabled():
		return nil
	case r.Name != "":
		return refuse(kafka.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	case next == nil:
		return refuse(kafka.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	}
	return nil
}

func checkResourceName(r image.Resource) *refusal {
	switch r.Type {
	case image.ResourceTopic:
		if r.Name == "" {
			return refuse(kafka.InvalidRequest, "Default topic resources are not allowed.")
		}
		if text := invalidTopicName(r.Name); text != "" {
			return refuse(kafka.InvalidTopicException, "Topic name is invalid: %s", text)
		}
	case image.ResourceBroker:
		if r.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err != nil {
			return refuse(kafka.InvalidRequest, "Unable to parse broker name as a base 10 number.")
		}
		if id < 0 {
			return refuse(kafka.InvalidRequest, "Invalid negative broker ID.")
		}
	case image.ResourceClientMetrics:
		if r.Name == "" {
			return refuse(kafka.InvalidRequest, "Subscription name can't be empty")
		}
	case image.ResourceGroup:
		if r.Name == "" {
			return refuse(kafka.InvalidRequest, "Default group resources are not allowed.")
		}
	default:
		return refuse(kafka.InvalidRequest, "Unknown resource type %d", r.Type)
	}
	return nil
}

func (a *alteration) checkExists(r image.Resource) *refusal {
	switch r.Type {
	case image.ResourceTopic:
		if a.img.Topic(r.Name) == nil {
			return refuse(kafka.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.Name)
		}
	case image.ResourceBroker:
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err == nil && a.img.Broker(kafka.NodeID(id)) == nil {
			return refuse(kafka.BrokerIDNotRegistered, "No broker with id %d found.", id)
		}
	}
	return nil
}

// Error makes a refusal an error, for those who judge before a request comes
// here.
func (r *refusal) Error() string { return r.text }

// Unwrap gives the code, so that kafka.CodeOf finds it.
func (r *refusal) Unwrap() error { return r.code }

// refusalOf tells the requester of an error; without a code, INVALID_CONFIG.
func refusalOf(err error) *refusal {
	code, ok := kafka.CodeOf(err)
	if !ok {
		code = kafka.InvalidConfig
	}
	return &refusal{code, fmt.Sprint(err)}
}

// InvalidTopicName says in Kafka's words what is wrong with a topic's name, ""
// if nothing is.
func InvalidTopicName(name string) string { return invalidTopicName(name) }
