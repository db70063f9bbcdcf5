// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// complaint is what DumpLogSegments says of a file that it finds wrong. It
// exits with 0 all the same.
var complaint = regexp.MustCompile(`(?i)isvalid: false|mismatch|out of order|non-?consecutive|corrupt|exception|invalid|error|could not|unable|failed|skipping|unknown`)

// dataLine is a line that quotes a record: what is quoted is no complaint.
var dataLine = regexp.MustCompile(`^\| offset: `)

// TestKafkaToolsReadEveryFile has gregor write every kind of file, through a
// clean stop, a kill and another clean stop, and Kafka's own DumpLogSegments
// read each of them.
func TestKafkaToolsReadEveryFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	all := variety(8000)
	n := startGregor(t, dir)
	all.create(t, n.Address)
	all.write(t, n.Address, 0)
	n.Stop(t)
	t.Run("after a clean stop", func(t *testing.T) { dumpEverything(t, dir) })

	n = startGregor(t, dir)
	grown := all.grow(10_000)
	grown.write(t, n.Address, 8000)
	n.Kill()
	n = startGregor(t, dir)
	grown.verify(t, n.Address)
	last := all.grow(10_500)
	last.write(t, n.Address, 10_000)
	last.verify(t, n.Address)
	n.Stop(t)
	t.Run("after a kill", func(t *testing.T) { dumpEverything(t, dir) })
}

// dumpEverything runs DumpLogSegments over all files under a log directory.
func dumpEverything(t *testing.T, dir string) {
	t.Helper()
	byKind := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		kind := filepath.Ext(path)
		if strings.HasPrefix(filepath.Base(filepath.Dir(path)), "__cluster_metadata") {
			kind = "metadata" + kind
		}
		byKind[kind] = append(byKind[kind], path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		kind    string
		options []string
		least   int    // so many files of the kind there must be
		expect  string // each file's dump holds this
	}{
		{".log", []string{"--deep-iteration", "--print-data-log"}, 8, "baseOffset: "},
		{".index", []string{"--index-sanity-check"}, 8, "passed sanity check"},
		{".index", []string{"--verify-index-only"}, 8, "Dumping "},
		{".timeindex", []string{"--index-sanity-check"}, 8, "passed sanity check"},
		{".timeindex", []string{"--verify-index-only"}, 8, "Dumping "},
		{".snapshot", nil, 1, "producerId: "},
		{"metadata.log", []string{"--cluster-metadata-decoder"}, 1, "baseOffset: "},
		{"metadata.checkpoint", []string{"--cluster-metadata-decoder"}, 1, "FEATURE_LEVEL_RECORD"},
	} {
		t.Run(strings.TrimPrefix(row.kind, ".")+strings.Join(row.options, ""), func(t *testing.T) {
			files := byKind[row.kind]
			if len(files) < row.least {
				t.Fatalf("%d files of this kind, expected %d or more", len(files), row.least)
			}
			out := dump(t, files, row.options)
			if got := strings.Count(out, "Dumping "); got != len(files) {
				t.Errorf("%d of %d files were dumped", got, len(files))
			}
			if !strings.Contains(out, row.expect) {
				t.Errorf("no %q in\n%s", row.expect, head(out))
			}
			reportComplaints(t, out)
			if row.kind == ".log" {
				if got := strings.Count(out, "\n| offset: "); got < 8000 {
					t.Errorf("only %d records were shown", got)
				}
			}
		})
	}
}

func reportComplaints(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		line = strings.ReplaceAll(line, os.TempDir(), "") // however it is called
		if !dataLine.MatchString(line) && complaint.MatchString(line) {
			t.Errorf("complaint: %s", strings.TrimSpace(line))
		}
	}
}

// firstOffset is what DumpLogSegments 4.3.1 says in deep iteration of every
// segment but a partition's first, whoever wrote it: it takes -1 for the
// offset before. Only the segment's own base offset makes it harmless.
var firstOffset = regexp.MustCompile(`Non-consecutive offsets in .*/0*(\d+)\.log\n\s*-1 is followed by (\d+)\n`)

func dump(t *testing.T, files, options []string) string {
	t.Helper()
	all, err := toolbox.Run(t, toolTimeout, "org.apache.kafka.tools.DumpLogSegments", "", append([]string{"--files", strings.Join(files, ",")}, options...)...)
	if err != nil || all.Code != 0 {
		t.Fatalf("DumpLogSegments: %v, exit code %d\n%s", err, all.Code, head(all.Both))
	}
	said := firstOffset.ReplaceAllStringFunc(all.Err, func(pair string) string {
		if found := firstOffset.FindStringSubmatch(pair); found[1] != found[2] {
			return pair
		}
		return ""
	})
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "SLF4J") && !strings.HasPrefix(line, "WARNING: sun.misc") {
			t.Errorf("DumpLogSegments said: %s", line)
		}
	}
	return all.Out
}

func head(s string) string { return s[:min(len(s), 3000)] }
