// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/quota"
)

// aclRequests are the three requests, with n creations or filters of one kind
// each, of which the last has other kinds.
func aclRequests(version int16, n int, last [4]int8) []kmsg.Request {
	describe, create, remove := kmsg.NewPtrDescribeACLsRequest(), kmsg.NewPtrCreateACLsRequest(), kmsg.NewPtrDeleteACLsRequest()
	for i := range n {
		kinds := [4]int8{2, 3, 3, 3}
		if i == n-1 {
			kinds = last
		}
		creation, filter := kmsg.NewCreateACLsRequestCreation(), kmsg.NewDeleteACLsRequestFilter()
		creation.ResourceName, creation.Principal, creation.Host = "t", "User:alice", "*"
		creation.ResourceType, creation.ResourcePatternType = kmsg.ACLResourceType(kinds[0]), kmsg.ACLResourcePatternType(kinds[1])
		creation.Operation, creation.PermissionType = kmsg.ACLOperation(kinds[2]), kmsg.ACLPermissionType(kinds[3])
		filter.ResourceType, filter.ResourcePatternType, filter.Operation, filter.PermissionType = creation.ResourceType, creation.ResourcePatternType, creation.Operation, creation.PermissionType
		describe.ResourceType, describe.ResourcePatternType, describe.Operation, describe.PermissionType = creation.ResourceType, creation.ResourcePatternType, creation.Operation, creation.PermissionType
		create.Creations, remove.Filters = append(create.Creations, creation), append(remove.Filters, filter)
	}
	all := []kmsg.Request{describe, create, remove}
	for _, req := range all {
		req.SetVersion(version)
	}
	return all
}

// refusals are the errors of an answer, by their texts.
func refusals(resp kmsg.Response) (list []string) {
	add := func(code int16, text *string) { list = append(list, fmt.Sprintf("%v %s", kafka.Code(code), *text)) }
	switch r := resp.(type) {
	case *kmsg.DescribeACLsResponse:
		if len(r.Resources) == 0 {
			add(r.ErrorCode, r.ErrorMessage)
		}
	case *kmsg.CreateACLsResponse:
		for i := range r.Results {
			add(r.Results[i].ErrorCode, r.Results[i].ErrorMessage)
		}
	case *kmsg.DeleteACLsResponse:
		for i := range r.Results {
			if len(r.Results[i].MatchingACLs) == 0 {
				add(r.Results[i].ErrorCode, r.Results[i].ErrorMessage)
			}
		}
	}
	return list
}

// Without an authorizer each creation and each filter is refused with Kafka's
// texts, whatever its kinds, on both kinds of listeners, and without asking the
// controller.
func TestACLsWithoutAnAuthorizer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.frozen = true
		l, err := n.net.Listen(context.Background(), "node:9093")
		if err != nil {
			t.Fatal(err)
		}
		go n.server.Serve(l, &call.Listener{Name: "CONTROLLER", Role: call.Controller, Host: "node", Port: 9093})
		conn, err := n.net.Dial(context.Background(), "node:9093")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		clients := map[string]*client{"broker": n.dial(), "controller": {t: t, conn: conn}}
		here, each := "SECURITY_DISABLED No Authorizer is configured on the broker", "SECURITY_DISABLED No Authorizer is configured."
		for name, c := range clients {
			for v := int16(1); v <= 3; v++ {
				for _, kinds := range [][4]int8{{2, 3, 3, 3}, {1, 1, 1, 1}, {7, 4, 15, 2}, {99, 99, 99, 99}, {-1, -128, 127, -1}} {
					for i, req := range aclRequests(v, 2, kinds) {
						want := [][]string{{here}, {each, each}, {each, each}}[i]
						if got := refusals(c.do(req)); fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("%s, %T v%d of kinds %v: %q", name, req, v, kinds, got)
						}
					}
				}
				for _, req := range aclRequests(v, 0, [4]int8{})[1:] {
					if got := refusals(c.do(req)); got != nil {
						t.Errorf("%s, %T v%d of nothing: %q", name, req, v, got)
					}
				}
			}
		}
	})
}

// A kind of UNKNOWN, wherever it stands, and a version that Kafka has given up
// or does not have end the connection.
func TestACLsThatAreNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		sent := 0
		closes := func(req kmsg.Request) {
			t.Helper()
			sent++
			c := n.dial()
			c.send(req)
			if !c.isClosed() {
				t.Errorf("%T v%d is answered: %+v", req, req.GetVersion(), req)
			}
		}
		for v := int16(1); v <= 3; v++ {
			for place := range 4 {
				kinds := [4]int8{2, 3, 3, 3}
				kinds[place] = 0
				for _, req := range aclRequests(v, 3, kinds) {
					closes(req)
				}
			}
		}
		for _, v := range []int16{0, 4} {
			for _, req := range aclRequests(v, 1, [4]int8{2, 3, 3, 3}) {
				closes(req)
			}
		}
		synctest.Wait()
		if got := n.server.Stats().MalformedTotal; got != int64(sent) {
			t.Errorf("%d connections are counted, %d were closed", got, sent)
		}
	})
}

// The time of the handler counts for request_percentage, and the answer tells
// the wait.
func TestACLsAreThrottled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.limit(quota.Request, 1)
		for i, req := range aclRequests(2, 1, [4]int8{2, 3, 3, 3}) {
			n.spend(quota.Request, 1000)
			c := n.dial()
			resp := c.do(req).(kmsg.ThrottleResponse)
			told, _ := resp.Throttle()
			began := time.Now()
			c.do(apiVersions(3))
			if waited := time.Since(began); told == 0 || waited != time.Duration(told)*time.Millisecond {
				t.Errorf("%d: told %d ms, muted for %v", i, told, waited)
			}
		}
	})
}
