// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
	"gregor/cmd/gregor/disk"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// dumpItem is one line of a dump; what does not concern its kind is left out.
type dumpItem struct {
	Kind     string `json:"kind"` // batch, record, index, timeindex, txnindex
	File     string `json:"file"`
	Position *int64 `json:"position,omitempty"`

	Batch  *batchItem  `json:"batch,omitempty"`
	Record *recordItem `json:"record,omitempty"`
	Entry  any         `json:"entry,omitempty"`
}

type batchItem struct {
	BaseOffset    kafka.Offset `json:"baseOffset"`
	LastOffset    kafka.Offset `json:"lastOffset"`
	Count         int32        `json:"count"`
	LeaderEpoch   int32        `json:"leaderEpoch"`
	SizeBytes     int          `json:"sizeBytes"`
	Codec         string       `json:"codec"`
	MaxTimestamp  int64        `json:"maxTimestamp"`
	TimestampType string       `json:"timestampType"`
	ProducerID    int64        `json:"producerId"`
	ProducerEpoch int16        `json:"producerEpoch"`
	BaseSequence  int32        `json:"baseSequence"`
	Transactional bool         `json:"transactional"`
	Control       bool         `json:"control"`
	CRC           uint32       `json:"crc"`
	CRCValid      bool         `json:"crcValid"`
}

type recordItem struct {
	Offset      kafka.Offset `json:"offset"`
	Timestamp   int64        `json:"timestamp"`
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"keyBase64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"valueBase64,omitempty"`
	Headers     []headerJSON `json:"headers,omitempty"`
	Type        string       `json:"type,omitempty"`    // of a decoded record
	Decoded     any          `json:"decoded,omitempty"` // instead of key and value
}

// dump writes what it finds, line by line.
type dump struct {
	records, index bool
	decode, output string
	w              *bufio.Writer
	reader         disk.Reader
	bad            int // batches whose CRC is wrong
	items          int // written as JSON
}

func newStorageDumpCommand() *cobra.Command {
	var d dump
	c := &cobra.Command{
		Use:   "dump PATH...",
		Short: "Show what is in segments, indexes and checkpoints",
		Long: `Shows the batches of .log and .checkpoint files, and the entries of .index, .timeindex and .txnindex files. A
partition's folder stands for its segments, with --index for their indexes too. Exits with 1 at damaged bytes, after
what came before them.`,
		Args: cobra.MinimumNArgs(1),
		Example: "  gregor storage dump ./data/orders-0\n  gregor storage dump ./data/orders-0/00000000000000000000.log --records -o jsonl\n" +
			"  gregor storage dump ./data/__cluster_metadata-0 --decode metadata",
		RunE: func(c *cobra.Command, paths []string) error {
			switch {
			case d.output != "table" && d.output != "json" && d.output != "jsonl":
				return usage("-o %s: allowed are table, json, jsonl", d.output)
			case d.decode != "" && d.decode != "metadata":
				return usage("--decode %s: allowed is metadata", d.decode)
			}
			d.records = d.records || d.decode != ""
			d.w = bufio.NewWriter(c.OutOrStdout())
			var problems problems
			d.envelope(func() {
				for _, path := range paths {
					if err := d.path(path); err != nil && !isClosedPipe(err) {
						problems.add(failed(err, "gregor storage du DIR"))
					}
				}
			})
			if err := d.w.Flush(); err != nil && !isClosedPipe(err) {
				return err
			}
			if d.bad > 0 {
				problems.add(failed(fmt.Errorf("%d batches do not have the CRC that they name", d.bad), "gregor storage verify DIR"))
			}
			return problems.end(c)
		},
	}
	c.Flags().StringVarP(&d.output, "output", "o", "table", "table, json, jsonl")
	c.Flags().BoolVar(&d.records, "records", false, "show the records too")
	c.Flags().BoolVar(&d.index, "index", false, "show the indexes of a folder too")
	c.Flags().StringVar(&d.decode, "decode", "", "decode records: metadata, for __cluster_metadata")
	return c
}

