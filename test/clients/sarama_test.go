// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// saramaClient is IBM/sarama. It sends leader epoch 0 in its batches, which a
// broker has to overwrite and never to judge.
type saramaClient struct{}

func (saramaClient) name() string { return "sarama" }
func (saramaClient) codecs() []string {
	return []string{codecNone, codecGzip, codecSnappy, codecLz4, codecZstd}
}
func (saramaClient) quirks() quirks { return quirks{} }

func (saramaClient) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = "clients-sarama"
	config.Admin.Timeout = time.Minute
	return config
}

func (s saramaClient) produce(ctx context.Context, job job) error {
	config := s.config()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	switch job.codec {
	case codecGzip:
		config.Producer.Compression = sarama.CompressionGZIP
	case codecSnappy:
		config.Producer.Compression = sarama.CompressionSnappy
	case codecLz4:
		config.Producer.Compression = sarama.CompressionLZ4
	case codecZstd:
		config.Producer.Compression = sarama.CompressionZSTD
	}
	producer, err := sarama.NewAsyncProducer([]string{job.bootstrap}, config)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		var failed error
		for acknowledged := 0; acknowledged < job.partitions*job.count && failed == nil; acknowledged++ {
			select {
			case <-producer.Successes():
			case e := <-producer.Errors():
				failed = e.Err
			case <-ctx.Done():
				failed = ctx.Err()
			}
		}
		done <- failed
	}()
	stopped := job.each(func(partition, sequence int) error {
		select {
		case producer.Input() <- saramaMessage(job.topic, partition, job.record(partition, sequence)):
			return nil
		case err := <-done:
			done <- err
			return errors.New("gave up")
		}
	})
	err = errors.Join(<-done, stopped)
	producer.AsyncClose()
	for range producer.Successes() { // closed when the producer has drained
	}
	return err
}

func saramaMessage(topic string, partition int, r record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: topic, Partition: int32(partition), Timestamp: time.UnixMilli(r.timestampMs)}
	if r.key != nil {
		message.Key = sarama.ByteEncoder(r.key)
	}
	if r.value != nil {
		message.Value = sarama.ByteEncoder(r.value)
	}
	for _, h := range r.headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.key), Value: h.value})
	}
	return message
}

func (s saramaClient) consume(ctx context.Context, job job, partition int, from, to int64, visit func(int64, record) error) error {
	config := s.config()
	config.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer([]string{job.bootstrap}, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	assigned, err := consumer.ConsumePartition(job.topic, int32(partition), from)
	if err != nil {
		return err
	}
	defer assigned.AsyncClose()
	for next := from; next < to; {
		select {
		case message, ok := <-assigned.Messages():
			if !ok {
				return fmt.Errorf("closed at offset %d", next)
			}
			got := record{key: message.Key, value: message.Value, timestampMs: message.Timestamp.UnixMilli()}
			for _, h := range message.Headers {
				got.headers = append(got.headers, header{string(h.Key), h.Value})
			}
			if err := visit(message.Offset, got); err != nil {
				return err
			}
			next = message.Offset + 1
		case err := <-assigned.Errors():
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("at offset %d: %w", next, ctx.Err())
		}
	}
	return nil
}

func (s saramaClient) offsetAt(_ context.Context, job job, partition int, timestampMs int64) (int64, error) {
	client, err := sarama.NewClient([]string{job.bootstrap}, s.config())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return client.GetOffset(job.topic, int32(partition), timestampMs)
}

func (s saramaClient) createTopic(_ context.Context, bootstrap, topic string, partitions int) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, s.config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: -1}, false)
}

func (s saramaClient) deleteTopic(_ context.Context, bootstrap, topic string) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, s.config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.DeleteTopic(topic)
}
