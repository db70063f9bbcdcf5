// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/fetch"
	"gregor/cmd/gregor/groups"
	"gregor/cmd/gregor/record"
	"gregor/cmd/gregor/terminal"
	"gregor/wire/batch"
)

// memberOptions are the flags of consume that make it a member of a group.
type memberOptions struct {
	group    string
	commit   string
	protocol string
	instance string
}

var commits = []string{"auto", "each", "none"}

const memberHelp = `With --group it reads as a member: the group shares the partitions among its members, goes on where it has committed, and begins as
--at says (start, end or @TIME; default start) where it has not. --commit auto commits every five seconds and at the end what has
been written to stdout, each commits after every answer, none never does. Who is killed has its last records read once more.
A broker that goes away is waited for: with --follow for ever, otherwise for --timeout.
Without --follow it ends when its partitions are read, or, where others leave it none, when the group has read all or --timeout is over.`

func (o *memberOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.group, "group", "g", "", "read as a member of this group")
	f.StringVar(&o.commit, "commit", "auto", "with --group, when to commit: "+strings.Join(commits, ", "))
	f.StringVar(&o.protocol, "protocol", groups.Classic, "with --group, the protocol of groups to speak: "+strings.Join(groupKinds, ", "))
	f.StringVar(&o.instance, "instance", "", "with --group, be the static member of this name")
	_ = c.RegisterFlagCompletionFunc("commit", cobra.FixedCompletions(commits, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(groupKinds, cobra.ShellCompDirectiveNoFileComp))
}

// checkMember refuses what a member cannot do.
func (o *consumeOptions) checkMember(c *cobra.Command) error {
	if o.group == "" {
		if c.Flags().Changed("group") {
			return usage("--group needs the name of a group")
		}
		for _, flag := range []string{"commit", "protocol", "instance"} {
			if c.Flags().Changed(flag) {
				return usage("--%s is for members of a group; give --group", flag)
			}
		}
		return nil
	}
	switch {
	case !slices.Contains(commits, o.commit):
		return usage("--commit %s: allowed are %s", o.commit, strings.Join(commits, ", "))
	case !slices.Contains(groupKinds, o.protocol):
		return usage("--protocol %s: allowed are %s", o.protocol, strings.Join(groupKinds, ", "))
	case len(o.partitions) > 0:
		return usage("the group says who reads which partition; leave --partition or --group out")
	case o.tail > 0:
		return usage("a group goes on where it has committed; leave --tail or --group out")
	case o.order == "time":
		return usage("a member reads as records arrive; leave --order time or --group out")
	}
	return nil
}

// beginning is where the group begins in partitions without a commit.
func (o *consumeOptions) beginning() (point, kgo.Offset, error) {
	at := o.at
	if at == "" {
		at = "start"
	}
	p, err := parseOnePoint("--at", at, time.Now())
	if err != nil {
		return p, kgo.Offset{}, err
	}
	switch p.kind {
	case atStart:
		return p, kgo.NewOffset().AtStart(), nil
	case atEnd:
		return p, kgo.NewOffset().AtEnd(), nil
	case atTime:
		return p, kgo.NewOffset().AfterMilli(p.since.UnixMilli()), nil
	}
	return p, kgo.Offset{}, usage("--at %s: with --group it is start, end or @TIME; \"gregor group seek\" moves a group elsewhere", o.at)
}

// membership is a run of consume in a group:
//
//	join → partitions (from the commit to the end, as it is then) → poll → write → commit
//
// Only what was written to stdout is committed, so that a crash at any point reads records again and leaves none
// out. While records of a poll are written no partition moves; members in the
// classic protocol therefore hand partitions over between two polls.
//
// Without --follow it ends when all partitions that it has are read up to the
// ends that they had when they were assigned, and, where it is given none,
// when the group has read all. What lies behind the last record (a marker, what
// compaction took) is never seen by a consumer: where nothing comes for a
// while, one fetch tells whether a record is left.
type membership struct {
	o      *consumeOptions
	client *kgo.Client  // the member
	admin  *kadm.Client // asks, on a client of its own
	begin  point

	now func() time.Time

	mu    sync.Mutex
	owned map[topicPartition]bool     // assigned
	left  map[topicPartition]*stretch // of those, not at its end
	// noneSince is when it was assigned nothing; zero while it has partitions,
	// or waits for an assignment.
	noneSince time.Time
	// away says since when the group cannot be reached, and why.
	away    time.Time
	awayErr error
	err     error
	// troubled says since when a partition has given errors only; zero: that was
	// told.
	troubled map[topicPartition]time.Time
	note     func(string)
}

type topicPartition struct {
	topic     string
	partition int32
}

// Polls are bounded so that a signal and a rebalance are never waited for.
const (
	memberPoll     = 250 * time.Millisecond
	memberIdle     = 2 * time.Second
	memberPatience = 6 * time.Second // twice the usual delay of a first rebalance
	personPatience = 2 * time.Second // of somebody who sits before it
	memberRecords  = 10_000
	memberCommitMs = 5000
)

