// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/generate"
	"gregor/cmd/gregor/pace"
	"gregor/cmd/gregor/record"
)

// produceOptions are the flags of produce, and what an alias of it sets.
type produceOptions struct {
	connection
	inputOptions
	sendOptions
	dry   bool
	quiet bool
}

func newProduceCommand() *cobra.Command {
	o := &produceOptions{}
	c := &cobra.Command{
		Use:   "produce [TOPIC]",
		Short: "Write records to a topic, one a line of stdin",
		Long: `Each line of stdin, or of --file, becomes a record, without its line end. Without a TOPIC the records name it themselves.

-f lines, the default: with --key-separator a line is key, separator, value; with --headers-separator
   name:value,name:value and that separator stand before it.
-f json: one object a line, as gregor consume -o json writes them: key, value, headers, partition, timestamp, topic.
   "value":null is a tombstone; bytes go into "valueBase64" or "valueHex", and "keyBase64" or "keyHex"; a value may be any
   other JSON. Partitions are kept unless --repartition is given.
-f LAYOUT: '%k\t%v\n' takes a key and a value from each line, '%V{4}%v' values with their length before them in 4
   digits; more in the documentation of franz-go's RecordReader.

--template makes records instead of reading them, -n of them or for ever with --rate; -k and -H are templates then, too:
` + generate.Help,
		Args: cobra.MaximumNArgs(1),
		Example: `  echo '{"id":1}' | gregor produce orders -k customer-7
  gregor produce orders -f '%k\t%v\n' -z zstd < orders.tsv
  gregor produce orders --key-separator : --null NULL --file orders.txt
  gregor produce orders -k customer-7 --tombstone
  gregor produce orders -k 'customer-{{int 1 100}}' --template '{"id":{{n}},"amount":{{int 1 500}}}' -n 100 --rate 200/s
  gregor produce orders -f json --rate 500/s < orders.json`,
		RunE: func(c *cobra.Command, args []string) error {
			topic := ""
			if len(args) > 0 {
				topic = args[0]
			}
			return o.run(c, topic)
		},
	}
	o.connection.flags(c)
	o.inputOptions.flags(c)
	o.sendOptions.flags(c)
	c.Flags().BoolVar(&o.dry, "dry-run", false, "only write the records as JSON to stdout, and ask no broker")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "do not say how much was written")
	return c
}

// run sends what the input gives; everything that the flags can have wrong is
// told before a broker is asked.
func (o *produceOptions) run(c *cobra.Command, topic string) error {
	rate, err := o.parseRate()
	if err != nil {
		return err
	}
	in, err := o.source(c.InOrStdin(), topic, time.Now)
	if err != nil {
		return err
	}
	defer in.close()
	opts, err := o.clientOptions()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible(c)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second signal ends the command at once
	s := sender{in: in, plan: pace.NewPlan(rate, time.Now()), limit: o.count, paced: rate > 0}
	if o.dry {
		return s.print(ctx, c.OutOrStdout())
	}
	client, err := o.dial(ctx, c, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	s.client = client
	if topic != "" {
		awaitTopic(ctx, client, topic)
	}
	began := time.Now()
	err = s.run(ctx)
	if !o.quiet && (s.done.written > 0 || err == nil) {
		fmt.Fprintln(c.ErrOrStderr(), s.summary(topic, time.Since(began)))
	}
	return s.failure(topic, err)
}

func (o *produceOptions) parseRate() (pace.Rate, error) {
	if o.rate == "" {
		return 0, nil
	}
	rate, err := pace.Parse(o.rate)
	if err != nil {
		return 0, usage("--rate %w", err)
	}
	return rate, nil
}

// summary is what a person wants to know at the end; speed only where it took
// long enough to mean something.
func (s *sender) summary(topic string, took time.Duration) string {
	if topic == "" {
		topic = strconv.Itoa(len(s.done.topics)) + " topics"
	}
	text := fmt.Sprintf("produced %d records to %s", s.done.written, topic)
	if seconds := took.Seconds(); seconds >= 1 {
		text += fmt.Sprintf(" in %.1f s, %.0f records/s, %s/s", seconds, float64(s.done.written)/seconds, size(int64(float64(s.done.bytes)/seconds)))
	}
	return text
}

// failure names the record, and what to do.
func (s *sender) failure(topic string, err error) error {
	var delivery *deliveryError
	var told *failure
	switch {
	case err == nil || errors.As(err, &told):
		return err
	case !errors.As(err, &delivery):
		return failed(err)
	}
	if topic == "" {
		topic = delivery.topic
	}
	return delivery.explain(topic)
}

// print writes the records instead of sending them.
func (s *sender) print(ctx context.Context, to io.Writer) error {
	out := bufio.NewWriterSize(to, sinkBytes)
	var line []byte
	err := s.each(ctx, func(_ int64, r *kgo.Record) {
		shown := shownRecord(r)
		if r.Timestamp.IsZero() {
			shown.TimestampMs = time.Now().UnixMilli()
		}
		line = append(record.AppendJSON(line[:0], &shown, record.Base64), '\n')
		_, _ = out.Write(line) // Flush tells
		if s.paced {
			_ = out.Flush()
		}
	})
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = flushed
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// shownRecord is a record before it has a place.
func shownRecord(r *kgo.Record) record.Record {
	shown := record.Record{Topic: r.Topic, Partition: r.Partition, Offset: -1, TimestampMs: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		shown.Headers = append(shown.Headers, record.Header{Key: []byte(h.Key), Value: h.Value})
	}
	return shown
}
