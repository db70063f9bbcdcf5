// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Binary is how JSON holds bytes that are not UTF-8.
type Binary int8

// The two ways; the field's name tells which one was taken.
const (
	Base64 Binary = iota // keyBase64, valueBase64
	Hex                  // keyHex, valueHex
)

// AppendJSON appends one object without a line end. Text goes into "key" and
// "value"; bytes that are not text go into a field beside them, and these are
// then null.
func AppendJSON(dst []byte, r *Record, binary Binary) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendString(dst, []byte(r.Topic))
	if r.Partition >= 0 {
		dst = append(dst, `,"partition":`...)
		dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	}
	if r.Offset >= 0 {
		dst = append(dst, `,"offset":`...)
		dst = strconv.AppendInt(dst, r.Offset, 10)
	}
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, r.TimestampMs)
	dst = appendField(dst, `,"key`, r.Key, binary)
	dst = appendField(dst, `,"value`, r.Value, binary)
	if len(r.Headers) > 0 {
		dst = append(dst, `,"headers":[`...)
		for i, h := range r.Headers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendField(dst, `{"key`, h.Key, binary)
			dst = appendField(dst, `,"value`, h.Value, binary)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

const (
	timeLayout = "2006-01-02T15:04:05.000Z"
	// What RFC 3339 can say: the years 0 to 9999.
	timeMinMs = -62167219200000
	timeMaxMs = 253402300799999
)

func appendTime(dst []byte, ms int64) []byte {
	if ms < timeMinMs || ms > timeMaxMs {
		return strconv.AppendInt(dst, ms, 10)
	}
	dst = append(dst, '"')
	dst = time.UnixMilli(ms).UTC().AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

// appendField appends a field whose name lacks its closing quote.
func appendField(dst []byte, name string, b []byte, binary Binary) []byte {
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	switch {
	case b == nil:
		return append(dst, "null"...)
	case utf8.Valid(b):
		return appendString(dst, b)
	}
	if name[0] == '{' {
		name = "," + name[1:]
	}
	dst = append(dst, "null"...)
	dst = append(dst, name...)
	if binary == Hex {
		dst = append(dst, `Hex":"`...)
		dst = hex.AppendEncode(dst, b)
	} else {
		dst = append(dst, `Base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, b)
	}
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// appendString appends UTF-8 as a JSON string.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Given tells which fields an object had.
type Given struct {
	Topic, Partition, Timestamp, Key bool
}

// object is what ParseJSON takes. An offset may be there and counts for
// nothing: the broker gives it.
type object struct {
	Topic       *string         `json:"topic"`
	Partition   *int32          `json:"partition"`
	Offset      *int64          `json:"offset"`
	Timestamp   json.RawMessage `json:"timestamp"`
	Key         json.RawMessage `json:"key"`
	KeyBase64   *string         `json:"keyBase64"`
	KeyHex      *string         `json:"keyHex"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 *string         `json:"valueBase64"`
	ValueHex    *string         `json:"valueHex"`
	Headers     json.RawMessage `json:"headers"`
}

var (
	errNotText = errors.New(`this is not UTF-8; bytes go into "valueBase64" or "valueHex"`)
	errNoValue = errors.New(`there is no "value"; a tombstone says "value":null`)
)

// ParseJSON reads one object into r. A key or value may be a string, null, or
// any other JSON, which is then kept as it is written. Headers are a list of
// objects with key and value, or one object.
func ParseJSON(line []byte, r *Record) (Given, error) {
	if !utf8.Valid(line) {
		return Given{}, errNotText
	}
	if g, ok := scan(line, r); ok {
		return g, nil
	}
	return parseLong(line, r)
}

// parseLong reads all JSON that is allowed.
func parseLong(line []byte, r *Record) (Given, error) {
	var o object
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return Given{}, describe(err)
	}
	if rest := bytes.TrimSpace(line[decoder.InputOffset():]); len(rest) > 0 {
		return Given{}, fmt.Errorf("something follows the object: %.20q", rest)
	}
	g := Given{Topic: o.Topic != nil, Partition: o.Partition != nil, Timestamp: len(o.Timestamp) > 0}
	if g.Topic {
		r.Topic = *o.Topic
	}
	if g.Partition {
		if r.Partition = *o.Partition; r.Partition < 0 {
			return g, fmt.Errorf(`"partition" is %d`, r.Partition)
		}
	}
	var err error
	if g.Timestamp {
		if r.TimestampMs, err = parseTimestamp(o.Timestamp); err != nil {
			return g, err
		}
	}
	if r.Key, g.Key, err = field("key", o.Key, o.KeyBase64, o.KeyHex); err != nil {
		return g, err
	}
	var valued bool
	if r.Value, valued, err = field("value", o.Value, o.ValueBase64, o.ValueHex); err != nil {
		return g, err
	}
	if !valued {
		return g, errNoValue
	}
	r.Headers, err = parseHeaders(o.Headers)
	return g, err
}

// describe puts the errors of encoding/json into the words of the reader.
func describe(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%q is a %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("want a JSON object, found: %s", kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON is cut short")
	}
	return fmt.Errorf("bad JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func parseTimestamp(raw json.RawMessage) (int64, error) {
	if raw[0] != '"' {
		if ms, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return ms, nil
		}
	} else {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return 0, err
		}
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf(`"timestamp" is %.40s: want 2006-01-02T15:04:05.000Z or Unix milliseconds`, raw)
}

// field decodes the three ways to give bytes; given is false if none was
// there.
func field(name string, raw json.RawMessage, b64, digits *string) (b []byte, given bool, err error) {
	ways := 0
	if len(raw) > 0 && string(raw) != "null" {
		ways++
		b, err = text(raw)
	}
	if b64 != nil {
		ways++
		b, err = base64.StdEncoding.AppendDecode([]byte{}, []byte(*b64))
	}
	if digits != nil {
		ways++
		b, err = hex.AppendDecode([]byte{}, []byte(*digits))
	}
	switch {
	case ways > 1:
		return nil, true, fmt.Errorf("%q is given more than once", name)
	case err != nil:
		return nil, true, fmt.Errorf("%q: %w", name, err)
	}
	return b, ways > 0 || len(raw) > 0, nil
}

// text gives a string's own text, and of other JSON what is written there.
func text(raw json.RawMessage) ([]byte, error) {
	if raw[0] != '"' {
		return bytes.Clone(raw), nil
	}
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 {
		return append([]byte{}, body...), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return []byte(s), err
}

type headerObject struct {
	Key         json.RawMessage `json:"key"`
	KeyBase64   *string         `json:"keyBase64"`
	KeyHex      *string         `json:"keyHex"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 *string         `json:"valueBase64"`
	ValueHex    *string         `json:"valueHex"`
}

func parseHeaders(raw json.RawMessage) ([]Header, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '{' {
		return headersOfObject(raw)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var list []headerObject
	if err := decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf(`"headers": %w`, describe(err))
	}
	headers := make([]Header, 0, len(list))
	for i, o := range list {
		key, given, err := field("key", o.Key, o.KeyBase64, o.KeyHex)
		if err == nil && (!given || key == nil) {
			err = errors.New("it has no key")
		}
		if err != nil {
			return nil, fmt.Errorf("header %d: %w", i+1, err)
		}
		value, _, err := field("value", o.Value, o.ValueBase64, o.ValueHex)
		if err != nil {
			return nil, fmt.Errorf("header %d: %w", i+1, err)
		}
		headers = append(headers, Header{key, value})
	}
	return headers, nil
}

// headersOfObject reads {"a":"1","b":null}, in the order of the text.
func headersOfObject(raw json.RawMessage) ([]Header, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf(`"headers": %w`, describe(err))
	}
	var headers []Header
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf(`"headers": %w`, describe(err))
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf(`"headers": %w`, describe(err))
		}
		h := Header{Key: []byte(fmt.Sprint(name))}
		if string(value) != "null" {
			if h.Value, err = text(value); err != nil {
				return nil, fmt.Errorf(`"headers": %w`, err)
			}
		}
		headers = append(headers, h)
	}
	return headers, nil
}
