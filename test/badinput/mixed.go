// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Mixed sets several fields of a message at once to what they should not be, so
// that they contradict each other. The message is still a request.
func Mixed(req kmsg.Request, random *rand.Rand) Case {
	v := reflect.ValueOf(req).Elem()
	mix(v, "", random)
	if r, ok := req.(*kmsg.FetchRequest); ok {
		forgetTags(r)
	}
	return Case{Name: "mixed", Body: req.AppendTo(nil), Fate: Answered}
}

// forgetTags takes the tagged fields out that the version does not have.
func forgetTags(r *kmsg.FetchRequest) {
	if r.Version < tagsFrom["Fetch.ReplicaState.ID"] {
		r.ReplicaState = kmsg.NewFetchRequestReplicaState()
	}
	none := kmsg.NewFetchRequestTopicPartition()
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			if r.Version < tagsFrom["Fetch.Topics.Partitions.ReplicaDirectoryID"] {
				p.ReplicaDirectoryID = none.ReplicaDirectoryID
			}
			if r.Version < tagsFrom["Fetch.Topics.Partitions.HighWatermark"] {
				p.HighWatermark = none.HighWatermark
			}
		}
	}
}

// odd is how many of the fields are changed: one in three.
func odd(random *rand.Rand) bool { return random.IntN(3) == 0 }

func mix(v reflect.Value, name string, random *rand.Rand) {
	switch v.Kind() {
	case reflect.Bool:
		// A request must not begin to change things.
		if name != "ValidateOnly" && name != "AllowAutoTopicCreation" && odd(random) {
			v.SetBool(!v.Bool())
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if odd(random) && name != "Acks" {
			shift := 64 - v.Type().Bits()
			v.SetInt([]int64{math.MinInt64 >> shift, math.MaxInt64 >> shift, -2, -1, 0, 2, 3, random.Int64() >> shift}[random.IntN(8)])
			if isUnknownKind(v) {
				v.SetInt(1)
			}
		}
	case reflect.Float64:
		if odd(random) {
			v.SetFloat([]float64{math.NaN(), math.Inf(-1), -1, 0}[random.IntN(4)])
		}
	case reflect.String:
		if odd(random) {
			v.SetString([]string{"", "..", "a b", "a\xff", strings.Repeat("n", 250), "__consumer_offsets", "1"}[random.IntN(7)])
		}
	case reflect.Array:
		if odd(random) {
			v.Set(reflect.ValueOf([16]byte{byte(random.IntN(3))}))
		}
	case reflect.Pointer:
		if v.IsNil() && odd(random) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), name, [16]byte{1})
		}
		if !v.IsNil() {
			mix(v.Elem(), name, random)
		}
	case reflect.Slice:
		mixSlice(v, name, random)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "Version" && f.Name != "UnknownTags" {
				mix(v.Field(i), f.Name, random)
			}
		}
	}
}

func mixSlice(v reflect.Value, name string, random *rand.Rand) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if b := v.Bytes(); len(b) > 0 && odd(random) {
			b = bytes.Clone(b)
			b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
			v.SetBytes(b[:len(b)-random.IntN(2)])
		}
		return
	}
	if v.Len() > 0 && odd(random) {
		v.Set(reflect.AppendSlice(v.Slice(0, v.Len()), v.Slice(0, 1))) // the first, again
	}
	for i := range v.Len() {
		mix(v.Index(i), name, random)
	}
}

// Scrambled overwrites a few bytes of a body. What becomes of it is open.
func Scrambled(body []byte, random *rand.Rand) []byte {
	body = bytes.Clone(body)
	for range 1 + random.IntN(3) {
		if len(body) > 0 {
			body[random.IntN(len(body))] = byte(random.Uint32())
		}
	}
	return body
}
