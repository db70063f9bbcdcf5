// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// newFormatter gives the function that writes a record as Kafka's default
// formatter does: columns with a separator between them, a line end behind.
func newFormatter(o *given) (func(io.Writer, *kgo.Record) error, error) {
	switch class := className(o.text("formatter")); class {
	case "NoOpMessageFormatter":
		return func(io.Writer, *kgo.Record) error { return nil }, nil
	case "DefaultMessageFormatter":
	default:
		return nil, refuse("--formatter %s: DefaultMessageFormatter and NoOpMessageFormatter are built in", class)
	}
	p := properties{}
	if o.has("formatter-config") {
		var err error
		if p, err = readProperties(o.text("formatter-config")); err != nil {
			return nil, err
		}
	}
	for _, option := range []string{"property", "formatter-property"} {
		if err := p.assignments("--"+option, o.list(option)); err != nil {
			return nil, err
		}
	}
	for option, key := range map[string]string{"key-deserializer": "key.deserializer", "value-deserializer": "value.deserializer"} {
		if o.has(option) {
			p[key] = o.text(option)
		}
	}
	f, err := formatterOf(p)
	if err != nil {
		return nil, err
	}
	return f.write, nil
}

type formatter struct {
	timestamp, partition, offset, epoch, headers, key, value bool
	column, line, header, null                               string
	keyText, valueText, headerText                           func([]byte) (string, error)
	buffer                                                   []byte
}

func formatterOf(p properties) (*formatter, error) {
	text := func(key, fallback string) string {
		if v, ok := p[key]; ok {
			return v
		}
		return fallback
	}
	on := func(key string, fallback bool) bool {
		if v, ok := p[key]; ok {
			return strings.EqualFold(strings.TrimSpace(v), "true")
		}
		return fallback
	}
	f := &formatter{timestamp: on("print.timestamp", false), partition: on("print.partition", false), offset: on("print.offset", false),
		epoch: on("print.epoch", false), headers: on("print.headers", false), key: on("print.key", false), value: on("print.value", true),
		column: text("key.separator", "\t"), line: text("line.separator", "\n"), header: text("headers.separator", ","), null: text("null.literal", "null")}
	for key, to := range map[string]*func([]byte) (string, error){
		"key.deserializer": &f.keyText, "value.deserializer": &f.valueText, "headers.deserializer": &f.headerText} {
		class := p[key]
		if key == "headers.deserializer" && class == "" {
			class = p["header.deserializer"]
		}
		var err error
		if *to, err = deserializer(class); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// deserializer is one of Kafka's for plain types.
func deserializer(class string) (func([]byte) (string, error), error) {
	sized := func(size int, text func([]byte) string) func([]byte) (string, error) {
		return func(b []byte) (string, error) {
			if len(b) != size {
				return "", fmt.Errorf("%s got %d bytes, not %d", className(class), len(b), size)
			}
			return text(b), nil
		}
	}
	switch className(class) {
	case "", "StringDeserializer", "ByteArrayDeserializer", "BytesDeserializer", "ByteBufferDeserializer":
		return func(b []byte) (string, error) { return string(b), nil }, nil
	case "ShortDeserializer":
		return sized(2, func(b []byte) string { return strconv.Itoa(int(int16(binary.BigEndian.Uint16(b)))) }), nil
	case "IntegerDeserializer":
		return sized(4, func(b []byte) string { return strconv.Itoa(int(int32(binary.BigEndian.Uint32(b)))) }), nil
	case "LongDeserializer":
		return sized(8, func(b []byte) string { return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10) }), nil
	case "FloatDeserializer":
		return sized(4, func(b []byte) string { return javaDouble(shortest(math.Float32frombits(binary.BigEndian.Uint32(b)))) }), nil
	case "DoubleDeserializer":
		return sized(8, func(b []byte) string { return javaDouble(math.Float64frombits(binary.BigEndian.Uint64(b))) }), nil
	case "BooleanDeserializer":
		return sized(1, func(b []byte) string { return strconv.FormatBool(b[0] != 0) }), nil
	case "UUIDDeserializer":
		return func(b []byte) (string, error) { return string(b), nil }, nil // as text on the wire
	}
	return nil, refuse("deserializer %s is not built in: String, ByteArray, Short, Integer, Long, Float, Double, Boolean and UUID are", className(class))
}

// shortest is the float64 that prints as the float32 does.
func shortest(v float32) float64 {
	f, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	return f
}

func (f *formatter) write(w io.Writer, r *kgo.Record) error {
	b := f.buffer[:0]
	columns := 0
	next := func() {
		if columns++; columns > 1 {
			b = append(b, f.column...)
		}
	}
	if f.timestamp {
		next()
		switch {
		case r.Attrs.TimestampType() == -1:
			b = append(b, "NO_TIMESTAMP"...)
		case r.Attrs.TimestampType() == 1:
			b = fmt.Appendf(b, "LogAppendTime:%d", r.Timestamp.UnixMilli())
		default:
			b = fmt.Appendf(b, "CreateTime:%d", r.Timestamp.UnixMilli())
		}
	}
	for _, n := range []struct {
		on    bool
		name  string
		value int64
	}{{f.partition, "Partition:", int64(r.Partition)}, {f.offset, "Offset:", r.Offset}, {f.epoch, "Epoch:", int64(r.LeaderEpoch)}} {
		if n.on {
			next()
			b = strconv.AppendInt(append(b, n.name...), n.value, 10)
		}
	}
	var err error
	if f.headers {
		next()
		if len(r.Headers) == 0 {
			b = append(b, "NO_HEADERS"...)
		}
		for i, h := range r.Headers {
			if i > 0 {
				b = append(b, f.header...)
			}
			b = append(append(b, h.Key...), ':')
			if b, err = f.appendText(b, h.Value, f.headerText); err != nil {
				return err
			}
		}
	}
	if f.key {
		next()
		if b, err = f.appendText(b, r.Key, f.keyText); err != nil {
			return err
		}
	}
	if f.value {
		next()
		if b, err = f.appendText(b, r.Value, f.valueText); err != nil {
			return err
		}
	}
	if columns > 0 {
		b = append(b, f.line...)
	}
	f.buffer = b
	_, err = w.Write(b)
	return err
}

func (f *formatter) appendText(b, value []byte, text func([]byte) (string, error)) ([]byte, error) {
	if value == nil {
		return append(b, f.null...), nil
	}
	s, err := text(value)
	return append(b, s...), err
}
