// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
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
	text, err := fields(c)
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
	data, err := fields(rec)
	return fmt.Sprintf(`{"type":"%s_RECORD","version":%d,"data":%s}`, upperSnake(kind), version, data), err
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

// fields writes a record as JSON, by names as Java writes them: brokerId.
func fields(record any) (json.RawMessage, error) {
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	return rename(nil, in)
}

// rename copies one value. The fields of a newer writer, which have no names,
// are left out.
func rename(out []byte, in *json.Decoder) ([]byte, error) {
	token, err := in.Token()
	if err != nil {
		return nil, err
	}
	opened, ok := token.(json.Delim)
	if !ok {
		text, err := json.Marshal(token)
		return append(out, text...), err
	}
	out = append(out, byte(opened))
	for first := true; in.More(); {
		if opened == '{' {
			name, err := in.Token()
			if err != nil {
				return nil, err
			}
			if name == "Unknown" {
				if _, err := rename(nil, in); err != nil {
					return nil, err
				}
				continue
			}
			if !first {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, "%q:", javaName(name.(string)))
		} else if !first {
			out = append(out, ',')
		}
		if out, err = rename(out, in); err != nil {
			return nil, err
		}
		first = false
	}
	closed, err := in.Token()
	if err != nil {
		return nil, err
	}
	return append(out, byte(closed.(json.Delim))), nil
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
