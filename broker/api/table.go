// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
	"gregor/wire/fetch"
	"gregor/wire/produce"
)

// Kafka's API keys of what is built.
const (
	keyProduce              = 0
	keyFetch                = 1
	keyListOffsets          = 2
	keyMetadata             = 3
	keyOffsetCommit         = 8
	keyOffsetFetch          = 9
	keyFindCoordinator      = 10
	keyJoinGroup            = 11
	keyHeartbeat            = 12
	keyLeaveGroup           = 13
	keySyncGroup            = 14
	keyDescribeGroups       = 15
	keyListGroups           = 16
	keyApiVersions          = 18
	keyCreateTopics         = 19
	keyDeleteTopics         = 20
	keyDeleteRecords        = 21
	keyInitProducerID       = 22
	keyOffsetForLeaderEpoch = 23
	keyWriteTxnMarkers      = 27
	keyDescribeCluster      = 60

	keyDescribeConfigs            = 32
	keyAlterConfigs               = 33
	keyCreatePartitions           = 37
	keyElectLeaders               = 43
	keyIncrementalAlterConfigs    = 44
	keyListPartitionReassignments = 46
	keyDescribeClientQuotas       = 48
	keyAlterClientQuotas          = 49
	keyDescribeUserScram          = 50
	keyDescribeQuorum             = 55
	keyUpdateFeatures             = 57
	keyUnregisterBroker           = 64
	keyConsumerGroupHeartbeat     = 68
	keyConsumerGroupDescribe      = 69
	keyGetTelemetrySubscriptions  = 71
	keyPushTelemetry              = 72
	keyListConfigResources        = 74
	keyDescribeTopicPartitions    = 75
	keyDescribeLogDirs            = 35
	keyDeleteGroups               = 42
	keyOffsetDelete               = 47
	keyDescribeProducers          = 61
	keyDescribeACLs               = 29
	keyCreateACLs                 = 30
	keyDeleteACLs                 = 31

	keyAlterPartitionReassignments = 45
)

// row is one API.
type row struct {
	key  int16
	name string
	// min and max are the versions that are served: those of Kafka 4.4.
	min, max int16
	// advertisedMin, if lower than min, is what ApiVersions tells.
	advertisedMin int16
	// flexibleFrom is the first version with compact lengths and tags.
	flexibleFrom int16
	roles        call.Role
	// forwardable: what only the active controller can do is sent on to it.
	forwardable bool
	// shape bounds the body before kmsg decodes it; nil for hand-written codecs.
	shape   shape
	request func() kmsg.Request
	handle  func(*API, *call.Call) call.Outcome
	purpose string // for docs/protocol.md
}

