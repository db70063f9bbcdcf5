// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Numbers that kmsg has no names for cannot stand in the scripts.
func TestUnknownConfigNumbers(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	value := "1"
	for _, c := range []struct {
		resource int8
		op       int8
		want     string
	}{{0, 0, "Unknown resource type 0"}, {-1, 0, "Unknown resource type -1"}, {99, 1, "Unknown resource type 99"},
		{2, 4, "Unknown operations type 4"}, {4, -1, "Unknown operations type -1"}} {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType = kmsg.ConfigResourceType(c.resource)
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name, k.Op, k.Value = "a", kmsg.IncrementalAlterConfigOp(c.op), &value
		r.Configs = append(r.Configs, k)
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{r}
		out := w.handle(req)
		got := out.Response.(*kmsg.IncrementalAlterConfigsResponse).Resources
		if len(got) != 1 || got[0].ErrorMessage == nil || *got[0].ErrorMessage != c.want || kafka.Code(got[0].ErrorCode) != kafka.InvalidRequest || len(out.Records) != 0 {
			t.Errorf("resource %d, operation %d: %+v, %d records", c.resource, c.op, got, len(out.Records))
		}
	}
}

// Who judges before a request comes to the controller finds the code in the
// error.
func TestCheckConfigOps(t *testing.T) {
	v := "1"
	if err := CheckConfigOps([]ConfigOp{{OpSet, "a", &v}, {OpDelete, "b", nil}, {OpAppend, "c", &v}}); err != nil {
		t.Error(err)
	}
	for _, ops := range [][]ConfigOp{{{OpSet, "a", &v}, {OpDelete, "a", nil}}, {{OpSubtract, "a", nil}}, {{9, "a", &v}}} {
		err := CheckConfigOps(ops)
		if code, ok := kafka.CodeOf(err); !ok || code != kafka.InvalidRequest || err.Error() == "" {
			t.Errorf("%v: %v", ops, err)
		}
	}
	if _, err := (ConfigOp{OpAppend, "a", &v}).Apply(nil, func(string) (string, bool) { return "", false }); !errors.Is(err, errNotList) {
		t.Error(err)
	}
}