func newMembership(o *consumeOptions, begin point) *membership {
	return &membership{o: o, begin: begin, now: time.Now, owned: map[topicPartition]bool{}, left: map[topicPartition]*stretch{},
		troubled: map[topicPartition]time.Time{}, note: func(string) {}}
}

func (o *consumeOptions) runMember(ctx context.Context, c *cobra.Command, topics []string, out *recordSink) error {
	begin, reset, err := o.beginning()
	if err != nil {
		return err
	}
	m := newMembership(o, begin)
	m.note = func(text string) { fmt.Fprintln(c.ErrOrStderr(), text) }
	opts := []kgo.Opt{
		kgo.ConsumerGroup(o.group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(reset), kgo.MetadataMinAge(metadataAge), kgo.KeepRetryableFetchErrors(),
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
	}
	if o.commit == "auto" {
		opts = append(opts, kgo.AutoCommitMarks(), kgo.AutoCommitInterval(memberCommitMs*time.Millisecond))
	} else {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	if o.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if o.instance != "" {
		opts = append(opts, kgo.InstanceID(o.instance))
	}
	// A classic member joins groups of whichever clients: franz-go's, Kafka's
	// and librdkafka's defaults are among these.
	opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer(), kgo.RangeBalancer(), kgo.RoundRobinBalancer()))
	if o.protocol == groups.Consumer {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	asking, err := o.dial(ctx, c)
	if err != nil {
		return err
	}
	defer asking.Close()
	m.admin = kadm.NewClient(asking)
	if err := m.topicsExist(ctx, topics); err != nil {
		return err
	}
	if m.client, err = o.dial(ctx, c, opts...); err != nil {
		return err
	}
	defer m.client.CloseAllowingRebalance()
	err = m.read(ctx, c.ErrOrStderr(), topics, out)
	if errors.Is(err, errEnough) {
		err = nil // and a commit that fails is told
	}
	flushed := out.flush()
	if flushed != nil {
		return cmp.Or(err, flushed)
	}
	left := m.leave()
	if left != nil && errors.Is(err, context.Canceled) {
		return left // that it was interrupted is not what is wrong
	}
	return errors.Join(err, left)
}

// topicsExist tells of a wrong name at once: a member would wait for the topic.
func (m *membership) topicsExist(ctx context.Context, topics []string) error {
	details, err := m.admin.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return failed(fmt.Errorf("look topics up: %w", err))
	}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return topicError(t.Topic, t.Err)
		}
	}
	return nil
}

// leave commits what was written and leaves the group, so that others take
// over at once. A static member stays: it is expected back.
func (m *membership) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), m.o.timeout)
	defer cancel()
	var err error
	if m.o.commit == "auto" {
		err = m.committed(m.client.CommitMarkedOffsets(ctx))
	}
	m.client.AllowRebalance()
	return errors.Join(err, ignoreUnjoined(m.client.LeaveGroupContext(ctx)))
}

func ignoreUnjoined(err error) error {
	if errors.Is(err, kerr.UnknownMemberID) || err != nil && codeOf(err) == exitUnreachable {
		return nil // it is missed and removed
	}
	return err
}

func (m *membership) committed(err error) error {
	if err == nil {
		return nil
	}
	return groupError(m.o.group, fmt.Errorf("commit: %w", err))
}

// read polls and writes until there is enough or all is read.
func (m *membership) read(ctx context.Context, talk io.Writer, topics []string, out *recordSink) error {
	began := m.now()
	quiet, told, lost := began, false, false
	patience := memberPatience
	if terminal.Is(talk) {
		patience = personPatience
	}
	var err error
	for {
		waiting, cancel := context.WithTimeout(ctx, memberPoll)
		fetches := m.client.PollRecords(waiting, memberRecords)
		cancel()
		if err := m.failed(ctx, fetches); err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			quiet = m.now()
		}
		if err := m.write(ctx, fetches, out); err != nil {
			return err
		}
		m.client.AllowRebalance()
		if lost, err = m.reached(lost); err != nil {
			return err
		}
		if !told && !lost && m.now().Sub(began) > patience && m.waits() {
			fmt.Fprintf(talk, "waiting for partitions of group %s; \"gregor group describe %s --members\" shows who has them\n", m.o.group, m.o.group)
			told = true
		}
		if m.o.follow {
			continue
		}
		if !lost && m.now().Sub(quiet) > memberIdle {
			if err := m.lookBehind(ctx); err != nil {
				return err
			}
			if spare, err := m.spare(ctx, topics); spare || err != nil {
				return err
			}
			quiet = m.now()
		}
		if done, err := m.done(); done || err != nil {
			return err
		}
	}
}

