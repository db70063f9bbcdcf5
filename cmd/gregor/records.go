// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordWriter gives the function that writes one record, by layout or as
// JSON.
func recordWriter(format, output string) (func(io.Writer, *kgo.Record) error, error) {
	switch output {
	case "":
	case "jsonl":
		return writeJSON, nil
	default:
		return nil, fmt.Errorf("-o %s: allowed is jsonl", output)
	}
	layout, err := kgo.NewRecordFormatter(format)
	if err != nil {
		return nil, fmt.Errorf("-f %q: %w", format, err)
	}
	var buffer []byte
	return func(w io.Writer, r *kgo.Record) error {
		buffer = layout.AppendRecord(buffer[:0], r)
		_, err := w.Write(buffer)
		return err
	}, nil
}

// recordJSON is one record of -o jsonl. Bytes that are not UTF-8 go into the
// fields that end in Base64, so nothing is lost.
type recordJSON struct {
	Topic       string       `json:"topic"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	Timestamp   string       `json:"timestamp"`
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"keyBase64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"valueBase64,omitempty"`
	Headers     []headerJSON `json:"headers,omitempty"`
}

type headerJSON struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

func writeJSON(w io.Writer, r *kgo.Record) error {
	j := recordJSON{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC().Format(time.RFC3339Nano)}
	j.Key, j.KeyBase64 = textOrBytes(r.Key)
	j.Value, j.ValueBase64 = textOrBytes(r.Value)
	for _, h := range r.Headers {
		header := headerJSON{Key: h.Key}
		header.Value, header.ValueBase64 = textOrBytes(h.Value)
		j.Headers = append(j.Headers, header)
	}
	line, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// textOrBytes gives b as text where it is text; both are nil for null.
func textOrBytes(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
