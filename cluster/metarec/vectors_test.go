// SPDX-License-Identifier: Apache-2.0

package metarec

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
	control bool
	name    string // of the record, or type of the control record
	version int16
	value   []byte
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		version, err := strconv.Atoi(w[2])
		if err != nil {
			t.Fatal(err)
		}
		value, err := hex.DecodeString(w[3])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vector{w[0] == "control", w[1], int16(version), value})
	}
	return out
}

// TestKafkaVectors: what Kafka encodes, in every version and with tagged fields
// that nobody knows, is read and written again to the byte.
func TestKafkaVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t) {
		if v.control {
			checkControlVector(t, v)
			continue
		}
		rec, version, err := UnmarshalVersion(v.value)
		if err != nil {
			t.Errorf("%s version %d: %v\n%x", v.name, v.version, err, v.value)
			continue
		}
		seen[v.name] = true
		if version != v.version {
			t.Errorf("%s: version %d, want %d", v.name, version, v.version)
		}
		if got := marshalVersion(nil, rec, version); !bytes.Equal(got, v.value) {
			t.Errorf("%s version %d: %+v\ngot  %x\nwant %x", v.name, version, rec, got, v.value)
		}
	}
	if len(seen) != 27 {
		t.Errorf("%d kinds of records were tried, Kafka 4.4 has 27", len(seen))
	}
}

func checkControlVector(t *testing.T, v vector) {
	typ, err := strconv.Atoi(v.name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := UnmarshalControl([]byte{0, 0, 0, byte(typ)}, v.value)
	if err != nil {
		t.Errorf("control %d version %d: %v\n%x", typ, v.version, err, v.value)
		return
	}
	got := rec.AppendTo([]byte{0, byte(v.version)}, v.version)
	if !bytes.Equal(got, v.value) {
		t.Errorf("control %d version %d:\ngot  %x\nwant %x", typ, v.version, got, v.value)
	}
	if v.version == rec.WriteVersion(0) && !bytes.Equal(MarshalControl(nil, rec), v.value) {
		t.Errorf("control %d: MarshalControl gives %x", typ, MarshalControl(nil, rec))
	}
	if key := ControlKey(nil, rec); !bytes.Equal(key, []byte{0, 0, 0, byte(typ)}) {
		t.Errorf("control %d: key %x", typ, key)
	}
}
