// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/codec"
	"gregor/cmd/gregor/terminal"
)

func producerTool() tool {
	return tool{
		name: "kafka-console-producer",
		example: `  gregor kafka-console-producer --bootstrap-server localhost:9092 --topic orders < orders.txt
  gregor kafka-console-producer --bootstrap-server localhost:9092 --topic orders --reader-property parse.key=true < orders.tsv`,
		about: "Reads lines from standard input and sends them as records.",
		run:   runProducer,
		options: slices.Concat(connecting, []option{
			{name: "topic", arg: "TOPIC", help: "REQUIRED: the topic."},
			{name: "sync", help: "Wait for each record's answer before the next is read."},
			{name: "compression-codec", arg: "CODEC", optional: true, help: "none, gzip, snappy, lz4 or zstd; gzip where none is named."},
			{name: "batch-size", arg: "BYTES", fallback: "16384", help: "The most bytes of a batch."},
			{name: "message-send-max-retries", arg: "N", fallback: "3", help: "How often a record is sent again."},
			{name: "retry-backoff-ms", arg: "N", fallback: "100", help: "How long to wait before that."},
			{name: "timeout", arg: "MS", fallback: "1000", help: "How long a record may wait for others, unless --sync."},
			{name: "request-required-acks", arg: "ACKS", fallback: "-1", help: "0, 1, or -1 and all."},
			{name: "request-timeout-ms", arg: "N", fallback: "1500", help: "How long the broker may take."},
			{name: "metadata-expiry-ms", arg: "N", fallback: "300000", help: "How long metadata counts."},
			{name: "max-block-ms", arg: "N", fallback: "60000", help: "How long to wait for the topic, and for room in memory."},
			{name: "max-memory-bytes", arg: "N", fallback: "33554432", help: "The most bytes of records that wait to be sent."},
			{name: "max-partition-memory-bytes", arg: "N", fallback: "16384", help: "The older name of --batch-size."},
			{name: "socket-buffer-size", arg: "N", fallback: "102400", help: "Kept for old scripts; the system chooses."},
			{name: "line-reader", arg: "CLASS", fallback: "org.apache.kafka.tools.LineMessageReader", help: "LineMessageReader."},
			{name: "reader-property", arg: "KEY=VALUE", help: "parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, " +
				"ignore.error, null.marker. May be repeated."},
			{name: "reader-config", arg: "FILE", help: "The same as a file."},
			{name: "property", arg: "KEY=VALUE", help: "The older name of --reader-property."},
			{name: "command-property", arg: "KEY=VALUE", help: "A property of the client; may be repeated."},
			{name: "producer-property", arg: "KEY=VALUE", help: "The older name of --command-property."},
			{name: "producer.config", arg: "FILE", help: "The older name of --command-config."},
		}),
	}
}

func runProducer(ctx context.Context, o *given, s Streams) error {
	if err := o.required("topic", "bootstrap-server"); err != nil {
		return err
	}
	reader, err := newLineReader(o)
	if err != nil {
		return err
	}
	client, err := o.dialConsole(ctx, "producer", producerOptions)
	if err != nil {
		return err
	}
	defer client.Close()
	return produceLines(ctx, o, client, reader, s)
}

var acks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "-1": kgo.AllISRAcks(), "all": kgo.AllISRAcks()}

// setting is an option, or where that is not given a property of the client,
// or else what the option falls back to.
func (o *given) setting(p properties, option, key string) string {
	if v, ok := p[key]; ok && !o.has(option) {
		return v
	}
	return o.text(option)
}