func isClosedPipe(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || strings.Contains(err.Error(), "broken pipe")
}

func (d *dump) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return d.file(path)
	}
	bases, err := disk.Segments(path)
	if err != nil {
		return err
	}
	if len(bases) == 0 {
		return fmt.Errorf("%s holds no segments: it is not a partition's folder", path)
	}
	suffixes := []string{segment.LogSuffix}
	if d.index {
		suffixes = append(suffixes, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix)
	}
	for _, base := range bases {
		for _, suffix := range suffixes {
			name := filepath.Join(path, segment.Name(base, suffix))
			if err := d.file(name); err != nil && (suffix == segment.LogSuffix || !errors.Is(err, fs.ErrNotExist)) {
				return err
			}
		}
	}
	return nil
}

func (d *dump) file(path string) error {
	if strings.HasSuffix(path, ".checkpoint") {
		return d.walk(path)
	}
	base, suffix, ok := segment.ParseName(filepath.Base(path))
	if !ok {
		return fmt.Errorf("%s: the name of a segment's file begins with its base offset", path)
	}
	switch suffix {
	case segment.LogSuffix:
		return d.walk(path)
	case segment.IndexSuffix:
		list, err := disk.Offsets(path, base)
		return errors.Join(dumpEntries(d, path, "index", list, func(e disk.OffsetEntry) string {
			return fmt.Sprintf("offset %d position %d", e.Offset, e.Position)
		}), err)
	case segment.TimeIndexSuffix:
		list, err := disk.Times(path, base)
		return errors.Join(dumpEntries(d, path, "timeindex", list, func(e disk.TimeEntry) string {
			return fmt.Sprintf("timestamp %s offset %d", timeText(e.Timestamp), e.Offset)
		}), err)
	case segment.TxnIndexSuffix:
		list, err := disk.Aborted(path, base)
		return errors.Join(dumpEntries(d, path, "txnindex", list, func(e index.Aborted) string {
			return fmt.Sprintf("producer %d offsets %d..%d last stable offset %d", e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStable)
		}), err)
	}
	return fmt.Errorf("%s: only .log, .checkpoint, .index, .timeindex and .txnindex files can be shown", path)
}

func (d *dump) walk(path string) error {
	d.head(path)
	return disk.Walk(path, func(b *disk.Batch) error { return d.batch(path, b) })
}

func (d *dump) head(path string) {
	if d.output == "table" {
		fmt.Fprintf(d.w, "%s\n", path)
	}
}

