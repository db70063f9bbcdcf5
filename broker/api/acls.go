// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// DescribeAcls, CreateAcls and DeleteAcls, versions 1 to 3. There is no
// authorizer, and the answer to each is Kafka's without one: SECURITY_DISABLED,
// for each creation and each filter. A byte for a kind that is 0, Kafka's
// UNKNOWN, ends the connection, as Kafka does not read such a request; kinds
// that are none are let pass, since nobody looks at them. The answer is the same
// everywhere, so it is given here and not asked of the controller.

// Kafka has two texts for it.
const (
	noAuthorizerHere = "No Authorizer is configured on the broker"
	noAuthorizer     = "No Authorizer is configured."
)

// unknownKind reports whether one of an ACL's kinds is UNKNOWN.
func unknownKind(resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, operation kmsg.ACLOperation, permission kmsg.ACLPermissionType) bool {
	return resource == kmsg.ACLResourceTypeUnknown || pattern == kmsg.ACLResourcePatternTypeUnknown ||
		operation == kmsg.ACLOperationUnknown || permission == kmsg.ACLPermissionTypeUnknown
}

// closeForKind ends the connection of a request that names a kind UNKNOWN.
func (a *API) closeForKind(c *call.Call) call.Outcome {
	return a.close(c, fmt.Errorf("%s v%d: %w: a resource type, pattern type, operation or permission is UNKNOWN", a.row(c.Key).name, c.Version, errMalformed))
}

func (a *API) handleDescribeACLs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeACLsRequest)
	if unknownKind(req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType) {
		return a.closeForKind(c)
	}
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = int16(kafka.SecurityDisabled), kmsg.StringPtr(noAuthorizerHere)
	return a.answer(c, resp)
}

func (a *API) handleCreateACLs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, text := decoded.(*kmsg.CreateACLsRequest), kmsg.StringPtr(noAuthorizer)
	resp := kmsg.NewPtrCreateACLsResponse()
	resp.Results = make([]kmsg.CreateACLsResponseResult, len(req.Creations))
	for i := range req.Creations {
		wanted := &req.Creations[i]
		if unknownKind(wanted.ResourceType, wanted.ResourcePatternType, wanted.Operation, wanted.PermissionType) {
			return a.closeForKind(c)
		}
		resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = int16(kafka.SecurityDisabled), text
	}
	return a.answer(c, resp)
}

func (a *API) handleDeleteACLs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, text := decoded.(*kmsg.DeleteACLsRequest), kmsg.StringPtr(noAuthorizer)
	resp := kmsg.NewPtrDeleteACLsResponse()
	resp.Results = make([]kmsg.DeleteACLsResponseResult, len(req.Filters))
	for i := range req.Filters {
		filter := &req.Filters[i]
		if unknownKind(filter.ResourceType, filter.ResourcePatternType, filter.Operation, filter.PermissionType) {
			return a.closeForKind(c)
		}
		resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = int16(kafka.SecurityDisabled), text
	}
	return a.answer(c, resp)
}
