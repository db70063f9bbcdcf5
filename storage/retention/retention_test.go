// SPDX-License-Identifier: Apache-2.0

package retention

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/test/script"
)

// TestScripts runs testdata: a log, its rules and the time, a line of dashes,
// and what goes.
func TestScripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func([]string) string {
		return func(commands []string) string { return run(t, commands) }
	})
}

func run(t *testing.T, commands []string) string {
	var l Log
	r := Rules{Ms: -1, Bytes: -1}
	var out strings.Builder
	for _, line := range commands {
		words := strings.Fields(line)
		args := map[string]int64{}
		for _, w := range words[1:] {
			k, v, _ := strings.Cut(w, "=")
			n, err := strconv.ParseInt(v, 10, 64)
			if v == "unread" {
				n, err = Unread, nil
			}
			if v != "" && err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			args[k] = n
		}
		has := func(k string) bool { _, ok := args[k]; return ok }
		switch words[0] {
		case "log":
			l = Log{Start: kafka.Offset(args["start"]), HighWatermark: kafka.Offset(args["hw"]), End: kafka.Offset(args["end"])}
		case "segment":
			l.Segments = append(l.Segments, Segment{Base: kafka.Offset(args["base"]), SizeBytes: args["bytes"], NewestMs: args["newest"]})
		case "rules":
			r = Rules{Delete: has("delete"), Ms: -1, Bytes: -1}
			if has("ms") {
				r.Ms = args["ms"]
			}
			if has("bytes") {
				r.Bytes = args["bytes"]
			}
		case "at":
			p := Decide(&l, r, args["now"])
			for reason := range Reasons {
				if n := p.Segments[reason]; n > 0 {
					fmt.Fprintf(&out, "%d by %v, %d bytes; ", n, reason, p.Bytes[reason])
				}
			}
			if p.Roll {
				fmt.Fprint(&out, "roll; ")
			}
			if p.Read >= 0 {
				fmt.Fprintf(&out, "read %d; ", l.Segments[p.Read].Base)
			}
			fmt.Fprintf(&out, "starts at %d\n", p.Start)
		default:
			t.Fatalf("unknown command %q", line)
		}
	}
	return out.String()
}

func drawLog(t *rapid.T) Log {
	l := Log{Start: kafka.Offset(rapid.IntRange(0, 30).Draw(t, "start"))}
	at := kafka.Offset(rapid.IntRange(0, int(l.Start)).Draw(t, "base"))
	for i, n := 0, rapid.IntRange(1, 6).Draw(t, "segments"); i < n; i++ {
		s := Segment{Base: at, SizeBytes: int64(rapid.SampledFrom([]int{0, 1, 10, 10, 25}).Draw(t, "bytes")), NewestMs: int64(rapid.IntRange(0, 60).Draw(t, "newest"))}
		if rapid.IntRange(0, 9).Draw(t, "unread") == 0 {
			s.NewestMs = Unread
		}
		l.Segments = append(l.Segments, s)
		if s.SizeBytes > 0 || i+1 < n {
			at += kafka.Offset(rapid.IntRange(1, 10).Draw(t, "offsets"))
		}
	}
	l.End = at
	l.Start = min(l.Start, l.End)
	l.HighWatermark = max(l.Start, kafka.Offset(rapid.IntRange(0, int(l.End)).Draw(t, "hw")))
	return l
}

func drawRules(t *rapid.T) Rules {
	return Rules{Delete: rapid.IntRange(0, 4).Draw(t, "delete") > 0, Ms: int64(rapid.IntRange(-1, 30).Draw(t, "ms")),
		Bytes: int64(rapid.IntRange(-1, 60).Draw(t, "retained"))}
}

