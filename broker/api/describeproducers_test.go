// SPDX-License-Identifier: Apache-2.0

package api

import (
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

func (c *client) describeProducers(topic string, partitions ...int32) []kmsg.DescribeProducersResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrDescribeProducersRequest()
	t := kmsg.NewDescribeProducersRequestTopic()
	t.Topic, t.Partitions = topic, partitions
	req.Topics = append(req.Topics, t)
	resp := c.do(req).(*kmsg.DescribeProducersResponse)
	if len(resp.Topics) != 1 || resp.Topics[0].Topic != topic || len(resp.Topics[0].Partitions) != len(partitions) {
		c.t.Fatalf("%+v", resp)
	}
	return resp.Topics[0].Partitions
}

// Each producer is told with the last that the log knows of it.
func TestDescribeProducers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		produce := func(pid kafka.ProducerID, epoch kafka.ProducerEpoch, sequence int32, values ...string) {
			t.Helper()
			b := built(batch.Options{ProducerID: pid, ProducerEpoch: epoch, BaseSequence: sequence}, values...)
			if p := c.produce(13, "", id, 0, -1, b); p.ErrorCode != 0 {
				t.Fatal(kafka.Code(p.ErrorCode))
			}
		}
		if got := c.describeProducers("events", 0)[0]; got.ErrorCode != 0 || len(got.ActiveProducers) != 0 {
			t.Errorf("before any: %+v", got)
		}
		produce(7, 0, 0, "a", "b", "c")
		produce(9, 2, 0, "x")
		produce(7, 0, 3, "d")
		c.produce(13, "", id, 0, -1, records("of none"))
		now := time.Now().UnixMilli()
		one := func(pid int64, epoch, sequence int32) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
			return kmsg.DescribeProducersResponseTopicPartitionActiveProducer{ProducerID: pid, ProducerEpoch: epoch, LastSequence: sequence,
				LastTimestamp: now, CoordinatorEpoch: -1, CurrentTxnStartOffset: -1}
		}
		got := c.describeProducers("events", 0, 1)
		want := []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{one(7, 0, 3), one(9, 2, 0)}
		if !reflect.DeepEqual(got[0].ActiveProducers, want) || len(got[1].ActiveProducers) != 0 || got[1].ErrorCode != 0 {
			t.Errorf("%+v", got)
		}
		for _, q := range []struct {
			topic     string
			partition int32
			want      kafka.Code
		}{
			{"nowhere", 0, kafka.UnknownTopicOrPartition}, {"events", 2, kafka.UnknownTopicOrPartition}, {"events", -1, kafka.UnknownTopicOrPartition},
			{"b ad", 0, kafka.InvalidTopicException}, {"", 0, kafka.InvalidTopicException},
		} {
			p := c.describeProducers(q.topic, q.partition)[0]
			if kafka.Code(p.ErrorCode) != q.want || p.Partition != q.partition || (p.ErrorMessage != nil) != (q.topic != "events") {
				t.Errorf("%q %d: %+v", q.topic, q.partition, p)
			}
		}
	})
}
