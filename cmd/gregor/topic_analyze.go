// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/disk"
	"gregor/wire/batch"
)

// analysis is what `topic analyze` finds in a topic.
type analysis struct {
	Topic      string  `json:"topic"`
	Partitions int     `json:"partitions"`
	Complete   bool    `json:"complete"` // false: --limit ended it
	Records    int64   `json:"records"`
	Batches    int64   `json:"batches"`
	Bytes      int64   `json:"bytes"`         // of the batches, as they are stored
	RawBytes   int64   `json:"keyValueBytes"` // of keys and values, as they were sent
	BatchMax   int64   `json:"largestBatchBytes"`
	PerBatch   float64 `json:"recordsPerBatch"`
	RecordMean float64 `json:"meanRecordBytes"`
	// Codecs counts batches.
	Codecs        map[string]int64 `json:"codecs"`
	Idempotent    int64            `json:"idempotentBatches"`
	Transactional int64            `json:"transactionalBatches"`
	Control       int64            `json:"controlBatches"`
	NullKeys      int64            `json:"nullKeys"`
	Tombstones    int64            `json:"tombstones"`
	Keys          int64            `json:"distinctKeys"`
	KeysMore      bool             `json:"distinctKeysAtLeast"` // there are more than were counted
	TopKeyShare   float64          `json:"topKeyShare"`         // of all records with a key
	PartitionSkew float64          `json:"partitionSkew"`       // bytes of the largest over the mean
	First         *time.Time       `json:"firstTimestamp,omitempty"`
	Last          *time.Time       `json:"lastTimestamp,omitempty"`
	PerSecond     float64          `json:"recordsPerSecond"` // between the two

	seed   maphash.Seed
	counts map[uint64]int64 // by the key's hash
	bytes  map[int32]int64  // by partition
}

// keysMax bounds the keys that are counted one by one.
const keysMax = 1 << 20

