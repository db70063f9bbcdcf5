// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// What follows answers a request that no coordinator has seen, in the words that
// one of them would use.

// JoinRefused answers a JoinGroup.
func JoinRefused(version int16, memberID string, code kafka.Code) *kmsg.JoinGroupResponse {
	return joinError(version, memberID, code)
}

// SyncRefused answers a SyncGroup.
func SyncRefused(version int16, code kafka.Code) *kmsg.SyncGroupResponse {
	return syncError(version, code)
}
