// SPDX-License-Identifier: Apache-2.0

// Package controller decides: given the metadata as it is proposed to be, and a
// request, it gives the records that carry the request out and the response
// that goes with them. There is a file for each concern.
//
//	(image, Env, request) ─► Outcome{Records, Response}
//
// Everything here is pure: no goroutine, lock, clock or I/O. Time, randomness
// and the next offset come in with Env. The one state beside the image is
// Sessions, what the active controller knows of its brokers' heartbeats; it is
// owned by the controller's loop, and Handle changes it. The caller proposes the
// records, replays them into the proposed image before the next call, and
// sends the response when they are committed.
//
// Rejected: speculative structures with a rollback as Kafka's timeline hash
// maps; an immutable image needs none.
package controller

import (
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// Config is what an active controller knows by its static configuration.
type Config struct {
	// NodeID is this controller's.
	NodeID kafka.NodeID
	// ClusterID is compared with what brokers send.
	ClusterID string
	// NumPartitions is num.partitions.
	NumPartitions int32
	// DefaultReplicationFactor is default.replication.factor.
	DefaultReplicationFactor int16
	// MinInSyncReplicas is the static min.insync.replicas.
	MinInSyncReplicas int
	// UncleanLeaderElectionEnable is the static unclean.leader.election.enable.
	UncleanLeaderElectionEnable bool
	// DeleteTopicEnable is delete.topic.enable.
	DeleteTopicEnable bool
	// RecordsMax bounds the records of one request (10,000 in Kafka).
	RecordsMax int
	// Features are the ranges that this program has built, metadata.version
	// among them. They bound what UpdateFeatures may finalize.
	Features []metarec.FeatureRange
}

// Env is what a decision depends on besides image and request.
type Env struct {
	Now    time.Time
	Random io.Reader
	// NextOffset is the offset that the first record of the outcome will have,
	// behind all proposals in flight. A broker's epoch is one.
	NextOffset kafka.Offset
	Config     *Config
	Sessions   *Sessions

	// ValidateTopicConfig judges the configs of a new topic; an error that
	// carries kafka.InvalidConfig is the client's fault. nil accepts all.
	ValidateTopicConfig func(img *image.Image, topic string, overrides map[string]string) error
	// DescribeTopicConfig lists all configs of a topic with these overrides, by
	// name; CreateTopics v5 and above returns them. nil returns none.
	DescribeTopicConfig func(img *image.Image, overrides map[string]string) []TopicConfig
	// TopicConfig gives the effective value of a topic's config. nil looks into
	// the topic's and the cluster's configs, and then at Config.
	TopicConfig func(img *image.Image, topic, key string) string
	// ValidateConfig judges all values that a resource would have; existing are
	// those that it has. The text of the error is for the client, its code is
	// kafka.InvalidConfig where it carries none. nil accepts all.
	ValidateConfig func(img *image.Image, r image.Resource, values, existing map[string]string) error
	// ListConfig reports whether the values of a key are lists, and what they
	// start from where it is not set. nil knows no lists.
	ListConfig func(t image.ResourceType, key string) (base string, ok bool)
	// Mutations is the requester's controller_mutation_rate. nil: no limit.
	Mutations MutationQuota
	// MayDescribe and MayDelete ask for the requester's rights on a topic. nil
	// allows all.
	MayDescribe, MayDelete func(topic string) bool
}

// TopicConfig is one entry of what DescribeTopicConfig lists. Source is Kafka's
// number of the config source (1 topic, 4 static broker, 5 default, …).
type TopicConfig struct {
	Name      string
	Value     *string
	ReadOnly  bool
	Source    int8
	Sensitive bool
}

// Outcome is a decision.
type Outcome struct {
	// Records are to be proposed in this order, as one batch if Atomic. Others
	// may be split between any two records.
	Records []metarec.Record
	Atomic  bool
	// Response goes to the requester when the records are committed.
	Response kmsg.Response
	// Reason says in words why the request was refused, for the log, where the
	// response has no field for it.
	Reason string
}

// Handle decides on a request. The response carries all errors that the
// protocol has a place for; the error is for a request that is none of a
// controller's (kafka.UnsupportedVersion).
func Handle(img *image.Image, env *Env, req kmsg.Request) (Outcome, error) {
	switch r := req.(type) {
	case *kmsg.BrokerRegistrationRequest:
		return registerBroker(img, env, r), nil
	case *kmsg.BrokerHeartbeatRequest:
		return heartbeat(img, env, r), nil
	case *kmsg.UnregisterBrokerRequest:
		return unregisterBroker(img, env, r), nil
	case *kmsg.ControllerRegistrationRequest:
		return registerController(img, env, r), nil
	case *kmsg.CreateTopicsRequest:
		return createTopics(img, env, r), nil
	case *kmsg.DeleteTopicsRequest:
		return deleteTopics(img, env, r), nil
	case *kmsg.CreatePartitionsRequest:
		return createPartitions(img, env, r), nil
	case *kmsg.AllocateProducerIDsRequest:
		return allocateProducerIDs(img, env, r), nil
	case *kmsg.AlterPartitionRequest:
		return alterPartition(img, env, r), nil
	case *kmsg.AssignReplicasToDirsRequest:
		return assignDirectories(img, env, r), nil
	case *kmsg.UpdateFeaturesRequest:
		return updateFeatures(img, env, r), nil
	case *kmsg.ElectLeadersRequest:
		return electLeaders(img, env, r), nil
	case *kmsg.AlterPartitionAssignmentsRequest:
		return alterReassignments(img, env, r), nil
	case *kmsg.ListPartitionReassignmentsRequest:
		return listReassignments(img, r), nil
	case *kmsg.IncrementalAlterConfigsRequest:
		return incrementalAlterConfigs(img, env, r), nil
	case *kmsg.AlterConfigsRequest:
		return alterConfigs(img, env, r), nil
	case *kmsg.AlterClientQuotasRequest:
		return alterClientQuotas(img, env, r), nil
	}
	return Outcome{}, fmt.Errorf("api key %d at the controller: %w", req.Key(), kafka.UnsupportedVersion)
}

// Activate gives the records that a new active controller proposes first: the
// bootstrap of an empty cluster, or the end of a metadata transaction that its
// predecessor left open. There may be none.
func Activate(img *image.Image, env *Env) Outcome {
	out := Outcome{Atomic: true}
	if img.InTransaction() {
		reason := "the controller failed over"
		out.Records = append(out.Records, &metarec.AbortTransaction{Reason: &reason})
	}
	if img.MetadataVersion() == 0 {
		out.Records = append(out.Records, Bootstrap(env.Config)...)
	}
	return out
}
