// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/generate"
	"gregor/cmd/gregor/lines"
	"gregor/cmd/gregor/record"
	"gregor/cmd/gregor/terminal"
)

// inputOptions say where records come from and what they hold.
type inputOptions struct {
	format           string
	files            []string
	keySeparator     string
	headersSeparator string
	null             string
	hasNull          bool
	key              string
	hasKey           bool
	headers          []string
	timestamp        string
	tombstone        bool
	template         string
	seed             uint64
	count            int64
	rate             string
	repartition      bool
	partition        int32
	// lines is how an alias cuts lines, instead of the separators above.
	lines *lines.Options
}

func (o *inputOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "lines", "lines, json, or a layout")
	f.StringArrayVar(&o.files, "file", nil, "read this file instead of stdin; may be repeated")
	f.StringVar(&o.keySeparator, "key-separator", "", "a line is a key, this, and a value")
	f.StringVar(&o.headersSeparator, "headers-separator", "", "a line begins with name:value,... and this")
	f.Var(optionalText{&o.null, &o.hasNull}, "null", "text of a key or value in a line that means null; '' is the empty one")
	f.VarP(optionalText{&o.key, &o.hasKey}, "key", "k", "key of records that bring none")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header of every record, key:value; may be repeated")
	f.StringVar(&o.timestamp, "timestamp", "", "time of every record: 2006-01-02T15:04:05Z, -90m, or Unix milliseconds (default now)")
	f.BoolVar(&o.tombstone, "tombstone", false, "write one record with the key and no value, and read no stdin")
	f.StringVar(&o.template, "template", "", "make values of this text, and read no stdin")
	f.Uint64Var(&o.seed, "seed", 0, "of the random data of templates (default another one each time)")
	f.Int64VarP(&o.count, "num", "n", 0, "end after this many records")
	f.StringVar(&o.rate, "rate", "", "steady pace: 100/s, 2.5k/s, 30/m")
	f.BoolVar(&o.repartition, "repartition", false, "leave the partitions in -f json out; choose anew")
	f.Int32VarP(&o.partition, "partition", "p", -1, "partition of every record (-1: by key, or spread)")
	formats := cobra.FixedCompletions([]string{"lines", "json"}, cobra.ShellCompDirectiveNoFileComp)
	_ = c.RegisterFlagCompletionFunc("format", formats)
}

// optionalText is a flag that tells an empty text from none.
type optionalText struct {
	text  *string
	given *bool
}

func (t optionalText) Set(text string) error {
	*t.text, *t.given = text, true
	return nil
}

func (t optionalText) String() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

func (t optionalText) Type() string { return "string" }

// input gives records; io.EOF ends it, and the context a wait for more. where
// names the place of the last one for errors.
type input struct {
	next  func(context.Context, *kgo.Record) error
	where func() string
	close func()
	made  bool // rather than read
}

// source checks the flags and opens what they name.
func (o *inputOptions) source(stdin io.Reader, topic string, now func() time.Time) (*input, error) {
	isJSON := o.format == "json" || o.format == "jsonl"
	switch {
	case o.count < 0:
		return nil, usage("-n takes a number from 1 on")
	case o.partition < -1:
		return nil, usage("-p %d: want a partition, or -1 for any", o.partition)
	case o.tombstone && !o.hasKey:
		return nil, usage("--tombstone needs the key that it deletes; add -k")
	case o.tombstone && o.template != "":
		return nil, usage("--tombstone has no value, and --template makes one; leave one out")
	case o.template != "" && o.count == 0 && o.rate == "":
		return nil, usage("--template goes on for ever; add -n or --rate")
	case (o.template != "" || o.tombstone) && (len(o.files) > 0 || o.format != "lines"):
		return nil, usage("--template and --tombstone read nothing; leave -f and --file out")
	case topic == "" && !isJSON && !strings.Contains(o.format, "%t"):
		return nil, usage("which topic? name it, or use -f json with records that do")
	case (o.keySeparator != "" || o.headersSeparator != "" || o.hasNull) && o.format != "lines":
		return nil, usage("--key-separator, --headers-separator and --null are for -f lines")
	case !isJSON && o.format != "lines" && !strings.Contains(o.format, "%"):
		return nil, usage("-f %s: allowed are lines, json, or a layout with verbs", o.format)
	}
	shared, err := o.shared(topic, now())
	if err != nil {
		return nil, err
	}
	if o.template != "" {
		return o.generated(shared, now)
	}
	if o.tombstone {
		return once(shared), nil
	}
	decode, err := o.decoder(isJSON)
	if err != nil {
		return nil, err
	}
	return o.read(stdin, shared, decode)
}

