// SPDX-License-Identifier: Apache-2.0

package grouprec

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"
)

// vector is a line of testdata/vectors.txt, which Vectors.java beside it has
// written with Apache Kafka's own classes.
type vector struct {
	typ     int16
	key     bool
	version int16 // of a value
	bytes   []byte
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []vector
	var typ int16 // a type's keys stand before its values
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		n, err := strconv.Atoi(w[2])
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(w[3])
		if err != nil {
			t.Fatal(err)
		}
		v := vector{key: w[0] == "key", version: int16(n), bytes: b}
		if v.key {
			typ, v.version = int16(n), 0
		}
		v.typ = typ
		out = append(out, v)
	}
	return out
}

// TestKafkaVectors: what Kafka encodes, in every version and with tagged fields
// that nobody knows, is read and written again to the byte.
func TestKafkaVectors(t *testing.T) {
	keys, values := map[int16]bool{}, map[[2]int16]bool{}
	for _, v := range vectors(t) {
		if v.key {
			if typ, err := TypeOf(v.bytes); typ != v.typ || err != nil {
				t.Errorf("type %d, %v, want %d", typ, err, v.typ)
			}
			k := NewKey(v.typ)
			if err := k.Decode(v.bytes); err != nil {
				t.Errorf("%T: %v\n%x", k, err, v.bytes)
			} else if got := k.Append(nil); !bytes.Equal(got, v.bytes) {
				t.Errorf("%T: %+v\ngot  %x\nwant %x", k, k, got, v.bytes)
			}
			keys[v.typ] = true
			continue
		}
		val := NewValue(v.typ)
		version, err := val.Decode(v.bytes)
		if err != nil || version != v.version {
			t.Errorf("%T version %d: %d, %v\n%x", val, v.version, version, err, v.bytes)
			continue
		}
		if got := val.AppendVersion(nil, version); !bytes.Equal(got, v.bytes) {
			t.Errorf("%T version %d: %+v\ngot  %x\nwant %x", val, version, val, got, v.bytes)
		}
		values[[2]int16{v.typ, version}] = true
	}
	if len(keys) != 22 || len(values) != 30 {
		t.Errorf("%d types and %d versions of values were tried, Kafka 4.4 has 22 and 30", len(keys), len(values))
	}
}
