// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"fmt"

	"gregor/cluster/metarec"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// ControlBatch builds one batch of control records, with base offset and epoch
// still to be put in.
func ControlBatch(timestampMs int64, records ...metarec.Control) []byte {
	kv := make([]keyValue, len(records))
	for i, rec := range records {
		kv[i] = keyValue{metarec.ControlKey(nil, rec), metarec.MarshalControl(nil, rec)}
	}
	return build(timestampMs, true, kv)
}

// DataBatch builds one batch of metadata records that are marshalled already.
func DataBatch(timestampMs int64, values [][]byte) []byte {
	kv := make([]keyValue, len(values))
	for i, v := range values {
		kv[i].value = v
	}
	return build(timestampMs, false, kv)
}

type keyValue struct{ key, value []byte }

func build(timestampMs int64, control bool, records []keyValue) []byte {
	var b batch.Builder
	o := batch.NoProducer(0, 0)
	o.Control = control
	b.Begin(o)
	for _, r := range records {
		b.Add(timestampMs, r.key, r.value)
	}
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err) // only compression and batches of 2 GiB can fail
	}
	return out
}

// eachRecord walks over the records of one whole batch.
func eachRecord(b []byte, fn func(*batch.Record) error) error {
	h, err := batch.Parse(b)
	if err != nil {
		return err
	}
	if c := h.Attributes.Codec(); c != compress.None {
		return &batch.CorruptError{Reason: fmt.Sprintf("metadata compressed with codec %d", c)}
	}
	it := batch.Records(&h, b[batch.HeaderSize:])
	var rec batch.Record
	for it.Next(&rec) {
		if err := fn(&rec); err != nil {
			return err
		}
	}
	return it.Err()
}
