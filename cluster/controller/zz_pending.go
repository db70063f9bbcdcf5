// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// Sweep fences one broker whose session has run out; more is false if there is
// none. The caller replays the records and calls again.
func Sweep(img *image.Image, env *Env) (out Outcome, more bool) {
	id, ok := env.Sessions.stale(env.Now)
	if !ok {
		return Outcome{}, false
	}
	return Fence(img, env, id), true
}

// Fence fences a broker and takes it out of leaderships and ISRs.
func Fence(img *image.Image, env *Env, id kafka.NodeID) Outcome { return Outcome{} }

func registerBroker(img *image.Image, env *Env, r *kmsg.BrokerRegistrationRequest) Outcome {
	return Outcome{}
}
func heartbeat(img *image.Image, env *Env, r *kmsg.BrokerHeartbeatRequest) Outcome { return Outcome{} }
func unregisterBroker(img *image.Image, env *Env, r *kmsg.UnregisterBrokerRequest) Outcome {
	return Outcome{}
}
func registerController(img *image.Image, env *Env, r *kmsg.ControllerRegistrationRequest) Outcome {
	return Outcome{}
}
func createTopics(img *image.Image, env *Env, r *kmsg.CreateTopicsRequest) Outcome { return Outcome{} }
func deleteTopics(img *image.Image, env *Env, r *kmsg.DeleteTopicsRequest) Outcome { return Outcome{} }
func allocateProducerIDs(img *image.Image, env *Env, r *kmsg.AllocateProducerIDsRequest) Outcome {
	return Outcome{}
}
func alterPartition(img *image.Image, env *Env, r *kmsg.AlterPartitionRequest) Outcome {
	return Outcome{}
}
func electLeaders(img *image.Image, env *Env, r *kmsg.ElectLeadersRequest) Outcome { return Outcome{} }
