// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/batch"
)

// Topic is what the samples name; a broker that has it, with one partition and
// a record, answers them without an error.
const Topic = "bad-input"

// Sample is a request that is right and changes nothing but by adding records
// to Topic, whose id is given.
func Sample(key, version int16, id [16]byte) kmsg.Request {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	fill(reflect.ValueOf(req).Elem(), reflect.TypeOf(req).Elem().Name(), id)
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		r.Acks, r.TransactionID = 1, nil
		r.Topics[0].Partitions[0].Records = record()
	case *kmsg.FetchRequest:
		r.ReplicaID, r.ReplicaState, r.MaxWaitMillis, r.MaxBytes = -1, kmsg.NewFetchRequestReplicaState(), 0, 1<<20
		r.SessionID, r.SessionEpoch, r.ClusterID, r.ForgottenTopics, r.Rack = 0, -1, nil, nil, ""
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		r.Topics[0].Partitions[0] = p
	case *kmsg.ListOffsetsRequest:
		r.ReplicaID, r.Topics[0].Partitions[0].Timestamp, r.Topics[0].Partitions[0].CurrentLeaderEpoch = -1, -1, -1
	case *kmsg.MetadataRequest:
		if version >= 10 {
			r.Topics[0].TopicID = [16]byte{}
		}
		r.AllowAutoTopicCreation = false
	case *kmsg.ApiVersionsRequest:
		r.ClusterID, r.NodeID = nil, -1
	case *kmsg.CreateTopicsRequest:
		r.Topics[0].Topic, r.Topics[0].ReplicaAssignment = "bad-input-new", nil
	case *kmsg.DeleteTopicsRequest:
		unknown := "there-is-no-such-topic"
		r.TopicNames, r.Topics[0].Topic, r.Topics[0].TopicID = []string{unknown}, &unknown, [16]byte{}
	case *kmsg.InitProducerIDRequest:
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = nil, -1, -1
	case *kmsg.OffsetForLeaderEpochRequest:
		r.ReplicaID, r.Topics[0].Partitions[0].CurrentLeaderEpoch, r.Topics[0].Partitions[0].LeaderEpoch = -1, -1, 0
	case *kmsg.CreatePartitionsRequest:
		r.Topics[0].Count, r.Topics[0].Assignment = 2, nil
	case *kmsg.DescribeConfigsRequest:
		r.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
	case *kmsg.AlterConfigsRequest:
		r.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
	case *kmsg.IncrementalAlterConfigsRequest:
		r.Resources[0].ResourceType, r.Resources[0].Configs[0].Op = kmsg.ConfigResourceTypeTopic, kmsg.IncrementalAlterConfigOpSet
	case *kmsg.ListConfigResourcesRequest:
		r.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeTopic)}
	case *kmsg.ElectLeadersRequest:
		r.ElectionType = 0
	case *kmsg.DescribeQuorumRequest:
		r.Topics[0].Topic = "__cluster_metadata"
	case *kmsg.UpdateFeaturesRequest:
		r.FeatureUpdates[0].Feature, r.FeatureUpdates[0].MaxVersionLevel = "kraft.version", 1
	case *kmsg.DescribeClientQuotasRequest:
		r.Components[0].EntityType, r.Components[0].MatchType = "user", 0
	case *kmsg.AlterClientQuotasRequest:
		r.Entries[0].Entity[0].Type = "user"
		r.Entries[0].Ops[0].Key, r.Entries[0].Ops[0].Remove = "consumer_byte_rate", false
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorType = 0
	case *kmsg.JoinGroupRequest:
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.InstanceID = 10_000, 10_000, nil
	case *kmsg.SyncGroupRequest:
		r.InstanceID = nil
	case *kmsg.HeartbeatRequest:
		r.InstanceID = nil
	case *kmsg.OffsetCommitRequest: // of nobody
		r.Group, r.Generation, r.MemberID, r.InstanceID, r.RetentionTimeMillis = "abc-offsets", -1, "", nil, -1
	case *kmsg.OffsetFetchRequest:
		r.Groups[0].MemberID, r.Groups[0].MemberEpoch = nil, -1
	case *kmsg.ConsumerGroupHeartbeatRequest:
		*r.ServerAssignor = "uniform"
	case *kmsg.GetTelemetrySubscriptionsRequest:
		r.ClientInstanceID = [16]byte{} // a new client; a known one must wait
	case *kmsg.WriteTxnMarkersRequest: // whatever others have raised the epochs to
		r.Markers[0].ProducerEpoch, r.Markers[0].CoordinatorEpoch = math.MaxInt16, math.MaxInt32
	case *kmsg.UnregisterBrokerRequest:
		r.BrokerID = 0x7f7f7f7f // however it is scrambled, not that of the broker
	}
	return req
}

// fill gives every field a value that is neither empty nor out of the ordinary.
func fill(v reflect.Value, name string, id [16]byte) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(integer(name))
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.String:
		v.SetString(text(name))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name, id)
	case reflect.Array:
		v.Set(reflect.ValueOf(id))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type().Elem().Kind() != reflect.Uint8 {
			fill(v.Index(0), name, id)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch f := v.Type().Field(i); {
			case f.Name == "Version" || f.Name == "UnknownTags":
			case f.Name == "Name" && v.NumField() == 2: // of a topic
				fill(v.Field(i), "Topic", id)
			default:
				fill(v.Field(i), f.Name, id)
			}
		}
	}
}

func integer(name string) int64 {
	switch name {
	case "Partition", "Partitions", "Offset":
		return 0
	case "TimeoutMillis":
		return 60_000
	}
	return 1
}

func text(name string) string {
	switch name {
	case "Topic", "ResourceName":
		return Topic
	case "Name", "ConfigNames":
		return "retention.ms"
	case "Value":
		return "86400000"
	}
	return "abc"
}

func record() []byte {
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(time.Now().UnixMilli(), []byte("key"), []byte("value"))
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err) // a batch without compression does not fail
	}
	return out
}

// Codes are the error codes of an answer that are not 0. The error is of a text
// that no client reads.
func Codes(resp kmsg.Response) (codes []int16, err error) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			if v.Len() > math.MaxInt16 {
				err = fmt.Errorf("a text of %d bytes: %.60s", v.Len(), v.String())
			}
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.Name == "ErrorCode" && v.Field(i).Int() != 0 {
					codes = append(codes, int16(v.Field(i).Int()))
				} else if f.IsExported() {
					walk(v.Field(i))
				}
			}
		}
	}
	walk(reflect.ValueOf(resp))
	return codes, err
}
