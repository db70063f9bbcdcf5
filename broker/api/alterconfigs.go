// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/config"
)

// IncrementalAlterConfigs, versions 0 and 1, and AlterConfigs, versions 0 to 2.
//
//	request ─► this broker judges what is for brokers ─► controller judges and commits the rest ─► own image holds it ─► answer
//
// What a broker may be told depends on its own static configuration, so that is
// judged here, as in Kafka. Topics and subscriptions are judged by the controller.

// alterTimeout bounds how long the controller is waited for: the requests name
// no time.
const alterTimeout = 30 * time.Second

// alterImageTimeout bounds the wait for this broker's own image. Only a change
// that another one undid at once is waited for in vain.
const alterImageTimeout = time.Second

// alterResult is what became of one resource.
type alterResult struct {
	code kafka.Code
	text *string
}

// alterConfig is one resource of either request.
type alterConfig struct {
	resource image.Resource
	ops      []controller.ConfigOp
	whole    bool // what ops do not name is deleted
	result   alterResult
}

func (r *alterConfig) refuse(code kafka.Code, text string) {
	text = kafka.Message(text)
	r.result = alterResult{code, &text}
}

func (a *API) handleIncrementalAlterConfigs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.IncrementalAlterConfigsRequest)
	list := make([]alterConfig, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		list[i].resource = image.Resource{Type: image.ResourceType(r.ResourceType), Name: r.ResourceName}
		for _, k := range r.Configs {
			list[i].ops = append(list[i].ops, controller.ConfigOp{Op: k.Op, Key: k.Name, Value: k.Value})
		}
	}
	a.alterConfigs(c, list, req.ValidateOnly, func(passed []int) kmsg.Request {
		out := kmsg.NewPtrIncrementalAlterConfigsRequest()
		out.Version, out.ValidateOnly = req.Version, req.ValidateOnly
		for _, i := range passed {
			r := req.Resources[i]
			r.ResourceName = list[i].resource.Name
			out.Resources = append(out.Resources, r)
		}
		return out
	})
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range list {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		r.ErrorCode, r.ErrorMessage = int16(list[i].result.code), list[i].result.text
		resp.Resources = append(resp.Resources, r)
	}
	return a.answer(c, resp)
}

func (a *API) handleAlterConfigs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.AlterConfigsRequest)
	list := make([]alterConfig, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		list[i].resource = image.Resource{Type: image.ResourceType(r.ResourceType), Name: r.ResourceName}
		list[i].whole = true
		for _, k := range r.Configs {
			list[i].ops = append(list[i].ops, controller.ConfigOp{Op: controller.OpSet, Key: k.Name, Value: k.Value})
		}
	}
	a.alterConfigs(c, list, req.ValidateOnly, func(passed []int) kmsg.Request {
		out := kmsg.NewPtrAlterConfigsRequest()
		out.Version, out.ValidateOnly = req.Version, req.ValidateOnly
		for _, i := range passed {
			r := req.Resources[i]
			r.ResourceName = list[i].resource.Name
			out.Resources = append(out.Resources, r)
		}
		return out
	})
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i := range list {
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		r.ErrorCode, r.ErrorMessage = int16(list[i].result.code), list[i].result.text
		resp.Resources = append(resp.Resources, r)
	}
	return a.answer(c, resp)
}

// alterConfigs judges what this broker judges, lets the controller do the rest,
// and waits until the change is seen here.
func (a *API) alterConfigs(c *call.Call, list []alterConfig, validateOnly bool, forward func(passed []int) kmsg.Request) {
	var passed []int
	seen := map[image.Resource]int{}
	for i := range list {
		seen[list[i].resource]++
	}
	for i := range list {
		switch r := &list[i]; {
		case seen[r.resource] > 1:
			r.refuse(kafka.InvalidRequest, "Each resource must appear at most once.")
		case a.hasLoggers(r.resource.Type):
			a.alterLoggers(r, validateOnly)
		case a.judgeBroker(r):
			passed = append(passed, i)
		}
	}
	if len(passed) == 0 {
		return
	}
	ctx, cancel := a.within(c, int32(alterTimeout/time.Millisecond))
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), forward(passed))
	if err != nil {
		code, text := a.code(c, err), message(err)
		for _, i := range passed {
			list[i].refuse(code, text)
		}
		return
	}
	var changed []*alterConfig
	for n, result := range alterResults(resp) {
		r := &list[passed[n]]
		if r.result = result; result.code == kafka.None {
			changed = append(changed, r)
		}
	}
	if !validateOnly {
		a.awaitConfigs(ctx, changed)
	}
}

