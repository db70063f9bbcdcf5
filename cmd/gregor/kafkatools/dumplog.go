// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gregor/base/kafka"
	"gregor/cmd/gregor/disk"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

func dumpLogTool() tool {
	return tool{
		name: "kafka-dump-log",
		example: `  gregor kafka-dump-log --files ./data/orders-0/00000000000000000000.log --print-data-log
  gregor kafka-dump-log --files ./data/__cluster_metadata-0/00000000000000000000.log --cluster-metadata-decoder`,
		about: "Shows what is in segments, indexes, snapshots and checkpoints.",
		run:   runDumpLog,
		options: []option{
			{name: "files", arg: "FILE,...", help: "REQUIRED: the files."},
			{name: "print-data-log", help: "Show keys and values too."},
			{name: "deep-iteration", help: "Show each record of a batch."},
			{name: "cluster-metadata-decoder", help: "Records are those of __cluster_metadata."},
			{name: "offsets-decoder", help: "Records are those of __consumer_offsets. (Not built.)"},
			{name: "transaction-log-decoder", help: "Records are those of __transaction_state. (Not built.)"},
			{name: "share-group-state-decoder", help: "Records are those of __share_group_state. (Not built.)"},
			{name: "remote-log-metadata-decoder", help: "Records are those of __remote_log_metadata. (Not built.)"},
			{name: "index-sanity-check", help: "Only say whether an index may be believed."},
			{name: "verify-index-only", help: "Check indexes without a word of what is in them."},
			{name: "skip-record-metadata", help: "Leave out offsets, times and sizes of records, and control records."},
			{name: "max-bytes", arg: "N", fallback: "2147483647", help: "End a file after batches of this many bytes."},
			{name: "max-message-size", arg: "N", fallback: "5242880", help: "Kept for old scripts; batches may have any size."},
			{name: "key-decoder-class", arg: "CLASS", optional: true, help: "Only Kafka's StringDecoder."},
			{name: "value-decoder-class", arg: "CLASS", optional: true, help: "Only Kafka's StringDecoder."},
		},
	}
}

// logDump is one run of kafka-dump-log.
type logDump struct {
	*given
	w            *bufio.Writer
	reader       disk.Reader
	deep, values bool
	metadata     bool
	bare         bool // no record metadata
	bytesMax     int64
}

var (
	errEnoughBytes = errors.New("enough bytes")
	notBuilt       = []string{"offsets-decoder", "transaction-log-decoder", "share-group-state-decoder", "remote-log-metadata-decoder"}
)