// shared is what all records have in common. Partition -1 leaves the choice to
// the partitioner.
func (o *inputOptions) shared(topic string, now time.Time) (kgo.Record, error) {
	r := kgo.Record{Topic: topic, Partition: o.partition}
	if o.hasKey {
		r.Key = []byte(o.key)
	}
	if o.timestamp != "" {
		var err error
		if r.Timestamp, err = parseTime(o.timestamp, now); err != nil {
			return r, usage("--timestamp %s: want 2006-01-02, 2006-01-02T15:04:05Z, -90m, now, or Unix milliseconds", o.timestamp)
		}
	}
	for _, h := range o.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, usage("-H %s: a header is key:value", h)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return r, nil
}

func once(shared kgo.Record) *input {
	written := false
	return &input{where: func() string { return "" }, close: func() {}, next: func(_ context.Context, r *kgo.Record) error {
		if written {
			return io.EOF
		}
		written, *r = true, shared
		return nil
	}}
}

// decoder opens one stream of records.
type decoder func(in io.Reader) (next func(*kgo.Record) error, line func() int64, err error)

func (o *inputOptions) decoder(isJSON bool) (decoder, error) {
	switch {
	case isJSON:
		return o.decodeJSON, nil
	case o.format == "lines":
		cut, err := o.cut()
		return func(in io.Reader) (func(*kgo.Record) error, func() int64, error) {
			l := lines.NewReader(in, cut)
			var one record.Record
			return func(r *kgo.Record) error {
				if err := l.Next(&one); err != nil {
					return err
				}
				o.merge(r, &one, cut.KeySeparator != "")
				return nil
			}, l.Line, nil
		}, err
	}
	if _, err := kgo.NewRecordReader(strings.NewReader(""), o.format); err != nil {
		return nil, usage("-f %q: %w", o.format, err)
	}
	return o.decodeLayout, nil
}

// cut says what a line holds.
func (o *inputOptions) cut() (lines.Options, error) {
	if o.lines != nil {
		return *o.lines, nil
	}
	cut := lines.Options{Null: o.null, HasNull: o.hasNull}
	var errKey, errHeaders error
	cut.KeySeparator, errKey = record.Unescape(o.keySeparator)
	cut.HeadersSeparator, errHeaders = record.Unescape(o.headersSeparator)
	if err := errors.Join(errKey, errHeaders); err != nil {
		return cut, usage("separator: %w", err)
	}
	return cut, nil
}

// merge puts what was read over what all records share. -k counts for records
// that bring no key.
func (o *inputOptions) merge(to *kgo.Record, read *record.Record, keyed bool) {
	if keyed {
		to.Key = read.Key
	}
	to.Value = read.Value
	if len(read.Headers) > 0 {
		to.Headers = to.Headers[:len(to.Headers):len(to.Headers)]
		for _, h := range read.Headers {
			to.Headers = append(to.Headers, kgo.RecordHeader{Key: string(h.Key), Value: h.Value})
		}
	}
}

func (o *inputOptions) decodeJSON(in io.Reader) (func(*kgo.Record) error, func() int64, error) {
	l := lines.NewReader(in, lines.Options{})
	return func(r *kgo.Record) error {
		var line []byte
		for len(line) == 0 {
			var err error
			if line, err = l.Raw(); err != nil {
				return err
			}
		}
		var one record.Record
		said, err := record.ParseJSON(line, &one)
		if err != nil {
			return err
		}
		o.merge(r, &one, one.Key != nil || !o.hasKey)
		if r.Topic == "" {
			if r.Topic = one.Topic; r.Topic == "" {
				return errors.New(`there is no "topic", and the command names none`)
			}
		}
		if said.Partition && o.partition < 0 && !o.repartition {
			r.Partition = one.Partition
		}
		if said.Timestamp && o.timestamp == "" {
			r.Timestamp = time.UnixMilli(one.TimestampMs)
		}
		return nil
	}, l.Line, nil
}

