// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/test/script"
)

// TestScripts runs testdata/*.txt.
func TestScripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func([]string) string {
		s := &scriptLog{t: t, fs: vfs.NewMemory(), o: Options{Dir: "/meta"}}
		makeMeta(t, s.fs)
		return func(commands []string) string {
			var out strings.Builder
			for _, line := range commands {
				out.WriteString(s.run(strings.Fields(line)))
			}
			return out.String()
		}
	})
}

type scriptLog struct {
	t   *testing.T
	fs  *vfs.Memory
	o   Options
	log *Log
	n   int
}

func (s *scriptLog) run(args []string) string {
	show, err := s.command(args[0], args[1:])
	if err != nil {
		return show + "error: " + err.Error() + "\n"
	}
	if show == "" {
		return "ok\n"
	}
	return show
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *scriptLog) command(name string, args []string) (string, error) {
	if s.log == nil && slices.Contains([]string{"form", "append", "commit", "checkpoint", "state", "log", "replay", "quorum", "receive", "install"}, name) {
		return "", errors.New("not open")
	}
	switch name {
	case "open": // open [segmentBytes [retentionBytes]]
		if s.log != nil {
			if err := s.log.Close(); err != nil {
				return "", err
			}
		}
		s.o.FS, s.log = s.fs, nil
		if len(args) > 0 {
			s.o.SegmentBytesMax = number(args[0])
		}
		if len(args) > 1 {
			s.o.RetentionBytes = number(args[1])
		}
		var err error
		s.log, err = Open(s.o)
		if err != nil {
			return "", err
		}
		return s.state(), nil
	case "cutat": // cutat offset: gregor.metadata.cut.offset of the next starts
		s.o.CutOffset = kafka.Offset(number(args[0]))
		return "", nil
	case "crash": // what was not synced is lost
		s.fs = s.fs.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
		return s.command("open", nil)
	case "form":
		return "", s.log.Form([]metarec.Voter{NewVoter(1, kafka.DirectoryID{15: 9})}, []byte("conf"), nil, 33, 1000)
	case "append": // append index epoch:records...
		return "", s.log.Append(s.entries(args))
	case "commit":
		s.log.Commit(uint64(number(args[0])))
		return s.state(), nil
	case "checkpoint":
		c, err := s.log.WriteCheckpoint(State{End: kafka.Offset(number(args[0])), ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords})
		return fmt.Sprintf("%s index %d\n", c.Name(), c.Index), err
	case "state":
		return s.state(), nil
	case "log":
		return s.dump(), nil
	case "files":
		return s.files()
	case "replay":
		return s.replay(kafka.Offset(number(args[0])))
	case "chop": // chop file bytes: cuts bytes off the end
		return "", s.edit(args[0], func(f vfs.File, size int64) error { return f.Truncate(size - number(args[1])) })
	case "flip": // flip file pos
		return "", s.edit(args[0], func(f vfs.File, _ int64) error {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, number(args[1])); err != nil {
				return err
			}
			b[0] ^= 0xff
			_, err := f.WriteAt(b, number(args[1]))
			return err
		})
	case "zero": // zero file pos bytes: as sectors that were never written
		return "", s.edit(args[0], func(f vfs.File, _ int64) error {
			_, err := f.WriteAt(make([]byte, number(args[2])), number(args[1]))
			return err
		})
	case "write": // write file text
		f, err := s.fs.Open(s.path(args[0]), vfs.Create, 0o644)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte(strings.Join(args[1:], " ")), 0)
		return "", err
	case "remove":
		return "", s.fs.Remove(s.path(args[0]))
	case "quorum": // quorum epoch commit
		return "", s.log.SaveQuorum(QuorumState{Leader: 1, Epoch: kafka.LeaderEpoch(number(args[0])), Voted: 1, Commit: uint64(number(args[1])), HasCommit: true})
	case "receive": // receive end epoch index
		return "", s.receive(args)
	case "install": // install end epoch
		return s.install(args)
	}
	return "", fmt.Errorf("unknown command %q", name)
}

func noRecords(yield func(metarec.Record) bool) {
	yield(&metarec.FeatureLevel{Name: "metadata.version", Level: 33})
}