// rows is the one list of APIs, by key. What is not built is not in it.
func rows() []row {
	return []row{
		{key: keyProduce, name: "Produce", min: produce.VersionMin, max: produce.VersionMax, advertisedMin: 0,
			flexibleFrom: produce.FlexibleFrom, roles: call.Broker, handle: (*API).handleProduce,
			purpose: "append record batches; versions 0 to 2 are refused on use, and listed because librdkafka turns compression off without them"},
		{key: keyFetch, name: "Fetch", min: fetch.VersionMin, max: fetch.VersionMax, advertisedMin: fetch.VersionMin,
			flexibleFrom: fetch.FlexibleFrom, roles: call.Broker, handle: (*API).handleFetch,
			purpose: "read record batches, with incremental sessions"},
		{key: keyListOffsets, name: "ListOffsets", min: 1, max: 11, advertisedMin: 1, flexibleFrom: 6, roles: call.Broker,
			shape: shape{int32At(0), int8At(2), arrayAt(0, textAt(0),
				arrayAt(0, int32At(0), int32At(4), int64At(0))), int32At(10)},
			request: func() kmsg.Request { return new(kmsg.ListOffsetsRequest) },
			handle:  (*API).handleListOffsets, purpose: "offsets by time, earliest, latest"},
		{key: keyMetadata, name: "Metadata", min: 0, max: 13, advertisedMin: 0, flexibleFrom: 9, roles: call.Broker,
			shape: shape{arrayAt(0, uuidAt(10), textAt(0)).nullable(1), boolAt(4),
				boolAt(8).until(10), boolAt(8)},
			request: func() kmsg.Request { return new(kmsg.MetadataRequest) },
			handle:  (*API).handleMetadata, purpose: "brokers, topics and their leaders"},
		{key: keyOffsetCommit, name: "OffsetCommit", min: 2, max: 10, advertisedMin: 2, flexibleFrom: 8, roles: call.Broker,
			shape: shape{textAt(0), int32At(0), textAt(0), textAt(7), int64At(0).until(4), arrayAt(0, textAt(0).until(9), uuidAt(10),
				arrayAt(0, int32At(0), int64At(0), int32At(6), textAt(0)))},
			request: func() kmsg.Request { return new(kmsg.OffsetCommitRequest) },
			handle:  (*API).handleOffsetCommit, purpose: "commit how far a group has come"},
		{key: keyOffsetFetch, name: "OffsetFetch", min: 1, max: 10, advertisedMin: 1, flexibleFrom: 6, roles: call.Broker,
			shape: shape{textAt(0).until(7), arrayAt(0, textAt(0), intsAt(0)).nullable(2).until(7),
				arrayAt(8, textAt(0), textAt(9), int32At(9), arrayAt(0, textAt(0).until(9), uuidAt(10), intsAt(0)).nullable(8)), boolAt(7)},
			request: func() kmsg.Request { return new(kmsg.OffsetFetchRequest) },
			handle:  (*API).handleOffsetFetch, purpose: "how far groups have come"},
		{key: keyFindCoordinator, name: "FindCoordinator", min: 0, max: 6, advertisedMin: 0, flexibleFrom: 3, roles: call.Broker,
			shape:   shape{textAt(0).until(3), int8At(1), textsAt(4)},
			request: func() kmsg.Request { return new(kmsg.FindCoordinatorRequest) },
			handle:  (*API).handleFindCoordinator, purpose: "which broker coordinates a group"},
		{key: keyJoinGroup, name: "JoinGroup", min: 0, max: 9, advertisedMin: 0, flexibleFrom: 6, roles: call.Broker,
			shape: shape{textAt(0), int32At(0), int32At(1), textAt(0), textAt(5), textAt(0),
				arrayAt(0, textAt(0), bytesAt(0)), textAt(8)},
			request: func() kmsg.Request { return new(kmsg.JoinGroupRequest) },
			handle:  (*API).handleJoinGroup, purpose: "become a member of a classic group, or rejoin it"},
		{key: keyHeartbeat, name: "Heartbeat", min: 0, max: 4, advertisedMin: 0, flexibleFrom: 4, roles: call.Broker,
			shape:   shape{textAt(0), int32At(0), textAt(0), textAt(3)},
			request: func() kmsg.Request { return new(kmsg.HeartbeatRequest) },
			handle:  (*API).handleHeartbeat, purpose: "stay a member of a classic group, and hear of rebalances"},
		{key: keyLeaveGroup, name: "LeaveGroup", min: 0, max: 5, advertisedMin: 0, flexibleFrom: 4, roles: call.Broker,
			shape:   shape{textAt(0), textAt(0).until(2), arrayAt(3, textAt(0), textAt(0), textAt(5))},
			request: func() kmsg.Request { return new(kmsg.LeaveGroupRequest) },
			handle:  (*API).handleLeaveGroup, purpose: "leave a classic group, or remove members from it"},
		{key: keySyncGroup, name: "SyncGroup", min: 0, max: 5, advertisedMin: 0, flexibleFrom: 4, roles: call.Broker,
			shape: shape{textAt(0), int32At(0), textAt(0), textAt(3), textAt(5), textAt(5),
				arrayAt(0, textAt(0), bytesAt(0))},
			request: func() kmsg.Request { return new(kmsg.SyncGroupRequest) },
			handle:  (*API).handleSyncGroup, purpose: "give a classic group its assignment, and get one's own"},
		{key: keyDescribeGroups, name: "DescribeGroups", min: 0, max: 6, advertisedMin: 0, flexibleFrom: 5, roles: call.Broker,
			shape:   shape{textsAt(0), boolAt(3)},
			request: func() kmsg.Request { return new(kmsg.DescribeGroupsRequest) },
			handle:  (*API).handleDescribeGroups, purpose: "state, members and assignments of classic groups"},
		{key: keyListGroups, name: "ListGroups", min: 0, max: 5, advertisedMin: 0, flexibleFrom: 3, roles: call.Broker,
			shape:   shape{textsAt(4), textsAt(5)},
			request: func() kmsg.Request { return new(kmsg.ListGroupsRequest) },
			handle:  (*API).handleListGroups, purpose: "the groups that this broker coordinates, by state and type"},
		{key: keyApiVersions, name: "ApiVersions", min: 0, max: 5, advertisedMin: 0, flexibleFrom: 3,
			roles:   call.Broker | call.Controller,
			shape:   shape{textAt(3), textAt(3), textAt(5), int32At(5)},
			request: func() kmsg.Request { return new(kmsg.ApiVersionsRequest) },
			handle:  (*API).handleApiVersions, purpose: "what this broker speaks, and finalized features"},
		{key: keyCreateTopics, name: "CreateTopics", min: 2, max: 7, advertisedMin: 2, flexibleFrom: 5,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{arrayAt(0, textAt(0), int32At(0), int16At(0),
				arrayAt(0, int32At(0), intsAt(0)),
				arrayAt(0, textAt(0), textAt(0))), int32At(0), boolAt(1)},
			request: func() kmsg.Request { return new(kmsg.CreateTopicsRequest) },
			handle:  (*API).handleCreateTopics, purpose: "create topics"},
		{key: keyDeleteTopics, name: "DeleteTopics", min: 1, max: 6, advertisedMin: 1, flexibleFrom: 4,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{arrayAt(6, textAt(6), uuidAt(6)),
				textsAt(0).until(5), int32At(0)},
			request: func() kmsg.Request { return new(kmsg.DeleteTopicsRequest) },
			handle:  (*API).handleDeleteTopics, purpose: "delete topics by name or id"},
		{key: keyDeleteRecords, name: "DeleteRecords", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 2, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0), arrayAt(0, int32At(0), int64At(0))), int32At(0)},
			request: func() kmsg.Request { return new(kmsg.DeleteRecordsRequest) },
			handle:  (*API).handleDeleteRecords, purpose: "delete the records below an offset"},
		{key: keyInitProducerID, name: "InitProducerId", min: 0, max: 5, advertisedMin: 0, flexibleFrom: 2, roles: call.Broker,
			shape:   shape{textAt(0), int32At(0), int64At(3), int16At(3)},
			request: func() kmsg.Request { return new(kmsg.InitProducerIDRequest) },
			handle:  (*API).handleInitProducerID, purpose: "producer ids for idempotent producers"},
		{key: keyOffsetForLeaderEpoch, name: "OffsetForLeaderEpoch", min: 2, max: 4, advertisedMin: 2, flexibleFrom: 4, roles: call.Broker,
			shape: shape{int32At(3), arrayAt(0, textAt(0),
				arrayAt(0, int32At(0), int32At(2), int32At(0)))},
			request: func() kmsg.Request { return new(kmsg.OffsetForLeaderEpochRequest) },
			handle:  (*API).handleOffsetForLeaderEpoch, purpose: "where a leader epoch ended"},
		{key: keyWriteTxnMarkers, name: "WriteTxnMarkers", min: 1, max: 2, advertisedMin: 1, flexibleFrom: 1, roles: call.Broker,
			shape: shape{arrayAt(0, int64At(0), int16At(0), boolAt(0),
				arrayAt(0, textAt(0), intsAt(0)), int32At(0), int8At(2))},
			request: func() kmsg.Request { return new(kmsg.WriteTxnMarkersRequest) },
			handle:  (*API).handleWriteTxnMarkers, purpose: "end transactions in partitions, for their coordinator and for those that hang"},
		{key: keyDescribeACLs, name: "DescribeAcls", min: 1, max: 3, advertisedMin: 1, flexibleFrom: 2,
			roles:   call.Broker | call.Controller,
			shape:   shape{int8At(0), textAt(0), int8At(1), textAt(0), textAt(0), int8At(0), int8At(0)},
			request: func() kmsg.Request { return new(kmsg.DescribeACLsRequest) },
			handle:  (*API).handleDescribeACLs, purpose: "which ACLs there are; there is no authorizer yet, and the answer is SECURITY_DISABLED, as by a Kafka without one"},
		{key: keyCreateACLs, name: "CreateAcls", min: 1, max: 3, advertisedMin: 1, flexibleFrom: 2,
			roles:   call.Broker | call.Controller,
			shape:   shape{arrayAt(0, int8At(0), textAt(0), int8At(1), textAt(0), textAt(0), int8At(0), int8At(0))},
			request: func() kmsg.Request { return new(kmsg.CreateACLsRequest) },
			handle:  (*API).handleCreateACLs, purpose: "allow and deny; SECURITY_DISABLED, as for DescribeAcls"},
		{key: keyDeleteACLs, name: "DeleteAcls", min: 1, max: 3, advertisedMin: 1, flexibleFrom: 2,
			roles:   call.Broker | call.Controller,
			shape:   shape{arrayAt(0, int8At(0), textAt(0), int8At(1), textAt(0), textAt(0), int8At(0), int8At(0))},
			request: func() kmsg.Request { return new(kmsg.DeleteACLsRequest) },
			handle:  (*API).handleDeleteACLs, purpose: "take back what was allowed or denied; SECURITY_DISABLED, as for DescribeAcls"},
		{key: keyDescribeConfigs, name: "DescribeConfigs", min: 1, max: 4, advertisedMin: 1, flexibleFrom: 4,
			roles:   call.Broker | call.Controller,
			shape:   shape{arrayAt(0, int8At(0), textAt(0), textsAt(0).nullable(0)), boolAt(1), boolAt(3)},
			request: func() kmsg.Request { return new(kmsg.DescribeConfigsRequest) },
			handle:  (*API).handleDescribeConfigs, purpose: "configurations of topics, brokers, loggers and telemetry subscriptions: values, sources, synonyms, documentation"},
		{key: keyAlterConfigs, name: "AlterConfigs", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 2,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{arrayAt(0, int8At(0), textAt(0), arrayAt(0, textAt(0), textAt(0))), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.AlterConfigsRequest) },
			handle:  (*API).handleAlterConfigs, purpose: "replace configurations; what is not named is deleted"},
		{key: keyDescribeLogDirs, name: "DescribeLogDirs", min: 1, max: 5, advertisedMin: 1, flexibleFrom: 2, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0), intsAt(0)).nullable(0)},
			request: func() kmsg.Request { return new(kmsg.DescribeLogDirsRequest) },
			handle:  (*API).handleDescribeLogDirs, purpose: "what log directories hold, and their room"},
		{key: keyCreatePartitions, name: "CreatePartitions", min: 0, max: 3, advertisedMin: 0, flexibleFrom: 2,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{arrayAt(0, textAt(0), int32At(0),
				arrayAt(0, intsAt(0)).nullable(0)), int32At(0), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.CreatePartitionsRequest) },
			handle:  (*API).handleCreatePartitions, purpose: "add partitions to topics"},
		{key: keyDeleteGroups, name: "DeleteGroups", min: 0, max: 3, advertisedMin: 0, flexibleFrom: 2, roles: call.Broker,
			shape:   shape{textsAt(0)},
			request: func() kmsg.Request { return new(kmsg.DeleteGroupsRequest) },
			handle:  (*API).handleDeleteGroups, purpose: "delete groups without members, and their offsets"},
		{key: keyElectLeaders, name: "ElectLeaders", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 2,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{int8At(1), arrayAt(0, textAt(0), intsAt(0)).nullable(0), int32At(0)},
			request: func() kmsg.Request { return new(kmsg.ElectLeadersRequest) },
			handle:  (*API).handleElectLeaders, purpose: "preferred and unclean elections"},
		{key: keyIncrementalAlterConfigs, name: "IncrementalAlterConfigs", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 1,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{arrayAt(0, int8At(0), textAt(0), arrayAt(0, textAt(0), int8At(0), textAt(0))), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.IncrementalAlterConfigsRequest) },
			handle:  (*API).handleIncrementalAlterConfigs, purpose: "change single keys of configurations"},
		{key: keyAlterPartitionReassignments, name: "AlterPartitionReassignments", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 0,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{int32At(0), boolAt(1), arrayAt(0, textAt(0),
				arrayAt(0, int32At(0), intsAt(0).nullable(0)))},
			request: func() kmsg.Request { return new(kmsg.AlterPartitionAssignmentsRequest) },
			handle:  (*API).handleAlterPartitionReassignments, purpose: "change or cancel where replicas are, as far as nothing must be copied"},
		{key: keyListPartitionReassignments, name: "ListPartitionReassignments", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{int32At(0), arrayAt(0, textAt(0), intsAt(0)).nullable(0)},
			request: func() kmsg.Request { return new(kmsg.ListPartitionReassignmentsRequest) },
			handle:  (*API).handleListPartitionReassignments, purpose: "reassignments under way"},
		{key: keyOffsetDelete, name: "OffsetDelete", min: 0, max: 0, advertisedMin: 0, flexibleFrom: newest, roles: call.Broker,
			shape:   shape{textAt(0), arrayAt(0, textAt(0), arrayAt(0, int32At(0)))},
			request: func() kmsg.Request { return new(kmsg.OffsetDeleteRequest) },
			handle:  (*API).handleOffsetDelete, purpose: "forget offsets of topics that a group does not read"},
		{key: keyDescribeClientQuotas, name: "DescribeClientQuotas", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 1, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0), int8At(0), textAt(0)), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.DescribeClientQuotasRequest) },
			handle:  (*API).handleDescribeClientQuotas, purpose: "limits of users, client ids and addresses"},
		{key: keyAlterClientQuotas, name: "AlterClientQuotas", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 1,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{arrayAt(0, arrayAt(0, textAt(0), textAt(0)),
				arrayAt(0, textAt(0), int64At(0), boolAt(0))), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.AlterClientQuotasRequest) },
			handle:  (*API).handleAlterClientQuotas, purpose: "set and remove limits"},
		{key: keyDescribeUserScram, name: "DescribeUserScramCredentials", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0)).nullable(0)},
			request: func() kmsg.Request { return new(kmsg.DescribeUserSCRAMCredentialsRequest) },
			handle:  (*API).handleDescribeUserSCRAMCredentials, purpose: "which users have SCRAM credentials; none can be made yet"},
		{key: keyDescribeQuorum, name: "DescribeQuorum", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 0,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{arrayAt(0, textAt(0), arrayAt(0, int32At(0)))},
			request: func() kmsg.Request { return new(kmsg.DescribeQuorumRequest) },
			handle:  (*API).handleDescribeQuorum, purpose: "the metadata quorum: leader, voters, observers and how far they are"},
		{key: keyUpdateFeatures, name: "UpdateFeatures", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 0,
			roles: call.Broker | call.Controller, forwardable: true,
			shape: shape{int32At(0), arrayAt(0, textAt(0), int16At(0), boolAt(0).until(0),
				int8At(1)), boolAt(1)},
			request: func() kmsg.Request { return new(kmsg.UpdateFeaturesRequest) },
			handle:  (*API).handleUpdateFeatures, purpose: "finalize levels of features"},
		{key: keyDescribeCluster, name: "DescribeCluster", min: 0, max: 2, advertisedMin: 0, flexibleFrom: 0,
			roles:   call.Broker | call.Controller,
			shape:   shape{boolAt(0), int8At(1), boolAt(2)},
			request: func() kmsg.Request { return new(kmsg.DescribeClusterRequest) },
			handle:  (*API).handleDescribeCluster, purpose: "cluster id, brokers, controller"},
		{key: keyDescribeProducers, name: "DescribeProducers", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0), intsAt(0))},
			request: func() kmsg.Request { return new(kmsg.DescribeProducersRequest) },
			handle:  (*API).handleDescribeProducers, purpose: "producers that a partition remembers, and their open transactions"},
		{key: keyUnregisterBroker, name: "UnregisterBroker", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0,
			roles: call.Broker | call.Controller, forwardable: true,
			shape:   shape{int32At(0)},
			request: func() kmsg.Request { return new(kmsg.UnregisterBrokerRequest) },
			handle:  (*API).handleUnregisterBroker, purpose: "forget a broker that is gone for good"},
		{key: keyConsumerGroupHeartbeat, name: "ConsumerGroupHeartbeat", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape: shape{textAt(0), textAt(0), int32At(0), textAt(0), textAt(0), int32At(0), textsAt(0).nullable(0), textAt(1), textAt(0),
				arrayAt(0, uuidAt(0), intsAt(0)).nullable(0)},
			request: func() kmsg.Request { return new(kmsg.ConsumerGroupHeartbeatRequest) },
			handle:  (*API).handleConsumerGroupHeartbeat, purpose: "join, stay in and leave a consumer group (KIP-848)"},
		{key: keyConsumerGroupDescribe, name: "ConsumerGroupDescribe", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{textsAt(0), boolAt(0)},
			request: func() kmsg.Request { return new(kmsg.ConsumerGroupDescribeRequest) },
			handle:  (*API).handleConsumerGroupDescribe, purpose: "state, members and assignments of consumer groups"},
		{key: keyGetTelemetrySubscriptions, name: "GetTelemetrySubscriptions", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{uuidAt(0)},
			request: func() kmsg.Request { return new(kmsg.GetTelemetrySubscriptionsRequest) },
			handle:  (*API).handleGetTelemetrySubscriptions, purpose: "which metrics a client is to push, and how often"},
		{key: keyPushTelemetry, name: "PushTelemetry", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{uuidAt(0), int32At(0), boolAt(0), int8At(0), bytesAt(0)},
			request: func() kmsg.Request { return new(kmsg.PushTelemetryRequest) },
			handle:  (*API).handlePushTelemetry, purpose: "metrics of a client, for `/metrics`"},
		{key: keyListConfigResources, name: "ListConfigResources", min: 0, max: 1, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{field{kind: tiny, min: 1, max: newest}},
			request: func() kmsg.Request { return new(kmsg.ListConfigResourcesRequest) },
			handle:  (*API).handleListConfigResources, purpose: "what has configurations"},
		{key: keyDescribeTopicPartitions, name: "DescribeTopicPartitions", min: 0, max: 0, advertisedMin: 0, flexibleFrom: 0, roles: call.Broker,
			shape:   shape{arrayAt(0, textAt(0)), int32At(0), maybeAt(0, textAt(0), int32At(0))},
			request: func() kmsg.Request { return new(kmsg.DescribeTopicPartitionsRequest) },
			handle:  (*API).handleDescribeTopicPartitions, purpose: "topics in pages of partitions, with eligible leader replicas"},
	}
}

// keysMax bounds the API keys that are counted.
const keysMax = 128

// row finds an API by its key, nil if it is not built.
func (a *API) row(key int16) *row {
	if key < 0 || key >= keysMax {
		return nil
	}
	return a.byKey[key]
}
