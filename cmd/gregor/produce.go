// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceOptions are the flags of produce.
type produceOptions struct {
	connection
	format    string
	key       string
	headers   []string
	codec     string
	partition int32
	acks      string
	tombstone bool
}

func newProduceCommand() *cobra.Command {
	o := &produceOptions{}
	c := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write stdin to a topic, one record a line",
		Long: `Each line of stdin becomes a record, without its line end. -f reads other layouts: '%k\t%v\n' takes a key and a
value from each line, '%V{4}%v' values with their length before them in 4 digits; more in the documentation of franz-go's RecordReader.`,
		Args: cobra.ExactArgs(1),
		Example: `  echo '{"id":1}' | gregor produce orders -k customer-7
  gregor produce orders -f '%k\t%v\n' -z zstd < orders.tsv
  gregor produce orders -k customer-7 --tombstone`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	o.flags(c)
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "", "layout of stdin (default one value a line)")
	f.StringVarP(&o.key, "key", "k", "", "key of every record")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header of every record, key:value; may be repeated")
	f.StringVarP(&o.codec, "compression", "z", "none", strings.Join(codecNames, ", "))
	f.Int32VarP(&o.partition, "partition", "p", -1, "partition of every record (-1: by key, or spread)")
	f.StringVar(&o.acks, "acks", "all", "who must have a record before it counts: all, leader, none")
	f.BoolVar(&o.tombstone, "tombstone", false, "write one record with the key and no value, and read no stdin")
	_ = c.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(codecNames, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// deliveryTimeout is Kafka's delivery.timeout.ms.
const deliveryTimeout = 2 * time.Minute

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func codecOf(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, usage("-z %s: allowed are %s", name, strings.Join(codecNames, ", "))
}

// clientOptions turns the flags into options of the client.
func (o *produceOptions) clientOptions() ([]kgo.Opt, error) {
	codec, err := codecOf(o.codec)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(4),
		kgo.RecordDeliveryTimeout(deliveryTimeout)}
	switch o.acks {
	case "all":
	case "leader":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usage("--acks %s: allowed are all, leader, none", o.acks)
	}
	if o.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

func (o *produceOptions) run(c *cobra.Command, topic string) error {
	template, err := o.template(c, topic)
	if err != nil {
		return err
	}
	next, err := o.source(c.InOrStdin(), c.Flags().Changed("key"))
	if err != nil {
		return err
	}
	opts, err := o.clientOptions()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible(c)
	defer cancel()
	client, err := o.dial(ctx, c, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	written, err := send(ctx, client, template, next)
	if written > 0 || err == nil {
		fmt.Fprintf(c.ErrOrStderr(), "produced %d records to %s\n", written, topic)
	}
	if err != nil {
		return topicError(topic, err)
	}
	return nil
}

// template is what all records share.
func (o *produceOptions) template(c *cobra.Command, topic string) (kgo.Record, error) {
	r := kgo.Record{Topic: topic, Partition: max(0, o.partition)}
	if c.Flags().Changed("key") {
		r.Key = []byte(o.key)
	}
	for _, h := range o.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, usage("-H %s: a header is key:value", h)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	if o.tombstone && r.Key == nil {
		return r, usage("--tombstone needs the key that it deletes; add -k")
	}
	return r, nil
}

// source gives the function that reads the next record; io.EOF ends it.
func (o *produceOptions) source(in io.Reader, keyed bool) (func(*kgo.Record) error, error) {
	switch {
	case o.tombstone:
		written := false
		return func(*kgo.Record) error {
			if written {
				return io.EOF
			}
			written = true
			return nil
		}, nil
	case o.format != "":
		reader, err := kgo.NewRecordReader(in, o.format)
		if err != nil {
			return nil, usage("-f %q: %w", o.format, err)
		}
		return func(r *kgo.Record) error {
			read := kgo.Record{}
			if err := reader.ReadRecordInto(&read); err != nil {
				return err
			}
			if !keyed {
				r.Key = read.Key
			}
			r.Value, r.Headers = read.Value, append(r.Headers[:len(r.Headers):len(r.Headers)], read.Headers...)
			if !read.Timestamp.IsZero() {
				r.Timestamp = read.Timestamp
			}
			return nil
		}, nil
	}
	lines := bufio.NewReaderSize(in, 64<<10)
	return func(r *kgo.Record) error {
		line, err := lines.ReadBytes('\n')
		if err != nil && len(line) == 0 {
			return err
		}
		r.Value = bytes.TrimSuffix(line, []byte("\n"))
		return nil
	}, nil
}

// send writes records until next ends and waits for all of them. It stops at
// the first one that is not written, and tells how many were.
func send(ctx context.Context, client *kgo.Client, template kgo.Record, next func(*kgo.Record) error) (int64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var result struct {
		sync.Mutex
		written int64
		first   error
	}
	for ctx.Err() == nil {
		r := template
		err := next(&r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			stop(fmt.Errorf("read the input: %w", err))
			break
		}
		client.Produce(ctx, &r, func(_ *kgo.Record, err error) {
			result.Lock()
			defer result.Unlock()
			switch {
			case err == nil:
				result.written++
			case result.first == nil:
				result.first = err
				stop(err)
			}
		})
	}
	flushed := client.Flush(context.WithoutCancel(ctx))
	result.Lock()
	defer result.Unlock()
	switch {
	case result.first != nil:
		return result.written, result.first
	case ctx.Err() != nil:
		return result.written, context.Cause(ctx)
	}
	return result.written, flushed
}