func (s *scriptLog) entries(args []string) []Entry {
	index := uint64(number(args[0]))
	var es []Entry
	for i, a := range args[1:] {
		epoch, count, _ := strings.Cut(a, ":")
		s.n++
		es = append(es, Entry{Index: index + uint64(i), Epoch: kafka.LeaderEpoch(number(epoch)), Batch: testBatch(s.n, int(number(count)))})
	}
	return es
}

// testBatch is a batch that no other is equal to.
func testBatch(n, records int) []byte {
	var values [][]byte
	for i := range records {
		values = append(values, metarec.Marshal(nil, &metarec.FeatureLevel{Name: fmt.Sprintf("f-%d-%d", n, i), Level: 1}, 33))
	}
	return DataBatch(int64(1000+n), values)
}

func (s *scriptLog) state() string {
	l := s.log
	c := l.Committed()
	var b strings.Builder
	fmt.Fprintf(&b, "index %d to %d, end %d, committed index %d end %d epoch %d", l.FirstIndex(), l.LastIndex(), l.End(), c.Index, c.End, c.Epoch)
	if ck, ok := l.Checkpoint(); ok {
		fmt.Fprintf(&b, ", checkpoint %d-%d index %d", ck.End, ck.Epoch, ck.Index)
	}
	return b.String() + "\n"
}

func (s *scriptLog) dump() string {
	var b strings.Builder
	l := s.log
	for i, e := range l.entries {
		fmt.Fprintf(&b, "index %d offset %d records %d epoch %d in %s at %d\n", l.before.index+1+uint64(i), e.base, e.count, e.epoch, e.seg.name, e.pos)
	}
	return b.String()
}

func (s *scriptLog) files() (string, error) {
	infos, err := s.fs.ReadDir(s.path(""))
	var b strings.Builder
	for _, i := range infos {
		fmt.Fprintf(&b, "%s %d\n", i.Name, i.SizeBytes)
	}
	return b.String(), err
}

func (s *scriptLog) replay(from kafka.Offset) (string, error) {
	var b strings.Builder
	next, err := s.log.Replay(from, func(batch Batch) error {
		fmt.Fprintf(&b, "%d to %d epoch %d:", batch.Base, batch.Last, batch.Epoch)
		for _, r := range batch.Records {
			fmt.Fprintf(&b, " %s", r.(*metarec.FeatureLevel).Name)
		}
		b.WriteString("\n")
		return nil
	})
	fmt.Fprintf(&b, "next %d\n", next)
	return b.String(), err
}

func (s *scriptLog) path(name string) string { return filepath.Join("/meta", DirName, name) }

func (s *scriptLog) edit(name string, change func(f vfs.File, size int64) error) error {
	f, err := s.fs.Open(s.path(name), vfs.ReadWrite, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	return change(f, size)
}

// receive brings a checkpoint of another node beside the log.
func (s *scriptLog) receive(args []string) error {
	end, epoch, index := kafka.Offset(number(args[0])), kafka.LeaderEpoch(number(args[1])), uint64(number(args[2]))
	other := vfs.NewMemory()
	if err := other.MkdirAll("/x"); err != nil {
		return err
	}
	c := Checkpoint{End: end, Epoch: epoch, Index: index, ConfState: []byte("conf"), TimestampMs: 5000}
	l := &Log{fs: other, dir: "/x"}
	c, err := l.writeCheckpointFile(c, Members{Voters: []metarec.Voter{NewVoter(2, kafka.DirectoryID{15: 8})}, KRaftVersion: 1},
		State{MetadataVersion: 33, Records: noRecords})
	if err != nil {
		return err
	}
	b, err := vfs.ReadFile(other, "/x/"+c.Name(), 1<<20)
	if err != nil {
		return err
	}
	in, err := s.log.Receive(c, 1<<20)
	if err != nil {
		return err
	}
	if _, err := in.Write(b); err != nil {
		return err
	}
	_, err = in.Finish()
	return err
}

func (s *scriptLog) install(args []string) (string, error) {
	c := Checkpoint{End: kafka.Offset(number(args[0])), Epoch: kafka.LeaderEpoch(number(args[1]))}
	if err := s.log.Install(c); err != nil {
		return "", err
	}
	return s.state(), nil
}
