// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// librdkafka is the C library under confluent-kafka-go, and under most clients
// of other languages.
type librdkafka struct{}

func (librdkafka) name() string { return "librdkafka" }
func (librdkafka) codecs() []string {
	return []string{codecNone, codecGzip, codecSnappy, codecLz4, codecZstd}
}
func (librdkafka) quirks() quirks { return quirks{} }

func (librdkafka) produce(ctx context.Context, job job) error {
	producer, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":            job.bootstrap,
		"enable.idempotence":           true,
		"acks":                         "all",
		"compression.type":             job.codec,
		"linger.ms":                    5,
		"queue.buffering.max.messages": 200_000,
	})
	if err != nil {
		return err
	}
	defer producer.Close()
	done := make(chan error, 1)
	go func() {
		acknowledged := 0
		for event := range producer.Events() {
			switch event := event.(type) {
			case *kafka.Message:
				if event.TopicPartition.Error != nil {
					done <- event.TopicPartition.Error
					return
				}
				if acknowledged++; acknowledged == job.partitions*job.count {
					done <- nil
					return
				}
			case kafka.Error:
				if event.IsFatal() {
					done <- event
					return
				}
			}
		}
	}()
	err = job.each(func(partition, sequence int) error {
		message := librdkafkaMessage(job.topic, partition, job.record(partition, sequence))
		for {
			err := producer.Produce(message, nil)
			var kafkaError kafka.Error
			if !errors.As(err, &kafkaError) || kafkaError.Code() != kafka.ErrQueueFull {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func librdkafkaMessage(topic string, partition int, r record) *kafka.Message {
	message := &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: int32(partition)},
		Key:            r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestampMs),
	}
	for _, h := range r.headers {
		message.Headers = append(message.Headers, kafka.Header{Key: h.key, Value: h.value})
	}
	return message
}

func (librdkafka) consumer(bootstrap string) (*kafka.Consumer, error) {
	return kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": bootstrap,
		// The binding wants a group id; partitions are assigned by hand and
		// nothing is committed, so no coordinator has a part in it.
		"group.id":           "clients-librdkafka",
		"enable.auto.commit": false,
		"auto.offset.reset":  "error",
		"check.crcs":         true,
		"fetch.wait.max.ms":  100,
	})
}

func (l librdkafka) consume(ctx context.Context, job job, partition int, from, to int64, visit func(int64, record) error) error {
	consumer, err := l.consumer(job.bootstrap)
	if err != nil {
		return err
	}
	defer consumer.Close()
	err = consumer.Assign([]kafka.TopicPartition{{Topic: &job.topic, Partition: int32(partition), Offset: kafka.Offset(from)}})
	if err != nil {
		return err
	}
	for next := from; next < to; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("at offset %d: %w", next, err)
		}
		message, err := consumer.ReadMessage(time.Second)
		if err != nil {
			var kafkaError kafka.Error
			if errors.As(err, &kafkaError) && (kafkaError.IsTimeout() || kafkaError.Code() == kafka.ErrTransport || kafkaError.Code() == kafka.ErrAllBrokersDown) {
				continue // it connects again
			}
			return err
		}
		got := record{key: message.Key, value: message.Value, timestampMs: message.Timestamp.UnixMilli()}
		for _, h := range message.Headers {
			got.headers = append(got.headers, header{h.Key, h.Value})
		}
		if err := visit(int64(message.TopicPartition.Offset), got); err != nil {
			return err
		}
		next = int64(message.TopicPartition.Offset) + 1
	}
	return nil
}

func (l librdkafka) offsetAt(_ context.Context, job job, partition int, timestampMs int64) (int64, error) {
	consumer, err := l.consumer(job.bootstrap)
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	found, err := consumer.OffsetsForTimes([]kafka.TopicPartition{
		{Topic: &job.topic, Partition: int32(partition), Offset: kafka.Offset(timestampMs)},
	}, int(matrixTimeout.Milliseconds()))
	if err != nil {
		return 0, err
	}
	return int64(found[0].Offset), found[0].Error
}

func (librdkafka) admin(bootstrap string) (*kafka.AdminClient, error) {
	return kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": bootstrap})
}

func (l librdkafka) createTopic(ctx context.Context, bootstrap, topic string, partitions int) error {
	admin, err := l.admin(bootstrap)
	if err != nil {
		return err
	}
	defer admin.Close()
	results, err := admin.CreateTopics(ctx, []kafka.TopicSpecification{
		{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1},
	})
	return firstTopicError(results, err)
}

func (l librdkafka) deleteTopic(ctx context.Context, bootstrap, topic string) error {
	admin, err := l.admin(bootstrap)
	if err != nil {
		return err
	}
	defer admin.Close()
	results, err := admin.DeleteTopics(ctx, []string{topic})
	return firstTopicError(results, err)
}

func firstTopicError(results []kafka.TopicResult, err error) error {
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Error.Code() != kafka.ErrNoError {
			return result.Error
		}
	}
	return nil
}
