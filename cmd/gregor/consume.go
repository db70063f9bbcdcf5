// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/fetch"
	"gregor/cmd/gregor/filter"
	"gregor/cmd/gregor/record"
)

// consumeOptions are the flags of consume, and what an alias of it sets.
type consumeOptions struct {
	connection
	outputOptions
	matchOptions
	memberOptions
	at         string
	tail       int
	count      int64 // end after so many, 0 is all
	partitions []int32
	follow     bool
	order      string
	committed  bool
	countOnly  bool
}

func newConsumeCommand() *cobra.Command {
	o := &consumeOptions{}
	c := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read records and write them to stdout",
		Long: `Reads what is there when the command begins, then ends; with --follow it goes on.

Without --follow the order is the same each time: by topic, partition and offset, or with --order time by timestamp, where
the records of a partition stay in their order. With --follow partitions are written as their records arrive.

` + memberHelp + `

--at ` + spanHelp + `

-f is a layout:
` + record.LayoutHelp + `

--filter is ` + filter.Help + `
Several must all match.

gregor consume A -o json | gregor produce B -f json copies a topic: keys, values, nulls, headers, timestamps and partitions, of which
B needs as many (or produce --repartition).`,
		Args: cobra.MinimumNArgs(1),
		Example: `  gregor consume orders
  gregor consume orders --tail 10 --follow
  gregor consume orders --at -10 -f '%p %o %k %v\n'
  gregor consume orders --at @-1h --follow -o jsonl
  gregor consume orders payments --at @2026-01-02..@2026-01-03 --order time --print timestamp,key,value
  gregor consume orders --filter 'header.source=web' --filter '.amount>=100' -n 5
  gregor consume orders -k customer-7 -o json
  gregor consume orders --group audit -n 5
  gregor consume orders payments -g audit --commit each --protocol consumer --follow`,
		RunE: func(c *cobra.Command, topics []string) error { return o.run(c, topics) },
	}
	o.connection.flags(c)
	o.outputOptions.flags(c)
	o.matchOptions.flags(c)
	o.memberOptions.flags(c)
	f := c.Flags()
	f.StringVar(&o.at, "at", "", "what to read (default start; with --follow, end)")
	f.IntVar(&o.tail, "tail", 0, "the last N records of all partitions together, by timestamp; with --follow, go on from there")
	f.Int64VarP(&o.count, "num", "n", 0, "end after this many records")
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "partitions to read (default all)")
	f.BoolVar(&o.follow, "follow", false, "go on with what comes")
	f.StringVar(&o.order, "order", "partition", strings.Join(orders, " or "))
	f.BoolVar(&o.committed, "read-committed", false, "leave out records of transactions that are open or were aborted")
	f.BoolVar(&o.countOnly, "count", false, "write how many records there are, instead of the records")
	_ = c.RegisterFlagCompletionFunc("order", cobra.FixedCompletions(orders, cobra.ShellCompDirectiveNoFileComp))
	return c
}

var orders = []string{"partition", "time"}

// metadataAge is how old the client's idea of leaders and partitions may be
// when it is asked for again.
const metadataAge = 100 * time.Millisecond

// selection is what --at says, or what it leaves open.
func (o *consumeOptions) selection() (span, error) {
	at := o.at
	switch {
	case o.tail < 0 || o.count < 0:
		return span{}, usage("--tail and -n take numbers from 1 on")
	case o.tail > 0 && at != "":
		return span{}, usage("--tail says where to begin, and --at too; leave one out")
	case o.follow && o.order == "time":
		return span{}, usage("--order time needs an end, and --follow has none; leave one out")
	case !slices.Contains(orders, o.order):
		return span{}, usage("--order %s: allowed are %s", o.order, strings.Join(orders, ", "))
	case at == "" && o.follow && o.tail == 0:
		at = "end"
	case at == "":
		at = "start"
	}
	selected, err := parseSpan(at, time.Now())
	if err != nil {
		return span{}, usage("%w", err)
	}
	if o.follow && selected.to.kind != unspecified {
		return span{}, usage("--follow goes on for ever, and --at %s has an end; leave one out", at)
	}
	return selected, nil
}

