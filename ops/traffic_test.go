// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"strings"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/replica"
)

// Topics are shown from their first traffic on, those first that began first,
// and one that is shown stays.
func TestTopicsAreShownUpToALimit(t *testing.T) {
	s := full(t)
	s.TopicsMax = 2
	table := busyTable("z", "y", "x")
	quiet := replica.New(kafka.TopicIDPartition{TopicID: kafka.TopicID{1}}, kafka.TopicPartition{Topic: "quiet"}, time.Now)
	table.Add(quiet)
	s.Partitions = table
	base := start(t, Options{Sources: s})
	look := func(want ...string) {
		t.Helper()
		_, body := get(t, base+"/metrics")
		for _, w := range want {
			w, absent := strings.CutPrefix(w, "no ")
			if strings.Contains(body, w) == absent {
				t.Errorf("absent is %t: %s", !absent, w)
			}
		}
	}
	look(`gregor_topic_messages_in_total{topic="z"} 5`, `gregor_topic_bytes_in_total{topic="y"} 100`, `gregor_topic_produce_requests_total{topic="z"} 1`,
		`no topic="x"`, `no topic="quiet"`, "gregor_topics_not_shown 1\n")
	// A second partition of a topic adds to the same counters.
	more := replica.New(kafka.TopicIDPartition{TopicID: kafka.TopicID{15: 1}, Partition: 7}, kafka.TopicPartition{Topic: "z", Partition: 7}, time.Now)
	table.Add(more)
	more.Traffic().Produced(1, 1)
	more.Traffic().ProduceFailed()
	quiet.Traffic().Fetched()
	quiet.Traffic().FetchFailed()
	more.Traffic().Sent(33)
	look(`gregor_topic_messages_in_total{topic="z"} 6`, `gregor_topic_produce_requests_total{topic="z"} 3`, `gregor_topic_produce_failures_total{topic="z"} 1`,
		`gregor_topic_bytes_out_total{topic="z"} 33`, `no topic="quiet"`, "gregor_topics_not_shown 2\n")
	// Where one is deleted, the next is shown.
	table.Remove(table.Get(kafka.TopicID{15: 2}, 0))
	look(`no topic="y"`, `gregor_topic_messages_in_total{topic="x"} 5`, "gregor_topics_not_shown 1\n")
	table.Remove(table.Get(kafka.TopicID{15: 3}, 0))
	look(`gregor_topic_fetch_requests_total{topic="quiet"} 2`, `gregor_topic_fetch_failures_total{topic="quiet"} 1`, "gregor_topics_not_shown 0\n")
}

func TestRequestTimesAreHistograms(t *testing.T) {
	_, body := get(t, start(t, Options{Sources: full(t)})+"/metrics")
	for _, want := range []string{
		`gregor_request_seconds_bucket{request="Produce",le="0.001"} 0`, `gregor_request_seconds_bucket{request="Produce",le="0.0025"} 3`,
		`gregor_request_seconds_bucket{request="Produce",le="30"} 3`, `gregor_request_seconds_bucket{request="Produce",le="+Inf"} 4`,
		`gregor_request_seconds_sum{request="Produce"} 60`, `gregor_request_seconds_count{request="Produce"} 4`,
		`gregor_request_throttled_seconds_total{request="Produce"} 2`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