func newTopicAnalyzeCommand(n *connection) *cobra.Command {
	var output, at string
	var limit int64
	c := &cobra.Command{
		Use:   "analyze TOPIC...",
		Short: "Read topics and tell how they are used: batches, codecs, keys, rates",
		Long: `Reads topics, all of them or what --at selects, and tells how producers use them: size of batches, compression, how
evenly keys and partitions are used, tombstones, rates. Small batches and a high share of one key are what costs most.

--at ` + spanHelp,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic analyze orders\n  gregor topic analyze orders payments --at @-1h -o json\n  gregor topic analyze orders --limit 0",
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			selected, err := parseSpan(at, time.Now())
			if err != nil {
				return usage("%v", err)
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				l := listing{kind: "Analysis"}
				var found []*analysis
				for _, name := range names {
					a, err := analyze(ctx, client, name, selected, limit)
					if err != nil {
						return err
					}
					found = append(found, a)
					l.items = append(l.items, a)
					l.names = append(l.names, name)
				}
				if output == "table" {
					return printAnalyses(c.OutOrStdout(), found)
				}
				return l.print(c.OutOrStdout(), output)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().StringVar(&at, "at", "start", "what to read, as above")
	c.Flags().Int64Var(&limit, "limit", 1_000_000, "stop after about so many records a topic; 0 reads all")
	return c
}

// analyze reads the span of a topic, partition by partition.
func analyze(ctx context.Context, client *kgo.Client, topic string, selected span, limit int64) (*analysis, error) {
	admin := kadm.NewClient(client)
	details, err := admin.ListTopicsWithInternal(ctx, topic)
	if err != nil {
		return nil, failed(fmt.Errorf("look the topic up: %w", err))
	}
	p, err := planOf(ctx, admin, []string{topic}, nil, selected, false)
	if err != nil {
		return nil, err
	}
	a := &analysis{Topic: topic, Partitions: len(p[topic]), Complete: true, Codecs: map[string]int64{},
		seed: maphash.MakeSeed(), counts: map[uint64]int64{}, bytes: map[int32]int64{}}
	share := int64(-1)
	if limit > 0 && len(p[topic]) > 0 {
		share = max(1, limit/int64(len(p[topic])))
	}
	var reader disk.Reader
	for _, id := range sortedKeys(p[topic]) {
		d := details[topic]
		r := rawReader{client: client, topic: topic, id: d.ID, partition: id, leader: d.Partitions[id].Leader}
		if err := a.partition(ctx, &r, &reader, p[topic][id], share); err != nil {
			return nil, topicError(topic, fmt.Errorf("partition %d: %w", id, err))
		}
	}
	a.end()
	return a, nil
}

// rawReader fetches batches as they are stored.
type rawReader struct {
	client    *kgo.Client
	topic     string
	id        kadm.TopicID
	partition int32
	leader    int32
}

const analyzeFetchBytes = 4 << 20

// fetch gives whole batches from an offset on, and perhaps a part of another.
func (r *rawReader) fetch(ctx context.Context, from int64) ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 500, 1, analyzeFetchBytes, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.topic, r.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.partition, from, analyzeFetchBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := r.client.Broker(int(r.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("the broker answered for %d topics", len(answer.Topics))
	}
	found := &answer.Topics[0].Partitions[0]
	return found.RecordBatches, kerr.ErrorForCode(found.ErrorCode)
}

// partition reads a stretch, or about share records of it.
func (a *analysis) partition(ctx context.Context, r *rawReader, reader *disk.Reader, s *stretch, share int64) error {
	read := int64(0)
	enough := func() bool { return share >= 0 && read >= share }
	for next := s.next; next < s.to; {
		if enough() {
			a.Complete = false
			return nil
		}
		b, err := r.fetch(ctx, next)
		if err != nil {
			return err
		}
		before := next
		for len(b) >= batch.HeaderSize && next < s.to && !enough() {
			h, err := batch.Parse(b)
			if err != nil {
				return err
			}
			if h.SizeBytes() > len(b) {
				break
			}
			whole := disk.Batch{Header: h, Bytes: b[:h.SizeBytes()]}
			if err := a.batch(r.partition, reader, &whole, s); err != nil {
				return err
			}
			read += int64(h.Count)
			next = int64(h.NextOffset())
			b = b[h.SizeBytes():]
		}
		if next == before { // compaction took the rest
			return nil
		}
	}
	return nil
}

func (a *analysis) batch(partition int32, reader *disk.Reader, b *disk.Batch, s *stretch) error {
	size := int64(len(b.Bytes))
	a.Batches++
	a.Bytes += size
	a.bytes[partition] += size
	a.BatchMax = max(a.BatchMax, size)
	a.Codecs[b.Attributes.Codec().String()]++
	if b.HasProducerID() {
		a.Idempotent++
	}
	if b.Attributes.IsTransactional() {
		a.Transactional++
	}
	if b.Attributes.IsControl() {
		a.Control++
		return nil
	}
	return reader.Records(b, func(r *batch.Record) error {
		if int64(r.Offset) >= s.next && int64(r.Offset) < s.to {
			a.record(r)
		}
		return nil
	})
}

func (a *analysis) record(r *batch.Record) {
	a.Records++
	a.RawBytes += int64(len(r.Key) + len(r.Value))
	if r.Value == nil {
		a.Tombstones++
	}
	if at := time.UnixMilli(r.TimestampMs).UTC(); r.TimestampMs >= 0 {
		if a.First == nil || at.Before(*a.First) {
			a.First = &at
		}
		if a.Last == nil || at.After(*a.Last) {
			a.Last = &at
		}
	}
	if r.Key == nil {
		a.NullKeys++
		return
	}
	hash := maphash.Bytes(a.seed, r.Key)
	if _, known := a.counts[hash]; known || len(a.counts) < keysMax {
		a.counts[hash]++
	} else {
		a.KeysMore = true
	}
}

// end makes the shares.
func (a *analysis) end() {
	ratio := func(n, of float64) float64 {
		if of <= 0 {
			return 0
		}
		return n / of
	}
	a.PerBatch = ratio(float64(a.Records), float64(a.Batches-a.Control))
	a.RecordMean = ratio(float64(a.RawBytes), float64(a.Records))
	a.Keys = int64(len(a.counts))
	top, largest := int64(0), int64(0)
	for _, n := range a.counts {
		top = max(top, n)
	}
	for _, n := range a.bytes {
		largest = max(largest, n)
	}
	a.TopKeyShare = ratio(float64(top), float64(a.Records-a.NullKeys))
	a.PartitionSkew = ratio(float64(largest)*float64(a.Partitions), float64(a.Bytes))
	if a.First != nil {
		a.PerSecond = ratio(float64(a.Records), a.Last.Sub(*a.First).Seconds())
	}
}

func printAnalyses(w io.Writer, found []*analysis) error {
	for i, a := range found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printTable(w, []string{a.Topic, ""}, a.lines()); err != nil {
			return err
		}
	}
	return nil
}

func (a *analysis) lines() [][]string {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	decimal := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
	var codecs []string
	for _, name := range sortedKeys(a.Codecs) {
		codecs = append(codecs, fmt.Sprintf("%s %d", name, a.Codecs[name]))
	}
	keys := count(a.Keys)
	if a.KeysMore {
		keys = "more than " + keys
	}
	records := count(a.Records)
	if !a.Complete {
		records += " (--limit)"
	}
	lines := [][]string{
		{"partitions", count(int64(a.Partitions))},
		{"records", records},
		{"stored", size(a.Bytes)},
		{"keys and values", size(a.RawBytes)},
		{"mean record", decimal(a.RecordMean) + " B"},
		{"batches", count(a.Batches)},
		{"records a batch", decimal(a.PerBatch)},
		{"largest batch", size(a.BatchMax)},
		{"codecs of batches", strings.Join(codecs, ", ")},
		{"idempotent batches", count(a.Idempotent)},
		{"transactional batches", count(a.Transactional)},
		{"distinct keys", keys},
		{"records without key", count(a.NullKeys)},
		{"most frequent key", decimal(100*a.TopKeyShare) + " %"},
		{"tombstones", count(a.Tombstones)},
		{"largest partition", decimal(a.PartitionSkew) + " x the mean"},
	}
	if a.First != nil {
		lines = append(lines, []string{"first", a.First.Format(time.RFC3339)}, []string{"last", a.Last.Format(time.RFC3339)},
			[]string{"records a second", decimal(a.PerSecond)})
	}
	return lines
}