// run reads topics; everything that the flags can have wrong is told before
// a broker is asked.
func (o *consumeOptions) run(c *cobra.Command, topics []string) error {
	if err := o.checkMember(c); err != nil {
		return err
	}
	selected, err := o.selection()
	if err != nil {
		return err
	}
	write, err := o.writer()
	if err != nil {
		return err
	}
	wanted, err := o.matcher(time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := interruptible(c)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second signal ends what the first cannot
	slices.Sort(topics)
	out := &recordSink{out: c.OutOrStdout(), write: write, wanted: wanted, left: o.count, countOnly: o.countOnly}
	ctx = whileRead(ctx, out.out)
	if o.group != "" {
		return o.end(ctx, c, out, o.runMember(ctx, c, slices.Compact(topics), out))
	}
	client, err := o.dial(ctx, c, kgo.MetadataMinAge(metadataAge))
	if err != nil {
		return err
	}
	defer client.Close()
	err = o.read(ctx, client, c.ErrOrStderr(), slices.Compact(topics), selected, out)
	return o.end(ctx, c, out, err)
}

// read carries out the plan.
func (o *consumeOptions) read(ctx context.Context, client *kgo.Client, talk io.Writer, topics []string, selected span, out *recordSink) error {
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(o.timeout.Milliseconds()))
	q := spanQuery{ctx: ctx, admin: admin, topics: topics, lists: map[string]kadm.ListedOffsets{}, committed: o.committed}
	p, err := q.plan(o.partitions, selected, o.follow && o.tail == 0)
	if err != nil {
		return err
	}
	stretches := p.stretches()
	r := fetch.NewReader(client, fetch.Options{Committed: o.committed, Timeout: o.timeout,
		Note: func(text string) { fmt.Fprintln(talk, text) }})
	switch {
	case o.tail > 0:
		if err := r.Tail(ctx, stretches, o.tail, out); err != nil || !o.follow {
			return err
		}
		for i := range stretches {
			stretches[i].Next, stretches[i].To = max(stretches[i].Next, stretches[i].To), -1
		}
		return r.Follow(ctx, stretches, len(o.partitions) == 0, out)
	case o.follow:
		return r.Follow(ctx, stretches, len(o.partitions) == 0, out)
	case o.order == "time":
		return r.ByTime(ctx, stretches, out)
	}
	return r.ByPartition(ctx, stretches, out)
}

// end writes what is left, and says in the command line's words what went
// wrong. Nobody reading any more is no error: they have what they wanted.
func (o *consumeOptions) end(ctx context.Context, c *cobra.Command, out *recordSink, err error) error {
	if errors.Is(err, errEnough) || errors.Is(context.Cause(ctx), errClosed) {
		err = nil
	}
	flushed := out.flush()
	switch {
	case errors.Is(flushed, errClosed) || errors.Is(err, errClosed):
		return nil
	case flushed != nil && err == nil:
		err = flushed
	}
	if o.countOnly && (err == nil || errors.Is(err, context.Canceled)) {
		if _, wrote := fmt.Fprintln(c.OutOrStdout(), out.written); wrote != nil && err == nil {
			err = failed(wrote)
		}
	}
	var told *failure
	var place *fetch.PartitionError
	switch {
	case err == nil || errors.As(err, &told):
		return err
	case errors.Is(err, fetch.ErrSilent):
		return &failure{exitUnreachable, err, []string{"gregor topic list"}}
	case errors.As(err, &place) && errors.Is(err, kerr.CorruptMessage):
		return failed(fmt.Errorf("topic %q: %w\nthe broker's log names the next good offset", place.Topic, err),
			fmt.Sprintf("gregor consume %s -p %d --at NEXT_GOOD_OFFSET", place.Topic, place.Partition), "gregor storage verify DIR")
	case errors.As(err, &place):
		return topicError(place.Topic, err)
	}
	return failed(err)
}

var (
	// errEnough ends the reading after -n records.
	errEnough = errors.New("enough")
	// errClosed says that nobody reads stdout any more.
	errClosed = errors.New("nobody reads the output any more")
)

// recordSink writes the wanted records. What it holds back are whole records,
// and they are written when nothing more is there at once.
type recordSink struct {
	out       io.Writer
	write     func([]byte, *record.Record) []byte
	wanted    func(*record.Record) bool
	left      int64 // of -n, 0 at the start is no limit
	countOnly bool
	written   int64
	buffer    []byte
}

const sinkBytes = 64 << 10

