// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	librd "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	segment "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// autoEvery is how often a member commits that does so by itself.
const autoEvery = 100 * time.Millisecond

func (t task) session() time.Duration { return time.Duration(t.SessionMs) * time.Millisecond }

// beat is how often a member asks whether there is anything new.
func (t task) beat() time.Duration { return 500 * time.Millisecond }

func (franz) cooperates() bool { return true }
func (franz) isStatic() bool   { return true }

func (franz) member(t task, v *voice) error {
	balancer := kgo.RangeBalancer()
	if t.Cooperative {
		balancer = kgo.CooperativeStickyBalancer()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(t.Bootstrap), kgo.ConsumerGroup(t.Group), kgo.ConsumeTopics(t.Topic), kgo.Balancers(balancer),
		kgo.SessionTimeout(t.session()), kgo.HeartbeatInterval(t.beat()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { v.gains(m[t.Topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { v.loses(m[t.Topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { v.loses(m[t.Topic]) }),
	}
	if t.Instance != "" {
		options = append(options, kgo.InstanceID(t.Instance))
	}
	if t.Auto {
		options = append(options, kgo.AutoCommitInterval(autoEvery))
	} else {
		options = append(options, kgo.DisableAutoCommit())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			for _, failed := range fetches.Errors() {
				cancel(failed.Err)
			}
			fetches.EachRecord(func(r *kgo.Record) { v.read(r.Partition, r.Offset) })
		}
	}()
	return v.obey(ctx, func() error { return client.CommitUncommittedOffsets(ctx) })
}

func (saramaClient) cooperates() bool { return false }
func (saramaClient) isStatic() bool   { return true }

func (s saramaClient) member(t task, v *voice) error {
	config := s.config()
	config.Consumer.Group.Session.Timeout, config.Consumer.Group.Heartbeat.Interval = t.session(), t.beat()
	config.Consumer.Group.InstanceId = t.Instance
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable, config.Consumer.Offsets.AutoCommit.Interval = t.Auto, autoEvery
	group, err := sarama.NewConsumerGroup([]string{t.Bootstrap}, t.Group, config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	h := &saramaHandler{topic: t.Topic, voice: v}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{t.Topic}, h); err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
				cancel(err)
			}
		}
	}()
	err = v.obey(ctx, func() error { h.session.Load().(sarama.ConsumerGroupSession).Commit(); return nil })
	cancel(nil)
	<-ended
	return errors.Join(err, group.Close())
}

func (segmentio) cooperates() bool { return false }
func (segmentio) isStatic() bool   { return false }

func (segmentio) member(t task, v *voice) error {
	group, err := segment.NewConsumerGroup(segment.ConsumerGroupConfig{
		ID: t.Group, Brokers: []string{t.Bootstrap}, Topics: []string{t.Topic}, GroupBalancers: []segment.GroupBalancer{segment.RangeGroupBalancer{}},
		SessionTimeout: t.session(), HeartbeatInterval: t.beat(), RebalanceTimeout: time.Minute, StartOffset: segment.FirstOffset, JoinGroupBackoff: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var at reached
	generations := make(chan *segment.Generation, 1)
	go func() {
		for ctx.Err() == nil {
			g, err := group.Next(ctx)
			if errors.Is(err, segment.ErrGroupClosed) || ctx.Err() != nil {
				return
			}
			if err != nil {
				continue // the library asks again
			}
			at.forget()
			select {
			case <-generations:
			default:
			}
			generations <- g
			var partitions []int32
			for _, p := range g.Assignments[t.Topic] {
				partitions = append(partitions, int32(p.ID))
				g.Start(func(ctx context.Context) { segmentPartition(ctx, t, p, v, &at) })
			}
			v.has(partitions)
		}
	}()
	commit := func() error {
		select {
		case g := <-generations:
			offsets := map[int]int64{}
			for p, o := range at.all() {
				offsets[int(p)] = o
			}
			generations <- g
			return g.CommitOffsets(map[string]map[int]int64{t.Topic: offsets})
		case <-time.After(memberTimeout):
			return errors.New("no generation")
		}
	}
	if t.Auto { // what its Reader does with a CommitInterval
		go func() {
			for range time.Tick(autoEvery) {
				if len(at.all()) > 0 {
					_ = commit()
				}
			}
		}()
	}
	err = v.obey(ctx, commit)
	return errors.Join(err, group.Close())
}

func segmentPartition(ctx context.Context, t task, p segment.PartitionAssignment, v *voice, at *reached) {
	reader := segment.NewReader(segment.ReaderConfig{Brokers: []string{t.Bootstrap}, Topic: t.Topic, Partition: p.ID, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 50 * time.Millisecond})
	defer reader.Close()
	if reader.SetOffset(p.Offset) != nil {
		return
	}
	for {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return
		}
		at.read(int32(p.ID), message.Offset) // who is told commits
		v.read(int32(p.ID), message.Offset)
	}
}

func (librdkafka) cooperates() bool { return true }
func (librdkafka) isStatic() bool   { return true }

func (librdkafka) member(t task, v *voice) error {
	config := librd.ConfigMap{
		"bootstrap.servers": t.Bootstrap, "group.id": t.Group, "session.timeout.ms": t.SessionMs, "heartbeat.interval.ms": int(t.beat().Milliseconds()),
		"auto.offset.reset": "earliest", "enable.auto.commit": t.Auto, "auto.commit.interval.ms": int(autoEvery.Milliseconds()),
		"partition.assignment.strategy": "range", "fetch.wait.max.ms": 100,
	}
	if t.Cooperative {
		config["partition.assignment.strategy"] = "cooperative-sticky"
	}
	if t.Instance != "" {
		config["group.instance.id"] = t.Instance
	}
	consumer, err := librd.NewConsumer(&config)
	if err != nil {
		return err
	}
	if err := consumer.SubscribeTopics([]string{t.Topic}, nil); err != nil {
		return err
	}
	for {
		switch event := consumer.Poll(20).(type) {
		case *librd.Message:
			v.read(event.TopicPartition.Partition, int64(event.TopicPartition.Offset))
		case librd.Error:
			if event.IsFatal() {
				return event
			}
		}
		assigned, err := consumer.Assignment()
		if err != nil {
			return err
		}
		var partitions []int32
		for _, p := range assigned {
			partitions = append(partitions, p.Partition)
		}
		slices.Sort(partitions)
		v.has(partitions)
		select {
		case command := <-v.commands:
			if command == "leave" {
				return consumer.Close()
			}
			if _, err := consumer.Commit(); err != nil {
				return err
			}
			v.say(said{Committed: true})
		default:
		}
	}
}

// saramaHandler tells what a session gives.
type saramaHandler struct {
	topic   string
	voice   *voice
	session atomic.Value
}

func (h *saramaHandler) Setup(s sarama.ConsumerGroupSession) error {
	h.session.Store(s)
	h.voice.has(s.Claims()[h.topic])
	return nil
}

func (h *saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *saramaHandler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-c.Messages():
			if !ok {
				return nil
			}
			s.MarkMessage(message, "") // who is told commits
			h.voice.read(message.Partition, message.Offset)
		case <-s.Context().Done():
			return nil
		}
	}
}
