// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// Credentials that came with a directory are listed by user; who has none, or is
// asked for twice, is told so.
func TestDescribeUserScramCredentials(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		ask := func(users ...string) (list []string) {
			t.Helper()
			req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			for _, user := range users {
				req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: user})
			}
			resp := c.do(req).(*kmsg.DescribeUserSCRAMCredentialsResponse)
			if resp.ErrorCode != 0 || resp.ErrorMessage == nil || *resp.ErrorMessage != "" {
				t.Errorf("%q: %v", users, kafka.Code(resp.ErrorCode))
			}
			for _, r := range resp.Results {
				text := fmt.Sprintf("%s %v", r.User, kafka.Code(r.ErrorCode))
				if *r.ErrorMessage != "" {
					text += " " + *r.ErrorMessage
				}
				for _, i := range r.CredentialInfos {
					text += fmt.Sprintf(" %d:%d", i.Mechanism, i.Iterations)
				}
				list = append(list, text)
			}
			return list
		}
		same := func(got []string, want ...string) {
			t.Helper()
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		const none, twice = "RESOURCE_NOT_FOUND Attempt to describe a user credential that does not exist: ",
			"DUPLICATE_RESOURCE Cannot describe SCRAM credentials for the same user twice in a single request: "
		same(ask())
		same(ask("alice", ""), "alice "+none+"alice", " "+none)
		n.publish([]metarec.Record{
			&metarec.UserScramCredential{Name: "bob", Mechanism: 2, Salt: []byte{1}, Iterations: 8192},
			&metarec.UserScramCredential{Name: "bob", Mechanism: 1, Salt: []byte{1}, Iterations: 4096},
			&metarec.UserScramCredential{Name: "alice", Mechanism: 2, Salt: []byte{1}, Iterations: 5000},
		})
		same(ask(), "bob NONE 1:4096 2:8192", "alice NONE 2:5000")
		same(ask("carol", "bob", "alice", "alice"), "carol "+none+"carol", "bob NONE 1:4096 2:8192", "alice "+twice+"alice")
		n.publish([]metarec.Record{&metarec.RemoveUserScramCredential{Name: "alice", Mechanism: 2}})
		same(ask("alice"), "alice "+none+"alice")
	})
}
