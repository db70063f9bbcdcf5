// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/quota"
)

// MutationQuota is what the requester may still do to partitions (KIP-599).
type MutationQuota interface {
	// Charge counts partitions that are created or deleted. A strict request is
	// refused when its requester has used up what it may; another one is carried
	// out, and must wait afterwards.
	Charge(partitions int, strict bool) bool
	// ThrottleMs is how long the requester must wait.
	ThrottleMs() int32
}

// Versions from which on a request is refused and not only told to wait.
const (
	strictCreateTopics     = 6
	strictDeleteTopics     = 5
	strictCreatePartitions = 3
)

// charge counts partitions against the requester's quota.
func (v view) charge(partitions int, strict bool) *refusal {
	if v.env.Mutations == nil || v.env.Mutations.Charge(partitions, strict) {
		return nil
	}
	return refuse(kafka.ThrottlingQuotaExceeded, "The throttling quota has been exceeded.")
}

func (v view) throttleMs() int32 {
	if v.env.Mutations == nil {
		return 0
	}
	return v.env.Mutations.ThrottleMs()
}

// Types of the parts of a quota entity.
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// quotaAlteration is one AlterClientQuotas request under way. Each entity stands
// for itself.
type quotaAlteration struct {
	img     *image.Image
	recs    []metarec.Record
	results []quotaResult
	index   map[string]int // in results, by entity
}

type quotaResult struct {
	entity []metarec.QuotaEntity
	why    *refusal
}

// alterClientQuotas: AlterClientQuotas v0–1. Of an entity that is named twice
// the first naming counts, and the answer is that of the second: refused.
func alterClientQuotas(img *image.Image, _ *Env, req *kmsg.AlterClientQuotasRequest) Outcome {
	a := quotaAlteration{img: img, index: map[string]int{}}
	for i := range req.Entries {
		a.alter(&req.Entries[i])
	}
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	resp.Entries = []kmsg.AlterClientQuotasResponseEntry{}
	for _, r := range a.results {
		e := kmsg.NewAlterClientQuotasResponseEntry()
		e.ErrorCode, e.ErrorMessage = r.why.wire(), r.why.message()
		for _, part := range r.entity {
			p := kmsg.NewAlterClientQuotasResponseEntryEntity()
			p.Type, p.Name = part.Type, part.Name
			e.Entity = append(e.Entity, p)
		}
		resp.Entries = append(resp.Entries, e)
	}
	if req.ValidateOnly {
		a.recs = nil
	}
	return Outcome{Records: a.recs, Atomic: true, Response: resp}
}

// QuotaEntityOf makes a set of the parts, by type: of those of one type, the
// last counts.
func QuotaEntityOf(parts []kmsg.AlterClientQuotasRequestEntryEntity) []metarec.QuotaEntity {
	var entity []metarec.QuotaEntity
	for _, p := range parts {
		part := metarec.QuotaEntity{Type: p.Type, Name: p.Name}
		if i := slices.IndexFunc(entity, func(e metarec.QuotaEntity) bool { return e.Type == p.Type }); i >= 0 {
			entity[i] = part
		} else {
			entity = append(entity, part)
		}
	}
	slices.SortFunc(entity, func(a, b metarec.QuotaEntity) int { return strings.Compare(a.Type, b.Type) })
	return entity
}

func (a *quotaAlteration) alter(e *kmsg.AlterClientQuotasRequestEntry) {
	entity := QuotaEntityOf(e.Entity)
	key := image.QuotaKey(entity)
	twice := map[string]bool{}
	duplicate := false
	for _, op := range e.Ops {
		duplicate = duplicate || twice[op.Key]
		twice[op.Key] = true
	}
	i, known := a.index[key]
	if !known {
		i = len(a.results)
		a.index[key] = i
		a.results = append(a.results, quotaResult{entity: entity})
	}
	if known || duplicate {
		a.results[i].why = refuse(kafka.InvalidRequest, "Ignoring duplicate entity %s", QuotaEntityText(entity))
		return
	}
	a.results[i].why = a.change(entity, e.Ops)
}

// QuotaEntityText is an entity as Kafka's messages tell it.
func QuotaEntityText(entity []metarec.QuotaEntity) string {
	parts := make([]string, len(entity))
	for i, p := range entity {
		name := "null"
		if p.Name != nil {
			name = *p.Name
		}
		parts[i] = p.Type + "=" + name
	}
	return "ClientQuotaEntity(entries={" + strings.Join(parts, ", ") + "})"
}

// change adds the records of one entity, of which there are none where nothing
// changes.
func (a *quotaAlteration) change(entity []metarec.QuotaEntity, ops []kmsg.AlterClientQuotasRequestEntryOp) *refusal {
	if why := checkQuotaEntity(entity); why != nil {
		return why
	}
	ofAddress := entity[0].Type == QuotaIP
	values := a.img.ClientQuota(entity)
	var recs []metarec.Record
	for _, op := range ops {
		old, set := values[op.Key]
		if op.Remove {
			if set {
				recs = append(recs, &metarec.ClientQuota{Entity: entity, Key: op.Key, Remove: true})
			}
			continue
		}
		if why := checkQuotaValue(ofAddress, op.Key, op.Value); why != nil {
			return why
		}
		if !set || old != op.Value {
			recs = append(recs, &metarec.ClientQuota{Entity: entity, Key: op.Key, Value: op.Value})
		}
	}
	a.recs = append(a.recs, recs...)
	return nil
}

func checkQuotaEntity(entity []metarec.QuotaEntity) *refusal {
	if len(entity) == 0 {
		return refuse(kafka.InvalidRequest, "Invalid empty client quota entity")
	}
	var address *metarec.QuotaEntity
	for i := range entity {
		p := &entity[i]
		switch p.Type {
		case QuotaUser, QuotaClientID:
		case QuotaIP:
			address = p
		default:
			return refuse(kafka.InvalidRequest, "Unhandled client quota entity type: %s", p.Type)
		}
		if p.Name != nil && *p.Name == "" {
			return refuse(kafka.InvalidRequest, "Empty %s not supported", p.Type)
		}
	}
	if address == nil {
		return nil
	}
	if len(entity) > 1 {
		return refuse(kafka.InvalidRequest, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
	}
	if address.Name != nil {
		// Kafka takes names of hosts too, and asks the controller's resolver for
		// them; a decision here does not wait for one.
		if _, err := netip.ParseAddr(*address.Name); err != nil {
			return refuse(kafka.InvalidRequest, "%s is not a valid IP or resolvable host.", *address.Name)
		}
	}
	return nil
}

func checkQuotaValue(ofAddress bool, key string, value float64) *refusal {
	kind, known := quota.KindOf(key)
	switch {
	case !known || ofAddress != (kind == quota.Connection):
		return refuse(kafka.InvalidRequest, "Invalid configuration key %s", key)
	case math.IsNaN(value) || math.IsInf(value, 0):
		return refuse(kafka.InvalidRequest, "Quota %s must be a finite number", key)
	case value <= 0:
		return refuse(kafka.InvalidRequest, "Quota %s must be greater than 0", key)
	case kind == quota.Request || kind == quota.Mutation:
		return nil
	case ofAddress && value > math.MaxInt32:
		return refuse(kafka.InvalidRequest, "Proposed value for %s is too large for an INT.", key)
	case value > math.MaxInt64:
		return refuse(kafka.InvalidRequest, "Proposed value for %s is too large for a LONG.", key)
	case math.Mod(value, 1) > 1e-6:
		return refuse(kafka.InvalidRequest, "%s cannot be a fractional value.", key)
	}
	return nil
}