func (s *recordSink) Record(r *record.Record) error {
	if s.wanted != nil && !s.wanted(r) {
		return nil
	}
	s.written++
	if !s.countOnly {
		if s.buffer = s.write(s.buffer, r); len(s.buffer) >= sinkBytes {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	if s.written == s.left {
		return errEnough
	}
	return nil
}

func (s *recordSink) Pause() error { return s.flush() }

func (s *recordSink) flush() error {
	if len(s.buffer) == 0 {
		return nil
	}
	_, err := s.out.Write(s.buffer)
	s.buffer = s.buffer[:0]
	switch {
	case errors.Is(err, syscall.EPIPE):
		return errClosed
	case err != nil:
		return failed(fmt.Errorf("write records: %w", err))
	}
	return nil
}

// outputOptions say how a record is written.
type outputOptions struct {
	format    string
	output    string
	print     []string
	separator string
	null      string
	binary    string
	// layout writes a record where an alias has a layout of its own.
	layout func([]byte, *record.Record) []byte
}

var (
	recordOutputs = []string{"text", "json", "jsonl", "raw", "hex"}
	binaries      = []string{"base64", "hex"}
	printed       = map[string]string{"topic": "%t", "partition": "%p", "offset": "%o", "timestamp": "%d{rfc3339}", "key": "%k", "value": "%v", "headers": "%h"}
	printedHex    = map[string]string{"key": "%k{hex}", "value": "%v{hex}", "headers": "%h{%k=%v{hex} }"}
)

func (o *outputOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "", `how to write a record, as below (default '%v\n')`)
	f.StringVarP(&o.output, "output", "o", "text", "text; json or jsonl: one object a line; raw: values, nothing between them; hex")
	f.StringSliceVar(&o.print, "print", nil, "what text and hex show of a record: topic, partition, offset, timestamp, key, value, headers (default value)")
	f.StringVar(&o.separator, "separator", `\t`, "between what --print shows")
	f.StringVar(&o.null, "null", "", "text for a null key or value in text")
	f.StringVar(&o.binary, "binary", "base64", "how json holds bytes that are no text: base64, hex")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(recordOutputs, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("binary", cobra.FixedCompletions(binaries, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("print", cobra.FixedCompletions(sortedKeys(printed), cobra.ShellCompDirectiveNoFileComp))
}

// writer gives the function that appends a record as the flags say.
func (o *outputOptions) writer() (func([]byte, *record.Record) []byte, error) {
	switch {
	case o.layout != nil:
		return o.layout, nil
	case !slices.Contains(recordOutputs, o.output):
		return nil, usage("-o %s: allowed are %s", o.output, strings.Join(recordOutputs, ", "))
	case !slices.Contains(binaries, o.binary):
		return nil, usage("--binary %s: allowed are %s", o.binary, strings.Join(binaries, ", "))
	case o.format != "" && (o.output != "text" || len(o.print) > 0):
		return nil, usage("-f is a layout of its own; leave -o and --print out")
	case slices.Contains(recordOutputs, o.format):
		return nil, usage("-f %s is a layout without verbs; did you mean -o %s?", o.format, o.format)
	case len(o.print) > 0 && o.output != "text" && o.output != "hex":
		return nil, usage("--print is for -o text and hex; %s has all or values only", o.output)
	}
	switch o.output {
	case "json", "jsonl":
		binary := record.Base64
		if o.binary == "hex" {
			binary = record.Hex
		}
		return func(dst []byte, r *record.Record) []byte { return append(record.AppendJSON(dst, r, binary), '\n') }, nil
	case "raw":
		return func(dst []byte, r *record.Record) []byte { return append(dst, r.Value...) }, nil
	}
	format := o.format
	if format == "" {
		var err error
		if format, err = o.columns(); err != nil {
			return nil, err
		}
	}
	layout, err := record.ParseLayout(format, o.null)
	if err != nil {
		return nil, usage("-f %q: %w", format, err)
	}
	return layout.Append, nil
}

// columns makes a layout of --print.
func (o *outputOptions) columns() (string, error) {
	if _, err := record.Unescape(o.separator); err != nil {
		return "", usage("--separator %s: %w", o.separator, err)
	}
	names := o.print
	if len(names) == 0 {
		names = []string{"value"}
	}
	var verbs []string
	for _, name := range names {
		verb, known := printed[name]
		if !known {
			return "", usage("--print %s: allowed are %s", name, strings.Join(sortedKeys(printed), ", "))
		}
		if inHex, ok := printedHex[name]; ok && o.output == "hex" {
			verb = inHex
		}
		verbs = append(verbs, verb)
	}
	return strings.Join(verbs, strings.ReplaceAll(o.separator, "%", "%%")) + `\n`, nil
}

// matchOptions say which records are wanted.
type matchOptions struct {
	key     string
	filters []string
	grep    string
}

func (o *matchOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.key, "key", "k", "", "only records with this key")
	f.StringArrayVar(&o.filters, "filter", nil, "only records that match, as below; may be repeated")
	f.StringVar(&o.grep, "grep", "", "only records whose key or value matches a regular expression")
}

// matcher gives nil where every record is wanted.
func (o *matchOptions) matcher(now time.Time) (func(*record.Record) bool, error) {
	when := func(text string) (time.Time, error) {
		t, err := parseTime(text, now)
		if err != nil {
			return t, fmt.Errorf("%q is not a time; want 2006-01-02, 2006-01-02T15:04:05Z, -90m, now, or Unix milliseconds", text)
		}
		return t, nil
	}
	var all []*filter.Filter
	if o.key != "" {
		all = append(all, filter.Key(o.key))
	}
	for _, text := range o.filters {
		f, err := filter.Parse(text, when)
		if err != nil {
			return nil, usage("--filter %s: %w", strconv.Quote(text), err)
		}
		all = append(all, f)
	}
	grep, err := filter.Grep(o.grep)
	if err != nil {
		return nil, usage("--grep %s: %w", strconv.Quote(o.grep), err)
	}
	if len(all) == 0 && o.grep == "" {
		return nil, nil
	}
	return func(r *record.Record) bool {
		for _, f := range all {
			if !f.Match(r) {
				return false
			}
		}
		return o.grep == "" || grep(r)
	}, nil
}
