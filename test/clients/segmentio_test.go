// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// segmentio is segmentio/kafka-go. It speaks old protocol versions and has no
// idempotent producer.
type segmentio struct{}

func (segmentio) name() string { return "segmentio" }
func (segmentio) codecs() []string {
	return []string{codecNone, codecGzip, codecSnappy, codecLz4, codecZstd}
}

// quirks: its reader gives an empty key or value as nil.
func (segmentio) quirks() quirks {
	return quirks{emptyKeyIsNull: true, emptyValueIsNull: true, emptyHeaderIsNull: true}
}

func (segmentio) produce(ctx context.Context, job job) error {
	// A transport of its own: the shared one may not know a new topic for the
	// seconds that its metadata lives.
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	// The balancer sees the message: the partition travels in WriterData.
	writer := &kafka.Writer{
		Addr:         kafka.TCP(job.bootstrap),
		Topic:        job.topic,
		Transport:    transport,
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 5 * time.Millisecond,
		ReadTimeout:  matrixTimeout, // it is not idempotent: what it sends again is there twice
		WriteTimeout: matrixTimeout,
		BatchSize:    2000,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int {
			return message.WriterData.(int)
		}),
	}
	switch job.codec {
	case codecGzip:
		writer.Compression = kafka.Gzip
	case codecSnappy:
		writer.Compression = kafka.Snappy
	case codecLz4:
		writer.Compression = kafka.Lz4
	case codecZstd:
		writer.Compression = kafka.Zstd
	}
	defer writer.Close()
	chunk := make([]kafka.Message, 0, 4000)
	flush := func() error {
		err := writer.WriteMessages(ctx, chunk...)
		chunk = chunk[:0]
		return err
	}
	err := job.each(func(partition, sequence int) error {
		r := job.record(partition, sequence)
		message := kafka.Message{Key: r.key, Value: r.value, Time: time.UnixMilli(r.timestampMs), WriterData: partition}
		for _, h := range r.headers {
			message.Headers = append(message.Headers, kafka.Header{Key: h.key, Value: h.value})
		}
		if chunk = append(chunk, message); len(chunk) == cap(chunk) {
			return flush()
		}
		return nil
	})
	if err == nil && len(chunk) > 0 {
		err = flush()
	}
	return err
}

func (segmentio) consume(ctx context.Context, job job, partition int, from, to int64, visit func(int64, record) error) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{job.bootstrap}, Topic: job.topic, Partition: partition,
		MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 50 * time.Millisecond,
	})
	defer reader.Close()
	if err := reader.SetOffset(from); err != nil {
		return err
	}
	for next := from; next < to; {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", next, err)
		}
		got := record{key: message.Key, value: message.Value, timestampMs: message.Time.UnixMilli()}
		for _, h := range message.Headers {
			got.headers = append(got.headers, header{h.Key, h.Value})
		}
		if err := visit(message.Offset, got); err != nil {
			return err
		}
		next = message.Offset + 1
	}
	return nil
}

func (segmentio) offsetAt(ctx context.Context, job job, partition int, timestampMs int64) (int64, error) {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(job.bootstrap), Transport: transport}
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		job.topic: {kafka.TimeOffsetOf(partition, time.UnixMilli(timestampMs))},
	}})
	if err != nil {
		return 0, err
	}
	for _, found := range answer.Topics[job.topic] {
		for offset := range found.Offsets {
			return offset, found.Error
		}
		if found.Error != nil {
			return 0, found.Error
		}
	}
	return 0, fmt.Errorf("no offset for partition %d in the answer", partition)
}

func (segmentio) createTopic(ctx context.Context, bootstrap, topic string, partitions int) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Transport: transport}
	answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (segmentio) deleteTopic(ctx context.Context, bootstrap, topic string) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Transport: transport}
	answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}
