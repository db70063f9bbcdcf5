// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

const (
	realPartitions = 6
	// realBytesMax is where the source tree is cut off: enough for a real
	// load, small enough for a test.
	realBytesMax = 24 << 20
	// manyLines reach every partition, whatever their number: fewer may not.
	manyLines = 500
)

// TestRealTextSurvivesTheRoundTrip sends real text files line by line with
// kcat, each line under its number as key, into six partitions, and reads them
// back with two other readers: franz-go and kcat itself.
func TestRealTextSurvivesTheRoundTrip(t *testing.T) {
	kafka.Need(t, "kcat")
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	for name, text := range realTexts(t) {
		for _, codec := range []string{"none", "lz4", "zstd"} {
			t.Run(name+"/"+codec, func(t *testing.T) { roundTrip(t, n, "real-"+name+"-"+codec, codec, text) })
		}
	}
	n.Stop(t)
}

// realTexts are the texts that this machine has: its package manager's log and
// status, its word list, and the source of the Go toolchain, which is always
// there.
func realTexts(t *testing.T) map[string][]byte {
	t.Helper()
	texts := map[string][]byte{}
	for name, path := range map[string]string{
		"package-log": "/var/log/dpkg.log", "package-status": "/var/lib/dpkg/status", "words": "/usr/share/dict/words",
	} {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			texts[name] = text
		} else {
			kafka.LeftOut(t, path+" is not here")
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	var source bytes.Buffer
	tree, err := filepath.EvalSymlinks(filepath.Join(strings.TrimSpace(string(root)), "src"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		if source.Len() > realBytesMax {
			return filepath.SkipAll
		}
		return err
	})
	if err != nil || source.Len() < 1<<20 {
		t.Fatalf("%d bytes of Go source: %v", source.Len(), err)
	}
	texts["go-source"] = source.Bytes()
	return texts
}

func roundTrip(t *testing.T, n *kafka.Node, topic, codec string, text []byte) {
	t.Helper()
	// A line is what is between two line ends; kcat takes no NUL for anything
	// else than a byte, and no line of these is beyond a record's size.
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	createTopic(t.Context(), t, newAdmin(t, n.Address), topic, realPartitions, nil)
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	write := exec.CommandContext(ctx, "kcat", "-P", "-b", n.Address, "-t", topic, "-K", "\t", "-z", codec, "-X", "enable.idempotence=true", "-X", "linger.ms=5")
	input, err := write.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	write.Stdout, write.Stderr = &said, &said
	if err := write.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(input, 1<<20)
	for i, line := range lines {
		fmt.Fprintf(out, "%d\t%s\n", i, line)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = input.Close()
	if err := write.Wait(); err != nil {
		t.Fatalf("kcat -P: %v\n%s", err, said.String())
	}

	byFranz := newGathering(lines)
	readWithFranz(t, n, topic, byFranz)
	byFranz.complete(t, "franz-go")
	byKcat := newGathering(lines)
	readWithKcat(t, n, topic, byKcat)
	byKcat.complete(t, "kcat")
}

// gathering holds what comes back against what was sent.
type gathering struct {
	lines []string
	seen  []bool
	count int
	// last is the last line number that each partition gave: they only grow.
	last  map[int32]int
	next  map[int32]int64
	wrong error
}

func newGathering(lines []string) *gathering {
	return &gathering{lines: lines, seen: make([]bool, len(lines)), last: map[int32]int{}, next: map[int32]int64{}}
}

func (g *gathering) take(partition int32, offset int64, key, value string) {
	if g.wrong != nil {
		return
	}
	i, err := strconv.Atoi(key)
	last, began := g.last[partition]
	switch {
	case err != nil || i < 0 || i >= len(g.lines):
		g.wrong = fmt.Errorf("partition %d offset %d: key %q", partition, offset, key)
	case g.seen[i]:
		g.wrong = fmt.Errorf("partition %d offset %d: line %d came twice", partition, offset, i)
	case value != g.lines[i]:
		g.wrong = fmt.Errorf("partition %d offset %d: line %d is %q, sent was %q", partition, offset, i, value, g.lines[i])
	case began && i <= last:
		g.wrong = fmt.Errorf("partition %d offset %d: line %d after line %d", partition, offset, i, last)
	case offset != g.next[partition]:
		g.wrong = fmt.Errorf("partition %d: offset %d, expected %d", partition, offset, g.next[partition])
	default:
		g.seen[i], g.last[partition], g.next[partition] = true, i, offset+1
		g.count++
	}
}

func (g *gathering) complete(t *testing.T, reader string) {
	t.Helper()
	if g.wrong != nil {
		t.Fatalf("%s: %v", reader, g.wrong)
	}
	if g.count != len(g.lines) {
		t.Fatalf("%s: %d lines of %d", reader, g.count, len(g.lines))
	}
	if len(g.lines) >= manyLines && len(g.next) != realPartitions {
		t.Fatalf("%s: lines in %d partitions of %d", reader, len(g.next), realPartitions)
	}
}

func readWithFranz(t *testing.T, n *kafka.Node, topic string, g *gathering) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	from := map[int32]kgo.Offset{}
	for partition := range int32(realPartitions) {
		from[partition] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for g.count < len(g.lines) && g.wrong == nil {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatal(e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) { g.take(r.Partition, r.Offset, string(r.Key), string(r.Value)) })
	}
}

func readWithKcat(t *testing.T, n *kafka.Node, topic string, g *gathering) {
	t.Helper()
	// %S is the value's length: with it a value may hold anything.
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	read := exec.CommandContext(ctx, "kcat", "-C", "-q", "-b", n.Address, "-t", topic, "-o", "beginning", "-e", "-X", "check.crcs=true",
		"-f", "%p %o %k %S\n%s\n")
	var said bytes.Buffer
	read.Stderr = &said
	stdout, err := read.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(stdout, 1<<20)
	for {
		head, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		var partition, size int32
		var offset int64
		var key string
		if _, err := fmt.Sscanf(head, "%d %d %s %d\n", &partition, &offset, &key, &size); err != nil {
			t.Fatalf("kcat wrote %q: %v", head, err)
		}
		value := make([]byte, size+1)
		if _, err := io.ReadFull(in, value); err != nil {
			t.Fatal(err)
		}
		g.take(partition, offset, key, string(value[:size]))
	}
	if err := read.Wait(); err != nil {
		t.Fatalf("kcat -C: %v\n%s", err, said.String())
	}
}