func (o *inputOptions) decodeLayout(in io.Reader) (func(*kgo.Record) error, func() int64, error) {
	reader, err := kgo.NewRecordReader(in, o.format)
	if err != nil {
		return nil, nil, err
	}
	return func(r *kgo.Record) error {
		var one kgo.Record
		if err := reader.ReadRecordInto(&one); err != nil {
			return err
		}
		if one.Key != nil || !o.hasKey {
			r.Key = one.Key
		}
		if r.Topic == "" {
			r.Topic = one.Topic
		}
		r.Value, r.Headers = one.Value, append(r.Headers[:len(r.Headers):len(r.Headers)], one.Headers...)
		if !one.Timestamp.IsZero() && o.timestamp == "" {
			r.Timestamp = one.Timestamp
		}
		if strings.Contains(o.format, "%p") && o.partition < 0 && !o.repartition {
			r.Partition = one.Partition
		}
		return nil
	}, func() int64 { return 0 }, nil
}

// read goes through the files, or stdin.
func (o *inputOptions) read(stdin io.Reader, shared kgo.Record, decode decoder) (*input, error) {
	names := o.files
	if len(names) == 0 {
		names = []string{"-"}
	}
	var file *os.File
	var next func(*kgo.Record) error
	var line func() int64
	at := -1
	open := func(ctx context.Context) error {
		in := stdin
		if names[at] != "-" {
			var err error
			if file, err = os.Open(names[at]); err != nil {
				return failed(err)
			}
			in = file
		}
		var err error
		next, line, err = decode(terminal.Until(ctx, in))
		return err
	}
	// All names are tried before the first record is sent.
	for _, name := range names {
		if _, err := os.Stat(name); name != "-" && err != nil {
			return nil, failed(fmt.Errorf("--file: %w", err))
		}
	}
	in := &input{close: func() {
		if file != nil {
			file.Close()
		}
	}}
	in.where = func() string {
		switch {
		case at < 0 || names[at] == "-" && (line == nil || line() == 0):
			return ""
		case names[at] == "-":
			return fmt.Sprintf("line %d", line())
		case line == nil || line() == 0:
			return names[at]
		}
		return fmt.Sprintf("%s, line %d", names[at], line())
	}
	in.next = func(ctx context.Context, r *kgo.Record) error {
		for {
			if next != nil {
				*r = shared
				if err := next(r); err != io.EOF {
					return err
				}
				in.close()
				file, next = nil, nil
			}
			if at++; at == len(names) {
				at--
				return io.EOF
			}
			if err := open(ctx); err != nil {
				return err
			}
		}
	}
	return in, nil
}

// generated makes records of templates.
func (o *inputOptions) generated(shared kgo.Record, now func() time.Time) (*input, error) {
	parse := func(flag, text string) (*generate.Template, error) {
		t, err := generate.Parse(text)
		if err != nil {
			return nil, usage("%s %w", flag, err)
		}
		return t, nil
	}
	value, err := parse("--template", o.template)
	if err != nil {
		return nil, err
	}
	key, err := parse("-k", o.key)
	if err != nil {
		return nil, err
	}
	headers := make([]*generate.Template, len(shared.Headers))
	for i, h := range shared.Headers {
		if headers[i], err = parse("-H", string(h.Value)); err != nil {
			return nil, err
		}
	}
	state := generate.State{N: -1, Seed: o.seed}
	if o.seed == 0 {
		state.Seed = uint64(now().UnixNano())
	}
	return &input{made: true, where: func() string { return "" }, close: func() {}, next: func(_ context.Context, r *kgo.Record) error {
		*r = shared
		state.N++
		state.Now = now()
		if o.hasKey {
			r.Key = key.Append([]byte{}, &state)
		}
		if len(headers) > 0 {
			r.Headers = make([]kgo.RecordHeader, len(headers))
			for i, h := range headers {
				r.Headers[i] = kgo.RecordHeader{Key: shared.Headers[i].Key, Value: h.Append([]byte{}, &state)}
			}
		}
		r.Value = value.Append([]byte{}, &state)
		return nil
	}}, nil
}
