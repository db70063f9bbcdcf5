// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"cmp"
	"slices"

	"gregor/broker/api"
	"gregor/replica"
)

// A name with and without the label topic, as Kafka has it, would let a sum over
// the name count everything twice; so those of topics have names of their own.
var (
	topicMessagesIn    = counter("gregor_topic_messages_in_total", "Records appended for producers, by topic.", "topic")
	topicBytesIn       = counter("gregor_topic_bytes_in_total", "Bytes of batches appended for producers, by topic.", "topic")
	topicBytesOut      = counter("gregor_topic_bytes_out_total", "Bytes of batches sent to consumers, by topic.", "topic")
	topicProduces      = counter("gregor_topic_produce_requests_total", "Produce requests, each counted for every partition that it names.", "topic")
	topicFetches       = counter("gregor_topic_fetch_requests_total", "Fetch requests, each counted for every partition that was read for it.", "topic")
	topicProduceFailed = counter("gregor_topic_produce_failures_total", "Of the produce requests, those that got an error.", "topic")
	topicFetchFailed   = counter("gregor_topic_fetch_failures_total", "Of the fetch requests, those that got an error.", "topic")
	topicsNotShown     = gauge("gregor_topics_not_shown", "Topics with traffic beyond gregor.metrics.topics.max.")

	topicGroup = group{"Topics, once they have traffic", []*metric{topicMessagesIn, topicBytesIn, topicBytesOut, topicProduces, topicFetches,
		topicProduceFailed, topicFetchFailed, topicsNotShown}, func(e *emitter, c *collector) {
		if c.sources.Partitions == nil {
			return
		}
		shown, left := busyTopics(c.sources.Partitions, c.sources.TopicsMax)
		for _, t := range shown {
			e.count(topicMessagesIn, t.MessagesInTotal, t.name)
			e.count(topicBytesIn, t.BytesInTotal, t.name)
			e.count(topicBytesOut, t.BytesOutTotal, t.name)
			e.count(topicProduces, t.ProduceRequestsTotal, t.name)
			e.count(topicFetches, t.FetchRequestsTotal, t.name)
			e.count(topicProduceFailed, t.ProduceFailuresTotal, t.name)
			e.count(topicFetchFailed, t.FetchRequestFailuresTotal, t.name)
		}
		e.count(topicsNotShown, int64(left))
	}}
)

type busyTopic struct {
	name string
	replica.TrafficStats
}

// busyTopics are the topics whose traffic began first, so that one that is shown
// stays. A topic that was made again under its name is there twice for a moment:
// the newer one counts.
func busyTopics(list Partitions, topicsMax int) (shown []busyTopic, left int) {
	byName := map[string]replica.TrafficStats{}
	list.Topics(func(name string, t *replica.Traffic) bool {
		if s := t.Stats(); s.Order > byName[name].Order {
			byName[name] = s
		}
		return true
	})
	for name, s := range byName {
		shown = append(shown, busyTopic{name, s})
	}
	slices.SortFunc(shown, func(a, b busyTopic) int { return cmp.Compare(a.Order, b.Order) })
	n := min(len(shown), topicsMax)
	return shown[:n], len(shown) - n
}

var (
	requestTimes     = histogram("gregor_request_seconds", "Time from a request's last byte to its reply's last byte, waits for records or replicas included. Requests without a reply (acks=0) are not in it.", "request")
	requestThrottled = counter("gregor_request_throttled_seconds_total", "Time that clients were told to wait, by request.", "request")

	timeGroup = group{"Request times", []*metric{requestTimes, requestThrottled}, func(e *emitter, c *collector) {
		if c.sources.Requests == nil {
			return
		}
		bounds := api.TimeBounds()
		for name, t := range c.sources.Requests().Times {
			e.observe(requestTimes, t.Count, t.Total, bounds, t.Buckets, name)
			e.put(requestThrottled, t.Throttled.Seconds(), name)
		}
	}}
)
