// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// DescribeClientQuotas, versions 0 and 1, answers from the image.
// AlterClientQuotas, versions 0 and 1, is judged by the controller; its answer
// leaves when this broker's own image holds the change.

// How a filter's component matches the name of an entity's part.
const (
	matchExact   = 0
	matchDefault = 1
	matchAny     = 2
)

// quotaFilter is what DescribeClientQuotas asks for: a component for each type.
// An entity must have all of them, and, if the filter is strict, nothing else.
type quotaFilter struct {
	components []kmsg.DescribeClientQuotasRequestComponent
	strict     bool
}

func (a *API) handleDescribeClientQuotas(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeClientQuotasRequest)
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	f := quotaFilter{req.Components, req.Strict}
	if err := f.check(); err != nil {
		text := kafka.Message(err.text)
		resp.ErrorCode, resp.ErrorMessage = int16(err.code), &text
		return a.answer(c, resp)
	}
	resp.ErrorMessage, resp.Entries = kmsg.StringPtr(""), []kmsg.DescribeClientQuotasResponseEntry{}
	for q := range a.image().ClientQuotas() {
		if f.matches(q.Entity) {
			resp.Entries = append(resp.Entries, quotaEntry(&q))
		}
	}
	return a.answer(c, resp)
}

func quotaEntry(q *image.ClientQuota) kmsg.DescribeClientQuotasResponseEntry {
	e := kmsg.NewDescribeClientQuotasResponseEntry()
	for _, p := range q.Entity {
		part := kmsg.NewDescribeClientQuotasResponseEntryEntity()
		part.Type, part.Name = p.Type, p.Name
		e.Entity = append(e.Entity, part)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Values)) {
		v := kmsg.NewDescribeClientQuotasResponseEntryValue()
		v.Key, v.Value = key, q.Values[key]
		e.Values = append(e.Values, v)
	}
	return e
}

// badFilter is what is wrong with a filter.
type badFilter struct {
	code kafka.Code
	text string
}

func badFilterf(code kafka.Code, format string, args ...any) *badFilter {
	return &badFilter{code, fmt.Sprintf(format, args...)}
}

func (f *quotaFilter) check() *badFilter {
	types := map[string]bool{}
	for i := range f.components {
		c := &f.components[i]
		switch {
		case c.EntityType == "":
			return badFilterf(kafka.InvalidRequest, "Invalid empty entity type.")
		case types[c.EntityType]:
			return badFilterf(kafka.InvalidRequest, "Entity type %s cannot appear more than once in the filter.", c.EntityType)
		case c.EntityType != controller.QuotaUser && c.EntityType != controller.QuotaClientID && c.EntityType != controller.QuotaIP:
			return badFilterf(kafka.UnsupportedVersion, "Unsupported entity type %s", c.EntityType)
		}
		types[c.EntityType] = true
		switch {
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return badFilterf(kafka.InvalidRequest, "Unknown match type %d", c.MatchType)
		case c.MatchType == matchExact && c.Match == nil:
			return badFilterf(kafka.InvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case c.MatchType == matchDefault && c.Match != nil:
			return badFilterf(kafka.InvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
		case c.MatchType == matchAny && c.Match != nil:
			return badFilterf(kafka.InvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
		}
	}
	if types[controller.QuotaIP] && len(types) > 1 {
		return badFilterf(kafka.InvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}

func (f *quotaFilter) matches(entity []metarec.QuotaEntity) bool {
	if len(f.components) == 0 {
		return !f.strict
	}
	if f.strict && len(entity) != len(f.components) {
		return false
	}
	for i := range f.components {
		c := &f.components[i]
		at := slices.IndexFunc(entity, func(p metarec.QuotaEntity) bool { return p.Type == c.EntityType })
		if at < 0 {
			return false
		}
		name := entity[at].Name
		switch c.MatchType {
		case matchExact:
			if name == nil || *name != *c.Match {
				return false
			}
		case matchDefault:
			if name != nil {
				return false
			}
		}
	}
	return true
}

func (a *API) handleAlterClientQuotas(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.AlterClientQuotasRequest)
	ctx, cancel := a.within(c, int32(alterTimeout/time.Millisecond))
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedQuotas(req, a.code(c, err), message(err)))
	}
	altered := resp.(*kmsg.AlterClientQuotasResponse)
	if !req.ValidateOnly {
		a.awaitQuotas(ctx, req, altered)
	}
	return a.answer(c, altered)
}

func failedQuotas(req *kmsg.AlterClientQuotasRequest, code kafka.Code, text string) *kmsg.AlterClientQuotasResponse {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	for i := range req.Entries {
		e := kmsg.NewAlterClientQuotasResponseEntry()
		e.ErrorCode, e.ErrorMessage = int16(code), &text
		for _, p := range req.Entries[i].Entity {
			part := kmsg.NewAlterClientQuotasResponseEntryEntity()
			part.Type, part.Name = p.Type, p.Name
			e.Entity = append(e.Entity, part)
		}
		resp.Entries = append(resp.Entries, e)
	}
	return resp
}

// awaitQuotas waits until the image shows what was altered, so that the next
// request of any client is judged by it.
func (a *API) awaitQuotas(ctx context.Context, req *kmsg.AlterClientQuotasRequest, resp *kmsg.AlterClientQuotasResponse) {
	done := make(map[string]bool, len(resp.Entries))
	for i := range resp.Entries {
		var entity []metarec.QuotaEntity
		for _, p := range resp.Entries[i].Entity {
			entity = append(entity, metarec.QuotaEntity{Type: p.Type, Name: p.Name})
		}
		done[image.QuotaKey(entity)] = resp.Entries[i].ErrorCode == 0
	}
	ctx, cancel := context.WithTimeout(ctx, alterImageTimeout)
	defer cancel()
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for i := range req.Entries {
			entity := controller.QuotaEntityOf(req.Entries[i].Entity)
			if !done[image.QuotaKey(entity)] {
				continue
			}
			values := img.ClientQuota(entity)
			for _, op := range req.Entries[i].Ops {
				if got, set := values[op.Key]; set == op.Remove || set && got != op.Value {
					return false
				}
			}
		}
		return true
	})
}
