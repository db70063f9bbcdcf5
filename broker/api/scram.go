// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// DescribeUserScramCredentials, version 0, answers from the image: credentials
// come with a directory of Kafka's, and nothing here makes or uses one yet.
// Kafka's kafka-configs asks for them whenever it describes users.

func (a *API) handleDescribeUserSCRAMCredentials(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	asked, order := map[string]int{}, []string{}
	for i := range req.Users {
		name := req.Users[i].Name
		if asked[name]++; asked[name] == 1 {
			order = append(order, name)
		}
	}
	type info = kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo
	found := map[string][]info{}
	for credential := range a.image().ScramCredentials() {
		name := credential.Name
		if len(req.Users) == 0 && found[name] == nil {
			order = append(order, name)
		}
		if len(req.Users) == 0 || asked[name] > 0 {
			found[name] = append(found[name], info{Mechanism: credential.Mechanism, Iterations: credential.Iterations})
		}
	}
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	resp.ErrorMessage = kmsg.StringPtr("")
	resp.Results = make([]kmsg.DescribeUserSCRAMCredentialsResponseResult, len(order))
	for i, name := range order {
		r := &resp.Results[i]
		switch r.User = name; {
		case asked[name] > 1:
			r.ErrorCode = int16(kafka.DuplicateResource)
			r.ErrorMessage = kmsg.StringPtr(kafka.Message("Cannot describe SCRAM credentials for the same user twice in a single request: " + name))
		case found[name] == nil:
			r.ErrorCode = int16(kafka.ResourceNotFound)
			r.ErrorMessage = kmsg.StringPtr(kafka.Message("Attempt to describe a user credential that does not exist: " + name))
		default:
			r.ErrorMessage, r.CredentialInfos = kmsg.StringPtr(""), found[name]
		}
	}
	return a.answer(c, resp)
}
