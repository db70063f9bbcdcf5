// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

func controlText(r *batch.Record) (string, error) {
	kind, err := metarec.ControlType(r.Key)
	if err != nil {
		return "", err
	}
	if kind == 0 || kind == 1 {
		names := [2]string{"ABORT", "COMMIT"}
		epoch := int32(0)
		if len(r.Value) >= 6 {
			epoch = int32(binary.BigEndian.Uint32(r.Value[2:])) // behind the version
		}
		return fmt.Sprintf(" endTxnMarker: %s coordinatorEpoch: %d", names[kind], epoch), nil
	}
	c, err := metarec.UnmarshalControl(r.Key, r.Value)
	if err != nil {
		return fmt.Sprintf(" controlType: UNKNOWN (%d)", kind), nil
	}
	text, err := json.Marshal(fields(reflect.ValueOf(c)))
	name := strings.TrimPrefix(fmt.Sprintf("%T", c), "*metarec.")
	if name == "LeaderChange" {
		name += ":"
	}
	return " " + name + " " + string(text), err
}

// metadataText writes a record of __cluster_metadata as JSON, by the names
// that this program has for its fields.
func metadataText(value []byte) (string, error) {
	rec, version, err := metarec.UnmarshalVersion(value)
	if err != nil {
		return "", err
	}
	kind := strings.TrimPrefix(fmt.Sprintf("%T", rec), "*metarec.")
	text, err := json.Marshal(struct {
		Type    string `json:"type"`
		Version int16  `json:"version"`
		Data    object `json:"data"`
	}{upperSnake(kind) + "_RECORD", version, fields(reflect.ValueOf(rec))})
	return string(text), err
}

func upperSnake(name string) string {
	var out strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToUpper(r))
	}
	return out.String()
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(append(b, '"'), m.name...), `":`...), value...)
	}
	return append(b, '}'), nil
}

// fields gives a struct's fields by names as Java writes them: brokerId.
func fields(v reflect.Value) object {
	v = reflect.Indirect(v)
	out := object{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "Unknown" {
			out = append(out, member{javaName(name), plain(v.Field(i))})
		}
	}
	return out
}

func plain(v reflect.Value) any {
	if v.CanInterface() {
		if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() == reflect.Array {
			return s.String()
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		return fields(v)
	case reflect.Slice:
		if v.IsNil() && v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Bytes()
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

func javaName(name string) string {
	upper := 0
	for upper < len(name) && unicode.IsUpper(rune(name[upper])) {
		upper++
	}
	if upper > 1 && upper < len(name) {
		upper-- // the last capital begins the next word
	}
	name = strings.ToLower(name[:upper]) + name[upper:]
	return strings.ReplaceAll(strings.ReplaceAll(name, "ID", "Id"), "ISR", "Isr")
}