func runDumpLog(_ context.Context, o *given, s Streams) error {
	if !o.has("files") {
		return misuse("%s", o.tool.about)
	}
	for _, decoder := range notBuilt {
		if o.has(decoder) {
			return refuse("--%s is not built in this release", decoder)
		}
	}
	for _, option := range []string{"key-decoder-class", "value-decoder-class"} {
		if class := o.text(option); class != "" && !strings.HasSuffix(class, ".StringDecoder") {
			return refuse("--%s %s: only StringDecoder is built in", option, class)
		}
	}
	bytesMax, err := o.number("max-bytes", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	d := &logDump{given: o, w: bufio.NewWriterSize(s.Out, 64<<10), metadata: o.has("cluster-metadata-decoder"), bare: o.has("skip-record-metadata"), bytesMax: bytesMax}
	d.values = o.has("print-data-log") || d.metadata || o.has("key-decoder-class") || o.has("value-decoder-class")
	d.deep = o.has("deep-iteration") || d.values
	for _, path := range strings.Split(o.text("files"), ",") {
		fmt.Fprintf(d.w, "Dumping %s\n", path)
		if err := d.file(path, s.Err); err != nil {
			return errors.Join(d.w.Flush(), err)
		}
	}
	return d.w.Flush()
}

func (d *logDump) file(path string, talk io.Writer) error {
	name := filepath.Base(path)
	if strings.HasSuffix(name, ".checkpoint") {
		var end, epoch int64
		if _, err := fmt.Sscanf(name, "%d-%d.checkpoint", &end, &epoch); err != nil {
			return fmt.Errorf("%s is not named as a snapshot: %w", path, err)
		}
		fmt.Fprintf(d.w, "Snapshot end offset: %d, epoch: %d\n", end, epoch)
		return d.log(path)
	}
	suffix := filepath.Ext(name)
	base, _, named := segment.ParseName(name)
	switch suffix {
	case segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix, segment.SnapshotSuffix:
		if !named {
			return fmt.Errorf("%s: the name of a segment's file begins with its base offset", path)
		}
	}
	switch suffix {
	case segment.LogSuffix:
		fmt.Fprintf(d.w, "Log starting offset: %d\n", base)
		return d.log(path)
	case segment.IndexSuffix:
		return d.offsetIndex(path, base)
	case segment.TimeIndexSuffix:
		return d.timeIndex(path, base)
	case segment.TxnIndexSuffix:
		list, err := disk.Aborted(path, base)
		for _, a := range list {
			fmt.Fprintf(d.w, "version: 0 producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStable)
		}
		return err
	case segment.SnapshotSuffix:
		return d.snapshot(path)
	}
	if err := d.w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(talk, "Ignoring unknown file %s\n", path)
	return err
}

func (d *logDump) offsetIndex(path string, base kafka.Offset) error {
	list, err := disk.Offsets(path, base)
	if err != nil {
		return err
	}
	switch {
	case len(list) == 0:
		fmt.Fprintf(d.w, "%s is empty.\n", path)
	case d.has("index-sanity-check"):
		fmt.Fprintf(d.w, "%s passed sanity check.\n", path)
	case !d.has("verify-index-only"):
		for _, e := range list {
			fmt.Fprintf(d.w, "offset: %d position: %d\n", e.Offset, e.Position)
		}
	}
	return nil
}

func (d *logDump) timeIndex(path string, base kafka.Offset) error {
	list, err := disk.Times(path, base)
	if err != nil {
		return err
	}
	switch {
	case d.has("index-sanity-check"):
		fmt.Fprintf(d.w, "%s passed sanity check.\n", path)
	case !d.has("verify-index-only"):
		for _, e := range list {
			fmt.Fprintf(d.w, "timestamp: %d offset: %d\n", e.Timestamp, e.Offset)
		}
	}
	return nil
}

// snapshotBytesMax bounds a producer snapshot: more than a million producers.
const snapshotBytesMax = 256 << 20

func (d *logDump) snapshot(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > snapshotBytesMax {
		return fmt.Errorf("%s is no producer snapshot: %d bytes", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var state prodstate.State
	if err := state.LoadSnapshot(b, 0, math.MaxInt64); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, p := range state.List() {
		first := "OptionalLong.empty"
		if p.TxnStart != kafka.NoOffset {
			first = fmt.Sprintf("OptionalLong[%d]", p.TxnStart)
		}
		fmt.Fprintf(d.w, "producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d ",
			p.ID, p.Epoch, p.CoordinatorEpoch, first, p.LastTimestampMs)
		if last := p.Last; last.LastSequence != batch.NoSequence {
			fmt.Fprintf(d.w, "firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
				batch.AddSequence(last.LastSequence, -last.OffsetDelta), last.LastSequence, last.LastOffset, last.OffsetDelta, last.TimestampMs)
		}
		fmt.Fprintln(d.w)
	}
	return nil
}

func (d *logDump) log(path string) error {
	var bytes int64
	err := disk.Walk(path, func(b *disk.Batch) error {
		if bytes += int64(len(b.Bytes)); bytes > d.bytesMax {
			return errEnoughBytes
		}
		d.batch(b)
		if !d.deep {
			return nil
		}
		return d.reader.Records(b, func(r *batch.Record) error { return d.record(b, r) })
	})
	if errors.Is(err, errEnoughBytes) {
		return nil
	}
	return err
}

func timestampType(a batch.Attributes) string {
	if a.TimestampType() == batch.LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

func (d *logDump) batch(b *disk.Batch) {
	horizon := "OptionalLong.empty"
	if b.Attributes.HasDeleteHorizon() {
		horizon = fmt.Sprintf("OptionalLong[%d]", b.BaseTimestampMs)
	}
	fmt.Fprintf(d.w, "baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d partitionLeaderEpoch: %d "+
		"isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: 2 compresscodec: %s crc: %d isvalid: %t\n",
		b.BaseOffset, b.LastOffset(), b.Count, b.BaseSequence, b.LastSequence(), b.ProducerID, b.ProducerEpoch, b.LeaderEpoch,
		b.Attributes.IsTransactional(), b.Attributes.IsControl(), horizon, b.PosBytes, timestampType(b.Attributes), b.MaxTimestampMs,
		len(b.Bytes), b.Attributes.Codec(), b.CRC, batch.VerifyCRC(b.Bytes) == nil)
}

func (d *logDump) record(b *disk.Batch, r *batch.Record) error {
	control := b.Attributes.IsControl()
	if d.bare {
		if control {
			fmt.Fprintln(d.w)
			return nil
		}
		fmt.Fprint(d.w, "|")
	} else {
		size := func(b []byte) int {
			if b == nil {
				return -1
			}
			return len(b)
		}
		sequence := b.BaseSequence
		if sequence != batch.NoSequence {
			sequence = batch.AddSequence(sequence, int32(r.Offset-b.BaseOffset))
		}
		var headers []string
		for h := range r.Headers() {
			headers = append(headers, string(h.Key))
		}
		fmt.Fprintf(d.w, "| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]", r.Offset, timestampType(b.Attributes), r.TimestampMs,
			size(r.Key), size(r.Value), sequence, strings.Join(headers, ","))
		if control {
			text, err := controlText(r)
			fmt.Fprintf(d.w, "%s\n", text)
			return err
		}
	}
	switch {
	case d.metadata:
		text, err := metadataText(r.Value)
		if err != nil {
			text = fmt.Sprintf("Error decoding record at offset %d: %v", r.Offset, err)
		}
		fmt.Fprintf(d.w, " payload: %s", text)
	case d.values:
		if r.Key != nil {
			fmt.Fprintf(d.w, " key: %s", r.Key)
		}
		if r.Value != nil {
			fmt.Fprintf(d.w, " payload: %s", r.Value)
		}
	}
	fmt.Fprintln(d.w)
	return nil
}