// judgeBroker refuses what this broker does not take. It gives the broker's
// name as the metadata knows it: Kafka takes 01 for 1.
func (a *API) judgeBroker(r *alterConfig) bool {
	if r.resource.Type != image.ResourceBroker {
		return true
	}
	if err := controller.CheckConfigOps(r.ops); err != nil {
		code, _ := codeOf(err)
		r.refuse(code, err.Error())
		return false
	}
	if r.resource.Name != "" {
		id, err := strconv.ParseInt(r.resource.Name, 10, 32)
		if err != nil {
			r.refuse(kafka.InvalidRequest, "Node id must be an integer, but it is: "+r.resource.Name)
			return false
		}
		if kafka.NodeID(id) != a.d.NodeID {
			r.refuse(kafka.InvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d, but received %s", a.d.NodeID, r.resource.Name))
			return false
		}
		r.resource = a.self()
	}
	values, ok := a.brokerValues(r)
	if !ok {
		return false
	}
	if err := config.ValidateBroker(values, r.resource.Name != "", a.d.Config); err != nil {
		code, _ := codeOf(err)
		r.refuse(code, err.Error())
		return false
	}
	return true
}

// brokerValues gives what would be set for the broker.
func (a *API) brokerValues(r *alterConfig) (values map[string]string, ok bool) {
	values = map[string]string{}
	if !r.whole {
		maps.Copy(values, a.image().Configs(r.resource))
	}
	list := func(key string) (string, bool) { return config.IsListKey(false, key, a.d.Config) }
	for _, o := range r.ops {
		var current *string
		if v, ok := values[o.Key]; ok {
			current = &v
		}
		next, err := o.Apply(current, list)
		switch {
		case err != nil: // it is not a list
			r.refuse(kafka.InvalidConfig, fmt.Sprintf("Config value %s is not allowed for config key: %s", strings.ToLower(controller.OpName(o.Op)), o.Key))
			return nil, false
		case next == nil:
			delete(values, o.Key)
		default:
			values[o.Key] = *next
		}
	}
	return values, true
}

func alterResults(resp kmsg.Response) []alterResult {
	var out []alterResult
	switch resp := resp.(type) {
	case *kmsg.IncrementalAlterConfigsResponse:
		for i := range resp.Resources {
			out = append(out, alterResult{kafka.Code(resp.Resources[i].ErrorCode), resp.Resources[i].ErrorMessage})
		}
	case *kmsg.AlterConfigsResponse:
		for i := range resp.Resources {
			out = append(out, alterResult{kafka.Code(resp.Resources[i].ErrorCode), resp.Resources[i].ErrorMessage})
		}
	}
	return out
}

// awaitConfigs waits until the image shows the changes, so that the client's
// next request finds them.
func (a *API) awaitConfigs(ctx context.Context, changed []*alterConfig) {
	ctx, cancel := context.WithTimeout(ctx, alterImageTimeout)
	defer cancel()
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for _, r := range changed {
			if !r.shows(img.Configs(r.resource)) {
				return false
			}
		}
		return true
	})
}

// shows reports whether values are what the request leads to.
func (r *alterConfig) shows(values map[string]string) bool {
	if r.whole && len(values) != len(r.ops) {
		return false
	}
	for _, o := range r.ops {
		got, ok := values[o.Key]
		switch o.Op {
		case controller.OpSet:
			if !ok || got != *o.Value {
				return false
			}
		case controller.OpDelete:
			if ok {
				return false
			}
		default:
			all := strings.Split(got, ",")
			for _, element := range strings.Split(*o.Value, ",") {
				if element != "" && slices.Contains(all, element) != (o.Op == controller.OpAppend) {
					return false
				}
			}
		}
	}
	return true
}
