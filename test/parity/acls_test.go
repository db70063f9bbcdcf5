// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	keyDescribeACLs = 29
	keyCreateACLs   = 30
	keyDeleteACLs   = 31

	keyDescribeUserScram = 50
)

// acl is what all three requests are made of. A filter with nil matches any.
type acl struct {
	resource, pattern, operation, permission int8
	name, principal, host                    *string
}

func describingACLs(a acl) *kmsg.DescribeACLsRequest {
	return &kmsg.DescribeACLsRequest{ResourceType: kmsg.ACLResourceType(a.resource), ResourceName: a.name, ResourcePatternType: kmsg.ACLResourcePatternType(a.pattern),
		Principal: a.principal, Host: a.host, Operation: kmsg.ACLOperation(a.operation), PermissionType: kmsg.ACLPermissionType(a.permission)}
}

func creatingACLs(list ...acl) *kmsg.CreateACLsRequest {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range list {
		req.Creations = append(req.Creations, kmsg.CreateACLsRequestCreation{ResourceType: kmsg.ACLResourceType(a.resource), ResourceName: *a.name, ResourcePatternType: kmsg.ACLResourcePatternType(a.pattern),
			Principal: *a.principal, Host: *a.host, Operation: kmsg.ACLOperation(a.operation), PermissionType: kmsg.ACLPermissionType(a.permission)})
	}
	return req
}

func deletingACLs(list ...acl) *kmsg.DeleteACLsRequest {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, a := range list {
		req.Filters = append(req.Filters, kmsg.DeleteACLsRequestFilter{ResourceType: kmsg.ACLResourceType(a.resource), ResourceName: a.name, ResourcePatternType: kmsg.ACLResourcePatternType(a.pattern),
			Principal: a.principal, Host: a.host, Operation: kmsg.ACLOperation(a.operation), PermissionType: kmsg.ACLPermissionType(a.permission)})
	}
	return req
}

// scram asks for the credentials of users where there are none.
func (l *list) scram() {
	for _, users := range [][]string{nil, {}, {"alice"}, {""}, {"bob", "alice"}, {"bob", "alice", "alice", "alice"}} {
		l.each(keyDescribeUserScram, fmt.Sprintf("DescribeUserSCRAMCredentials/%q, null %t", users, users == nil), func(*site, int16) kmsg.Request {
			req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			if users != nil {
				req.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{}
			}
			for _, user := range users {
				req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: user})
			}
			return req
		})
	}
}

// acls sends requests about ACLs to brokers without an authorizer: right ones,
// and those that an authorizer would refuse.
func (l *list) acls() {
	str := kmsg.StringPtr
	right := acl{resource: 2, pattern: 3, operation: 3, permission: 3, name: str("meta"), principal: str("User:alice"), host: str("*")}
	all := func(name string, a acl) {
		l.t.Helper()
		l.each(keyDescribeACLs, "DescribeACLs/"+name, func(*site, int16) kmsg.Request { return describingACLs(a) })
		l.each(keyDeleteACLs, "DeleteACLs/"+name, func(*site, int16) kmsg.Request { return deletingACLs(right, a) })
		if a.name != nil && a.principal != nil && a.host != nil {
			l.each(keyCreateACLs, "CreateACLs/"+name, func(*site, int16) kmsg.Request { return creatingACLs(right, a) })
		}
	}
	// Every kind that there is, UNKNOWN, and some that are none.
	for _, kind := range []int8{math.MinInt8, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, math.MaxInt8} {
		for name, place := range byName(map[string]func(*acl) *int8{
			"resource": func(a *acl) *int8 { return &a.resource }, "pattern": func(a *acl) *int8 { return &a.pattern },
			"operation": func(a *acl) *int8 { return &a.operation }, "permission": func(a *acl) *int8 { return &a.permission },
		}) {
			a := right
			*place(&a) = kind
			all(fmt.Sprintf("%s %d", name, kind), a)
		}
	}
	anything := acl{resource: 1, pattern: 1, operation: 1, permission: 1}
	all("anything", anything)
	for _, text := range []string{"", "alice", "User:", ":", "User:*", "Group:a", "*", "kafka-cluster", "bad name", "127.0.0.1"} {
		for i, a := range []acl{right, right, right} {
			*[]**string{&a.name, &a.principal, &a.host}[i] = &text
			all(fmt.Sprintf("text %d is %q", i, text), a)
		}
	}
	l.each(keyCreateACLs, "CreateACLs/nothing", func(*site, int16) kmsg.Request { return creatingACLs() })
	l.each(keyDeleteACLs, "DeleteACLs/nothing", func(*site, int16) kmsg.Request { return deletingACLs() })
	l.each(keyCreateACLs, "CreateACLs/one three times", func(*site, int16) kmsg.Request { return creatingACLs(right, right, right) })
	l.each(keyDeleteACLs, "DeleteACLs/one twice, all", func(*site, int16) kmsg.Request { return deletingACLs(right, right, anything) })
	l.each(keyDescribeACLs, "DescribeACLs/nothing came of it", func(*site, int16) kmsg.Request { return describingACLs(anything) })
}
