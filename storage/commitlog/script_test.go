// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/test/script"
	"gregor/wire/batch"
)

// TestScripts runs testdata/scripts.
func TestScripts(t *testing.T) {
	script.Run(t, "testdata/scripts/*.txt", func(t *testing.T) func([]string) string {
		s := &scripted{bed: memoryBed(t)}
		return func(commands []string) string {
			var out strings.Builder
			for _, line := range commands {
				out.WriteString(s.run(line))
			}
			return out.String()
		}
	})
}

// scripted is a log that a script works on.
type scripted struct {
	*bed
	args   map[string]string
	leader kafka.LeaderEpoch
}

func (s *scripted) int(key string, otherwise int64) int64 {
	v, ok := s.args[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		s.t.Fatalf("%s=%s: %v", key, v, err)
	}
	return n
}

func (s *scripted) has(key string) bool { _, ok := s.args[key]; return ok }

func result(err error) string {
	if err == nil {
		return "ok\n"
	}
	if code, ok := kafka.CodeOf(err); ok {
		return code.String() + "\n"
	}
	return err.Error() + "\n"
}

func (s *scripted) run(line string) string {
	words := strings.Fields(line)
	s.args = map[string]string{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		s.args[k] = v
	}
	switch words[0] {
	case "open":
		s.o.Config = Config{SegmentBytes: int32(s.int("segment", 0)), IndexIntervalBytes: int32(s.int("interval", 0)), SegmentMs: s.int("segment.ms", 0)}
		return result(s.open())
	case "stop":
		s.stop(s.has("hinted"))
		return result(s.open())
	case "crash":
		s.crash()
		return result(s.open())
	case "leader":
		s.leader = kafka.LeaderEpoch(s.int("epoch", 0))
		return result(s.l.StartEpoch(s.leader))
	case "append", "marker":
		return s.append()
	case "hw":
		return fmt.Sprintln("moved", s.l.AdvanceHighWatermark(kafka.Offset(s.int("to", 0))))
	case "truncate":
		if s.has("fully") {
			return result(s.l.TruncateFullyAndStartAt(kafka.Offset(s.int("to", 0))))
		}
		return result(s.l.TruncateTo(kafka.Offset(s.int("to", 0))))
	case "roll":
		return result(s.l.Roll())
	case "flush":
		return result(s.l.Flush())
	case "log-start":
		return result(s.l.AdvanceLogStart(kafka.Offset(s.int("to", 0))))
	case "drop":
		n, err := s.l.DropSegments(kafka.Offset(s.int("below", 0)))
		return fmt.Sprintf("%d dropped, %s", n, result(err))
	case "read":
		return s.read()
	case "time":
		return found(s.l.OffsetForTime(s.int("at", 0)))
	case "max-time":
		return found(s.l.MaxTimestamp())
	case "epoch-end":
		e, err := s.l.EndOffsetForEpoch(kafka.LeaderEpoch(s.int("of", 0)))
		if err != nil {
			return result(err)
		}
		return fmt.Sprintf("epoch %d ends at %d\n", e.Epoch, e.End)
	case "damage":
		return s.damage()
	case "show":
		return s.show()
	}
	s.t.Fatalf("unknown command %q", line)
	return ""
}

func found(f Found, err error) string {
	if err != nil {
		return result(err)
	}
	return fmt.Sprintf("offset %d time %d epoch %d\n", f.Offset, f.TimestampMs, f.Epoch)
}

