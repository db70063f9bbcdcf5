// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/metrics"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/frame"
)

// fill puts random values into a request of kmsg, three elements deep.
func fill(random *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int8: // not 0: a request with an ACL of an UNKNOWN kind is malformed
		v.SetInt(cmp.Or(random.Int64()>>56, 1))
	case reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(random.Int64() >> (64 - v.Type().Bits()))
	case reflect.String:
		v.SetString(fmt.Sprint(random.Uint32()))
	case reflect.Pointer:
		if random.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(random, v.Elem())
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(random.Uint32() & 0xff))
		}
	case reflect.Slice:
		n := random.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(random, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "UnknownTags" && v.Type().Field(i).Name != "Version" {
				fill(random, f)
			}
		}
	}
}

// randomRequest is a request of kmsg in one version.
func randomRequest(random *rand.Rand, r *row, version int16) kmsg.Request {
	req := r.request()
	fill(random, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

// Each shape says of every version exactly what kmsg writes.
func TestShapesMatchTheMessages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range rows() {
		if r.shape == nil {
			continue
		}
		for v := r.min; v <= r.max; v++ {
			flexible := v >= r.flexibleFrom
			if got := kmsgFlexible(r.request(), v); got != flexible {
				t.Fatalf("%s v%d: flexible is %v by kmsg", r.name, v, got)
			}
			for range 100 {
				body := randomRequest(random, &r, v).AppendTo(nil)
				w := walker{r: frame.NewReader(body), version: v, flexible: flexible, left: 1000}
				w.fields(r.shape)
				if err := w.r.Err(); err != nil || w.r.Remaining() != 0 {
					t.Fatalf("%s v%d: %v, %d bytes left of %d", r.name, v, err, w.r.Remaining(), len(body))
				}
			}
		}
	}
}

func kmsgFlexible(r kmsg.Request, version int16) bool {
	r.SetVersion(version)
	return r.IsFlexible()
}

// A count may not claim more than the limit, nor than there are bytes.
func TestCountsAreBounded(t *testing.T) {
	s := shape{arrayAt(0, textAt(0)), int32At(0)}
	for _, n := range []uint32{1 << 31, 1<<31 - 1, 1 << 20, 11} {
		body := binary.BigEndian.AppendUint32(nil, n)
		body = append(body, make([]byte, 1<<16)...)
		if err := s.check(body, 0, false, 10); err == nil && n != 1<<31 {
			t.Errorf("%d elements are taken where 10 are allowed", n)
		}
	}
	ok := append(binary.BigEndian.AppendUint32(nil, 10), make([]byte, 24)...)
	if err := s.check(ok, 0, false, 10); err != nil {
		t.Errorf("10 elements: %v", err)
	}
}

// Null is taken for an array only from the version on that allows it.
func TestNullArrays(t *testing.T) {
	null := binary.BigEndian.AppendUint32(nil, 1<<32-1)
	body := append(null, 0, 0, 0, 1, 0, 0)
	table := rows()
	for _, tc := range []struct {
		key, version int16
		ok           bool
	}{{keyMetadata, 0, false}, {keyMetadata, 1, true}, {keyDeleteTopics, 1, false}, {keyCreateTopics, 2, false}, {keyOffsetForLeaderEpoch, 2, false}} {
		for i := range table {
			if r := &table[i]; r.key == tc.key {
				if err := r.shape.check(body, tc.version, false, 10); (err == nil) != tc.ok {
					t.Errorf("%s v%d: %v", r.name, tc.version, err)
				}
			}
		}
	}
}

// allocatedBytes is what the process has allocated so far, without stopping it.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Whatever a body claims, reading it takes memory in proportion to its length.
func FuzzDecode(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	table := rows()
	for i := range table {
		if r := &table[i]; r.shape != nil {
			for v := r.min; v <= r.max; v++ {
				f.Add(uint8(i), v, randomRequest(random, r, v).AppendTo(nil))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, version int16, body []byte) {
		r := &table[int(i)%len(table)]
		if r.shape == nil || version < r.min || version > r.max {
			return
		}
		if r.shape.check(body, version, version >= r.flexibleFrom, 1<<18) != nil {
			return
		}
		before := allocatedBytes()
		req := r.request()
		req.SetVersion(version)
		_ = req.ReadFrom(body)
		if used := allocatedBytes() - before; used > 1<<20+uint64(len(body))*200 {
			t.Fatalf("%s v%d: %d bytes are allocated for %d", r.name, version, used, len(body))
		}
	})
}