func producerOptions(o *given, p properties) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.UniformBytesPartitioner(16<<10, false, true, nil))}
	wanted, ok := acks[o.setting(p, "request-required-acks", "acks")]
	if !ok {
		return nil, refuse("acks %s: allowed are 0, 1, -1 and all", o.setting(p, "request-required-acks", "acks"))
	}
	opts = append(opts, kgo.RequiredAcks(wanted))
	if wanted != kgo.AllISRAcks() || p["enable.idempotence"] == "false" {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	name := o.setting(p, "compression-codec", "compression.type")
	if o.has("compression-codec") && name == "" {
		name = "gzip"
	}
	if name == "" {
		name = "none"
	}
	chosen, ok := codec.Of(name)
	if !ok {
		return nil, refuse("compression codec %s: allowed are none, gzip, snappy, lz4 and zstd", name)
	}
	opts = append(opts, kgo.ProducerBatchCompression(chosen))
	batchOption := "batch-size"
	if o.has("max-partition-memory-bytes") && !o.has("batch-size") {
		batchOption = "max-partition-memory-bytes"
	}
	var n [6]int64
	var err error
	for i, option := range []string{batchOption, "message-send-max-retries", "timeout", "request-timeout-ms", "metadata-expiry-ms", "max-memory-bytes"} {
		if n[i], err = o.number(option, 0, 0); err != nil {
			return nil, err
		}
	}
	linger := time.Duration(n[2]) * time.Millisecond
	if o.has("sync") {
		linger = 0
	}
	// A record that is larger than a batch goes alone, as Kafka's producer has it.
	const recordBytesMax = 1 << 20
	return append(opts, kgo.ProducerBatchMaxBytes(int32(max(n[0], recordBytesMax))), kgo.RecordRetries(int(n[1])), kgo.ProducerLinger(linger),
		kgo.ProduceRequestTimeout(max(time.Duration(n[3])*time.Millisecond, 100*time.Millisecond)),
		kgo.MetadataMaxAge(max(time.Duration(n[4])*time.Millisecond, time.Second)), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MaxBufferedBytes(int(max(n[5], recordBytesMax)))), nil
}

// abandonAfter is how long records under way may take once the tool is to end.
const abandonAfter = 3 * time.Second

// produceLines sends every line. What could not be sent is told, and the tool
// then fails: Kafka's exits with 0 after it. At a signal, what was read is sent
// before the tool ends.
func produceLines(ctx context.Context, o *given, client *kgo.Client, reader *lineReader, s Streams) error {
	var mu sync.Mutex
	failed := false
	tell := func(r *kgo.Record, err error) {
		if err == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		failed = true
		fmt.Fprintf(s.Err, "Error when sending message to topic %s with %d bytes of key and %d of value: %v\n", r.Topic, len(r.Key), len(r.Value), err)
	}
	sending, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(abandonAfter, abandon) })()
	err := reader.each(ctx, s, func(r *kgo.Record) error {
		r.Topic = o.text("topic")
		if o.has("sync") {
			return client.ProduceSync(sending, r).FirstErr()
		}
		client.Produce(sending, r, tell)
		return nil
	})
	if err := errors.Join(err, client.Flush(sending)); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if failed {
		return errTold
	}
	return nil
}