func (s *scripted) append() string {
	p := spec{n: int(s.int("n", 1)), ts: s.int("ts", 1000), size: int(s.int("size", 10)), pid: kafka.ProducerID(s.int("pid", -1)),
		pepoch: kafka.ProducerEpoch(s.int("pepoch", -1)), seq: int32(s.int("seq", -1)), txn: s.has("txn"),
		base: kafka.Offset(s.int("base", 0)), epoch: kafka.LeaderEpoch(s.int("epoch", 0)), logAppendTime: s.has("appendtime")}
	origin := OriginClient
	switch {
	case s.has("abort"):
		p.marker, origin = "abort", OriginCoordinator
	case s.has("commit"):
		p.marker, origin = "commit", OriginCoordinator
	}
	if s.has("base") {
		origin = OriginReplica
	}
	a := Append{Batches: p.build(), Origin: origin, ExpectedEpoch: kafka.LeaderEpoch(s.int("expected", -1))}
	s.l.Append(&a, s.leader)
	if a.Err != nil {
		return result(a.Err)
	}
	text := fmt.Sprintf("offsets %d to %d", a.BaseOffset, a.LastOffset)
	if a.AppendTimeMs >= 0 {
		text += fmt.Sprintf(" time %d", a.AppendTimeMs)
	}
	if a.Duplicate {
		text += " duplicate"
	}
	return text + "\n"
}

func (s *scripted) read() string {
	bound := map[string]Bound{"": ToLogEnd, "hw": ToHighWatermark, "lso": ToLastStable}[s.args["bound"]]
	r, err := s.l.Read(&Cursor{}, kafka.Offset(s.int("from", 0)), int(s.int("bytes", 1<<20)), bound, !s.has("strict"))
	if err != nil {
		return result(err)
	}
	if r.File.LenBytes == 0 {
		return fmt.Sprintf("nothing, next %d, more %v\n", r.Next, r.More)
	}
	defer r.File.Src.Release()
	p := make([]byte, r.File.LenBytes)
	if _, err := r.File.Src.ReadAt(p, r.File.PosBytes); err != nil {
		return result(err)
	}
	var b strings.Builder
	for len(p) > 0 {
		h, err := batch.Parse(p)
		if err != nil {
			return result(err)
		}
		fmt.Fprintf(&b, "[%d-%d]", h.BaseOffset, h.LastOffset())
		p = p[h.SizeBytes():]
	}
	fmt.Fprintf(&b, " next %d, more %v", r.Next, r.More)
	for _, a := range r.Aborted {
		fmt.Fprintf(&b, ", aborted %d from %d", a.ProducerID, a.FirstOffset)
	}
	return b.String() + "\n"
}

// damage changes a file behind the log's back: cut=N bytes off its end, or
// flip= the byte at a position.
func (s *scripted) damage() string {
	f, err := s.fs.Open(filepath.Join(s.l.Dir(), s.args["file"]), vfs.ReadWrite, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	if s.has("cut") {
		return result(f.Truncate(size - s.int("cut", 0)))
	}
	at := s.int("flip", 0)
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		s.t.Fatal(err)
	}
	b[0] ^= 0xff
	_, err = f.WriteAt(b, at)
	return result(err)
}

func (s *scripted) show() string {
	var b strings.Builder
	t := s.l.Tail()
	fmt.Fprintf(&b, "start %d local %d end %d hw %d stable %d flushed %d epoch %d\n", t.LogStart, t.LocalLogStart, t.LogEnd, t.HighWatermark, t.LastStable, t.Flushed, t.Epoch)
	if s.has("tail") {
		return b.String()
	}
	segments, err := s.l.Segments()
	if err != nil {
		return result(err)
	}
	for _, g := range segments {
		fmt.Fprintf(&b, "segment %d to %d, %d bytes\n", g.Base, g.End, g.SizeBytes)
	}
	for _, e := range s.l.pub.epochs {
		fmt.Fprintf(&b, "epoch %d from %d\n", e.Epoch, e.Start)
	}
	producers, err := s.l.Producers()
	if err != nil {
		return result(err)
	}
	for _, p := range producers {
		fmt.Fprintln(&b, p)
	}
	if s.has("files") {
		infos, err := s.fs.ReadDir(s.l.Dir())
		if err != nil {
			return result(err)
		}
		for _, i := range infos {
			fmt.Fprintln(&b, i.Name, i.SizeBytes)
		}
	}
	return b.String()
}