// failed finds what ends the reading.
func (m *membership) failed(ctx context.Context, fetches kgo.Fetches) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, e := range fetches.Errors() {
		var session *kgo.ErrGroupSession
		var loss *kgo.ErrDataLoss
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded):
		case errors.As(e.Err, &loss):
			return failed(fmt.Errorf("topic %q, partition %d: group %q has read up to offset %d, and records from %d on were lost", loss.Topic, loss.Partition, m.o.group, loss.ConsumedTo, loss.ResetTo),
				fmt.Sprintf("gregor group seek %s --to %d --topic %s:%d --dry-run", m.o.group, loss.ResetTo, loss.Topic, loss.Partition))
		case errors.As(e.Err, &session):
			if kerr.IsRetriable(session.Err) || errors.Is(session.Err, kerr.UnknownMemberID) || errors.Is(session.Err, kerr.IllegalGeneration) ||
				errors.Is(session.Err, kerr.FencedMemberEpoch) {
				continue // it joins again by itself
			}
			if !mayPass(session.Err) {
				return groupError(m.o.group, session.Err)
			}
			m.parted(session.Err)
		case kerr.IsRetriable(e.Err), mayPass(e.Err):
			if err := m.stuck(topicPartition{e.Topic, e.Partition}, e.Err); err != nil {
				return err
			}
		default:
			return &fetch.PartitionError{Topic: e.Topic, Partition: e.Partition, Err: e.Err}
		}
	}
	return nil
}

// parted notes that the group cannot be reached: from the loss of the
// partitions to the next assignment. A member of the newer protocol keeps them.
func (m *membership) parted(err error) {
	switch {
	case len(m.owned) > 0:
		m.note(fmt.Sprintf("still waiting: group %s: %v", m.o.group, err))
	case m.away.IsZero():
		m.away, m.awayErr = m.now(), err
	default:
		m.awayErr = err
	}
}

// reached tells when the group cannot be reached any more, and when it is again.
// A member that follows tries for ever, another one up to the timeout.
func (m *membership) reached(lost bool) (stillLost bool, err error) {
	m.mu.Lock()
	away, why := m.away, m.awayErr
	m.mu.Unlock()
	switch {
	case !away.IsZero() && !m.o.follow && m.now().Sub(away) > m.o.timeout:
		return true, groupError(m.o.group, why)
	case !away.IsZero() && !lost:
		m.note(fmt.Sprintf("group %s is left: %v; joining it again", m.o.group, why))
	case away.IsZero() && lost:
		m.note(fmt.Sprintf("group %s is joined again", m.o.group))
	}
	return !away.IsZero(), nil
}

// stuck tells once of a partition that gives an error for longer than the
// timeout, such as a range of its log that went bad. The client never goes over
// to a topic that was made anew: that ends the run.
func (m *membership) stuck(at topicPartition, err error) error {
	since, ok := m.troubled[at]
	switch {
	case !ok:
		m.troubled[at] = m.now()
	case since.IsZero() || m.now().Sub(since) <= m.o.timeout:
	case errors.Is(err, kerr.UnknownTopicID):
		return failed(fmt.Errorf("topic %q was deleted, or deleted and created again", at.topic), "gregor topic describe "+at.topic)
	default:
		m.troubled[at] = time.Time{}
		m.note(fmt.Sprintf("still waiting: topic %q, partition %d: %v", at.topic, at.partition, err))
	}
	return nil
}

// write puts out the records of a poll. What could not be written is not
// committed.
func (m *membership) write(ctx context.Context, fetches kgo.Fetches, out *recordSink) error {
	if fetches.NumRecords() == 0 {
		return nil
	}
	var marked []*kgo.Record
	var rec record.Record
	var stop error
	for it := fetches.RecordIter(); !it.Done() && stop == nil; {
		r := it.Next()
		fill(&rec, r)
		if stop = out.Record(&rec); stop == nil || errors.Is(stop, errEnough) {
			marked = append(marked, r)
		}
	}
	if stop != nil && !errors.Is(stop, errEnough) {
		return stop
	}
	if err := out.flush(); err != nil {
		return err
	}
	m.advance(marked)
	switch m.o.commit {
	case "auto":
		m.client.MarkCommitRecords(marked...)
	case "each":
		if err := m.committed(m.client.CommitRecords(ctx, marked...)); err != nil {
			return err
		}
	}
	return stop
}

// fill makes the record that layouts and filters know.
func fill(to *record.Record, r *kgo.Record) {
	*to = record.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, TimestampMs: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value,
		Headers: to.Headers[:0], LeaderEpoch: r.LeaderEpoch, ProducerID: r.ProducerID, ProducerEpoch: r.ProducerEpoch, Attributes: attributes(r.Attrs)}
	for _, h := range r.Headers {
		to.Headers = append(to.Headers, record.Header{Key: []byte(h.Key), Value: h.Value})
	}
}

// attributes puts the bits of a batch together again.
func attributes(a kgo.RecordAttrs) batch.Attributes {
	bits := batch.Attributes(a.CompressionType())
	if a.TimestampType() == 1 {
		bits |= 1 << 3
	}
	if a.IsTransactional() {
		bits |= 1 << 4
	}
	return bits
}