func dumpEntries[T any](d *dump, path, kind string, list []T, text func(T) string) error {
	d.head(path)
	for _, e := range list {
		if d.output != "table" {
			if err := d.json(dumpItem{Kind: kind, File: path, Entry: e}); err != nil {
				return err
			}
		} else if _, err := fmt.Fprintf(d.w, "  %s\n", text(e)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) json(item dumpItem) error {
	line, err := json.Marshal(item)
	if err != nil {
		return err
	}
	if d.output == "json" && d.items > 0 {
		line = append([]byte(",\n"), line...)
	} else if d.output == "jsonl" {
		line = append(line, '\n')
	}
	d.items++
	_, err = d.w.Write(line)
	return err
}

// envelope writes what -o json has around the items, which are written one by
// one: a log may be larger than memory.
func (d *dump) envelope(inside func()) {
	if d.output == "json" {
		fmt.Fprint(d.w, `{"kind":"DumpList","apiVersion":"gregor/v1","items":[`+"\n")
		defer fmt.Fprint(d.w, "\n]}\n")
	}
	inside()
}

func (d *dump) batch(path string, b *disk.Batch) error {
	valid := batch.VerifyCRC(b.Bytes) == nil
	if !valid {
		d.bad++
	}
	item := batchItem{BaseOffset: b.BaseOffset, LastOffset: b.LastOffset(), Count: b.Count, LeaderEpoch: int32(b.LeaderEpoch), SizeBytes: len(b.Bytes),
		Codec: b.Attributes.Codec().String(), MaxTimestamp: b.MaxTimestampMs, TimestampType: "CreateTime", ProducerID: int64(b.ProducerID),
		ProducerEpoch: int16(b.ProducerEpoch), BaseSequence: b.BaseSequence, Transactional: b.Attributes.IsTransactional(),
		Control: b.Attributes.IsControl(), CRC: b.CRC, CRCValid: valid}
	if b.Attributes.TimestampType() == batch.LogAppendTime {
		item.TimestampType = "LogAppendTime"
	}
	var err error
	if d.output != "table" {
		err = d.json(dumpItem{Kind: "batch", File: path, Position: &b.PosBytes, Batch: &item})
	} else {
		err = d.batchLine(b.PosBytes, &item)
	}
	if err != nil || !d.records {
		return err
	}
	err = d.reader.Records(b, func(r *batch.Record) error { return d.record(path, b, r) })
	if err != nil {
		return fmt.Errorf("records of the batch at byte %d of %s: %w", b.PosBytes, path, err)
	}
	return nil
}

func (d *dump) batchLine(posBytes int64, i *batchItem) error {
	text := fmt.Sprintf("  batch %d..%d count %d epoch %d position %d size %d %s %s %s", i.BaseOffset, i.LastOffset, i.Count, i.LeaderEpoch, posBytes,
		i.SizeBytes, i.Codec, i.TimestampType, timeText(i.MaxTimestamp))
	if i.ProducerID >= 0 {
		text += fmt.Sprintf(" producer %d epoch %d sequence %d", i.ProducerID, i.ProducerEpoch, i.BaseSequence)
	}
	if i.Transactional {
		text += " transactional"
	}
	if i.Control {
		text += " control"
	}
	if !i.CRCValid {
		text += " CRC IS WRONG"
	}
	_, err := fmt.Fprintln(d.w, text)
	return err
}

func (d *dump) record(path string, b *disk.Batch, r *batch.Record) error {
	item := recordItem{Offset: r.Offset, Timestamp: r.TimestampMs}
	if d.decode != "" {
		if err := item.decode(b, r); err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
	} else {
		item.Key, item.KeyBase64 = textOrBytes(r.Key)
		item.Value, item.ValueBase64 = textOrBytes(r.Value)
		for h := range r.Headers() {
			header := headerJSON{Key: string(h.Key)}
			header.Value, header.ValueBase64 = textOrBytes(h.Value)
			item.Headers = append(item.Headers, header)
		}
	}
	if d.output != "table" {
		return d.json(dumpItem{Kind: "record", File: path, Record: &item})
	}
	text := fmt.Sprintf("    %d %s", item.Offset, timeText(item.Timestamp))
	if d.decode != "" {
		decoded, err := json.Marshal(item.Decoded)
		if err != nil {
			return err
		}
		text += " " + item.Type + " " + string(decoded)
	} else {
		text += fmt.Sprintf(" key %s value %s", quoted(r.Key), quoted(r.Value))
		for _, h := range item.Headers {
			text += " header " + strconv.Quote(h.Key)
		}
	}
	_, err := fmt.Fprintln(d.w, text)
	return err
}

// decode reads a record of __cluster_metadata.
func (i *recordItem) decode(b *disk.Batch, r *batch.Record) error {
	var decoded any
	var err error
	if b.Attributes.IsControl() {
		decoded, err = metarec.UnmarshalControl(r.Key, r.Value)
	} else {
		decoded, err = metarec.Unmarshal(r.Value)
	}
	if err != nil {
		return err
	}
	i.Type, i.Decoded = strings.TrimPrefix(fmt.Sprintf("%T", decoded), "*metarec."), decoded
	return nil
}

func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Quote(string(b))
}

func timeText(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