// naive deletes segment by segment from a log of its own, in three rounds, and
// rolls when the only one goes.
func naive(l Log, r Rules, nowMs int64) (gone []Segment, left Log, read bool) {
	left = l
	left.Segments = append([]Segment(nil), l.Segments...)
	rolled := false
	total := func() (sum int64) {
		for _, s := range left.Segments {
			sum += s.SizeBytes
		}
		return sum
	}
	rounds := []func() bool{
		func() bool { return len(left.Segments) > 1 && left.Segments[1].Base <= left.Start },
		func() bool {
			return r.Delete && r.Bytes >= 0 && total()-left.Segments[0].SizeBytes >= r.Bytes
		},
		func() bool {
			if !r.Delete || r.Ms < 0 {
				return false
			}
			if left.Segments[0].NewestMs == Unread {
				read = true
				return false
			}
			return left.Segments[0].NewestMs+r.Ms < nowMs
		},
	}
	for _, breached := range rounds {
		for !rolled {
			end := left.End
			if len(left.Segments) > 1 {
				end = left.Segments[1].Base
			} else if left.Segments[0].SizeBytes == 0 {
				break
			}
			if left.HighWatermark < end || !breached() {
				break
			}
			gone = append(gone, left.Segments[0])
			if left.Segments = left.Segments[1:]; len(left.Segments) == 0 {
				rolled = true
				left.Segments = []Segment{{Base: left.End}}
			}
		}
	}
	return gone, left, read
}

func TestNaiveTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, r, nowMs := drawLog(t), drawRules(t), int64(rapid.IntRange(0, 90).Draw(t, "now"))
		p := Decide(&l, r, nowMs)
		gone, left, read := naive(l, r, nowMs)
		if p.Count() != len(gone) || p.Start != left.Segments[0].Base || p.Read >= 0 != read {
			t.Fatalf("%+v %+v at %d: %+v, want %d gone, start %d, read %v", l, r, nowMs, p, len(gone), left.Segments[0].Base, read)
		}
		if p.Roll != (len(gone) == len(l.Segments)) || p.Start > l.HighWatermark && p.Count() > 0 {
			t.Fatalf("%+v %+v at %d: %+v", l, r, nowMs, p)
		}
		var bytes [Reasons]int64
		for i, s := range gone {
			bytes[reasonOf(&p, i)] += s.SizeBytes
		}
		if bytes != p.Bytes {
			t.Fatalf("bytes %v, want %v", p.Bytes, bytes)
		}
	})
}

// Due is true exactly when there is something to do.
func TestDueIsTheFirstStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, r, nowMs := drawLog(t), drawRules(t), int64(rapid.IntRange(0, 90).Draw(t, "now"))
		p := Decide(&l, r, nowMs)
		first := l.Segments[0]
		o := Oldest{End: l.End, Last: len(l.Segments) == 1, SizeBytes: first.SizeBytes, NewestMs: first.NewestMs}
		if !o.Last {
			o.End = l.Segments[1].Base
		} else if first.SizeBytes == 0 {
			o.End = kafka.NoOffset
		}
		for _, s := range l.Segments {
			o.LogBytes += s.SizeBytes
		}
		if due, want := Due(&o, l.Start, l.HighWatermark, r, nowMs), p.Count() > 0 || p.Read >= 0; due != want {
			t.Fatalf("%+v %+v at %d: due is %v, the plan %+v", l, r, nowMs, due, p)
		}
	})
}

// A clock that is ahead takes segments early by no more than it is ahead, and
// one that is behind by no more late.
func TestClockThatJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, r := drawLog(t), drawRules(t)
		now, jump := int64(rapid.IntRange(0, 90).Draw(t, "now")), int64(rapid.IntRange(-40, 40).Draw(t, "jump"))
		p := Decide(&l, r, now+jump)
		for i := range p.Count() {
			if age := now - l.Segments[i].NewestMs; reasonOf(&p, i) == Time && age+jump <= r.Ms {
				t.Fatalf("%+v %+v: segment %d goes at an age of %d ms by a clock that is %d ms wrong", l, r, i, age, jump)
			}
		}
	})
}

// reasonOf tells why the i-th segment goes.
func reasonOf(p *Plan, i int) Reason {
	for r := range Reasons {
		if i -= p.Segments[r]; i < 0 {
			return r
		}
	}
	return Time
}