// each calls send for every line's record, until the lines end or a signal
// comes.
func (l *lineReader) each(ctx context.Context, s Streams, send func(*kgo.Record) error) error {
	prompt := terminal.Is(s.In)
	in := bufio.NewReaderSize(terminal.Until(ctx, s.In), 64<<10)
	for ctx.Err() == nil {
		if prompt {
			fmt.Fprint(s.Out, ">")
		}
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, context.Canceled), len(line) == 0 && errors.Is(err, io.EOF):
			return nil
		case len(line) == 0 && err != nil:
			return err
		}
		r, err := l.record(bytes.TrimRight(bytes.TrimSuffix(line, []byte("\n")), "\r"))
		if err == nil {
			err = send(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lineReader makes records of lines, as Kafka's LineMessageReader does.
type lineReader struct {
	parseKey, parseHeaders, ignoreErrors bool
	keySeparator                         string
	headersDelimiter, headersSeparator   string
	headersKeySeparator                  string
	null                                 *string
	line                                 int
}

func newLineReader(o *given) (*lineReader, error) {
	if class := className(o.text("line-reader")); class != "LineMessageReader" {
		return nil, refuse("--line-reader %s: LineMessageReader is built in", class)
	}
	p := properties{}
	if o.has("reader-config") {
		var err error
		if p, err = readProperties(o.text("reader-config")); err != nil {
			return nil, err
		}
	}
	for _, option := range []string{"property", "reader-property"} {
		if err := p.assignments("--"+option, o.list(option)); err != nil {
			return nil, err
		}
	}
	text := func(key, fallback string) string {
		if v, ok := p[key]; ok {
			return v
		}
		return fallback
	}
	on := func(key string) bool { return strings.EqualFold(strings.TrimSpace(p[key]), "true") }
	l := &lineReader{parseKey: on("parse.key"), parseHeaders: on("parse.headers"), ignoreErrors: on("ignore.error"),
		keySeparator: text("key.separator", "\t"), headersDelimiter: text("headers.delimiter", "\t"),
		headersSeparator: text("headers.separator", ","), headersKeySeparator: text("headers.key.separator", ":")}
	if marker, ok := p["null.marker"]; ok {
		l.null = &marker
	}
	switch {
	case l.parseKey && l.parseHeaders && l.headersDelimiter == l.keySeparator && p["headers.delimiter"] != "" && p["key.separator"] != "":
		return nil, refuse("headers.delimiter and key.separator may not be equal")
	case l.headersDelimiter == l.headersSeparator:
		return nil, refuse("headers.delimiter and headers.separator may not be equal")
	case l.headersSeparator == l.headersKeySeparator:
		return nil, refuse("headers.separator and headers.key.separator may not be equal")
	}
	return l, nil
}

func (l *lineReader) record(line []byte) (*kgo.Record, error) {
	l.line++
	rest := string(line)
	r := &kgo.Record{}
	if l.parseHeaders {
		head, after, ok := l.cut(rest, l.headersDelimiter)
		if !ok {
			return nil, l.missing("headers delimiter", line)
		}
		rest = after
		if err := l.headers(r, head); err != nil {
			return nil, err
		}
	}
	if l.parseKey {
		key, after, ok := l.cut(rest, l.keySeparator)
		if !ok {
			return nil, l.missing("key separator", line)
		}
		if rest = after; key != nil {
			r.Key = l.bytes(*key)
		}
	}
	r.Value = l.bytes(rest)
	return r, nil
}

// cut splits at a separator. Where ignore.error forgives that there is none,
// the part in front is missing.
func (l *lineReader) cut(text, separator string) (front *string, rest string, ok bool) {
	head, after, found := strings.Cut(text, separator)
	switch {
	case found:
		return &head, after, true
	case l.null != nil && text == *l.null:
		return nil, text, true
	}
	return nil, text, l.ignoreErrors
}

func (l *lineReader) headers(r *kgo.Record, head *string) error {
	if head == nil || l.null != nil && *head == *l.null || *head == "" {
		return nil
	}
	for _, part := range strings.Split(*head, l.headersSeparator) {
		key, value, ok := strings.Cut(part, l.headersKeySeparator)
		if !ok && !l.ignoreErrors {
			return fmt.Errorf("No header key separator found in pair '%s' on line number %d", part, l.line)
		}
		if !ok {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: part})
			continue
		}
		if l.null != nil && key == *l.null {
			return fmt.Errorf("Header keys should not be equal to the null marker '%s' as they can't be null", *l.null)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: l.bytes(value)})
	}
	return nil
}

func (l *lineReader) missing(what string, line []byte) error {
	return fmt.Errorf("No %s found on line number %d: '%s'", what, l.line, line)
}

func (l *lineReader) bytes(text string) []byte {
	if l.null != nil && text == *l.null {
		return nil
	}
	return []byte(text)
}
