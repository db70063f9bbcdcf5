// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

var testEndpoints = []metarec.VoterEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}}

func singleOptions(t testing.TB, fs vfs.FS, dir string) Options {
	d := kafka.DirectoryID{0: 0x8e, 1: 0x94, 15: 0x77}
	return Options{
		FS: fs, Dir: dir, NodeID: 1, DirectoryID: d, Endpoints: testEndpoints,
		Form: &Formation{
			Voters:          []metarec.Voter{metalog.NewVoter(1, d, testEndpoints...)},
			Bootstrap:       []metarec.Record{&metarec.FeatureLevel{Name: "metadata.version", Level: 33}},
			MetadataVersion: 33,
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Failed: func(op string, err error) { t.Errorf("node failed: %s: %v", op, err) },
	}
}

func startNode(t testing.TB, o Options) *Node {
	t.Helper()
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

// asStream reads a file from its beginning, as one that comes from a peer.
func asStream(f vfs.File) (io.ReadCloser, error) {
	size, err := f.Size()
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, size), f}, err
}

func propose(t testing.TB, n *Node, records ...metarec.Record) {
	t.Helper()
	var values [][]byte
	for _, r := range records {
		values = append(values, metarec.Marshal(nil, r, 33))
	}
	end := n.Log().End()
	n.Propose(metalog.Proposal{Epoch: n.Leader().Epoch, Base: end, Batch: metalog.DataBatch(time.Now().UnixMilli(), values)})
	moved := make(chan struct{}, 1)
	defer n.Watch(moved)()
	for n.Log().Committed().End < end+kafka.Offset(len(records)) {
		select {
		case <-moved:
		case <-time.After(time.Minute):
			t.Fatal("not committed")
		}
	}
}

func TestSingleVoterLeadsWhenStartReturns(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		n := startNode(t, singleOptions(t, vfs.OS{}, dir))
		l := n.Leader()
		if !l.Leading || l.Leader != 1 || l.Epoch != kafka.LeaderEpoch(run+1) {
			t.Fatalf("run %d: %+v", run, l)
		}
		if end := n.Log().Committed().End; end != l.ServeFrom {
			t.Fatalf("run %d: committed to %d, serves from %d", run, end, l.ServeFrom)
		}
		propose(t, n, &metarec.FeatureLevel{Name: "x", Level: 1})
		if err := n.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// benchStart opens and starts a node without logging.
func benchStart(b *testing.B, dir string) *Node {
	b.Helper()
	o := singleOptions(b, vfs.OS{}, dir)
	o.Logger = nil
	return startNode(b, o)
}

// Nothing to formed and leading.
func BenchmarkStartEmpty(b *testing.B) {
	for b.Loop() {
		benchStart(b, b.TempDir()).Kill()
	}
}

// A small log, one more epoch each time.
func BenchmarkReopenSmall(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		benchStart(b, dir).Kill()
	}
}

// BenchmarkReopen20000 opens what may at most lie behind a checkpoint.
func BenchmarkReopen20000(b *testing.B) {
	dir := b.TempDir()
	n := benchStart(b, dir)
	fill(b, n, 20_000)
	n.Kill()
	b.ResetTimer()
	for b.Loop() {
		benchStart(b, dir).Kill()
	}
}

// fill proposes count batches, a thousand at a time.
func fill(b *testing.B, n *Node, count int) {
	b.Helper()
	value := [][]byte{metarec.Marshal(nil, &metarec.FeatureLevel{Name: "a feature of some length", Level: 1}, 33)}
	moved := make(chan struct{}, 1)
	defer n.Watch(moved)()
	for left := count; left > 0; left -= 1000 {
		end := n.Log().End()
		for i := range kafka.Offset(1000) {
			n.Propose(metalog.Proposal{Epoch: n.Leader().Epoch, Base: end + i, Batch: metalog.DataBatch(1, value)})
		}
		for n.Log().Committed().End < end+1000 {
			<-moved
		}
	}
}

// One proposal after the other: what a metadata change waits for.
func BenchmarkProposeOneByOne(b *testing.B) {
	n := benchStart(b, b.TempDir())
	defer n.Kill()
	for b.Loop() {
		propose(b, n, &metarec.FeatureLevel{Name: "x", Level: 1})
	}
}

// A thousand in flight share an fdatasync.
func BenchmarkPropose1000(b *testing.B) {
	n := benchStart(b, b.TempDir())
	defer n.Kill()
	for b.Loop() {
		fill(b, n, 1000)
	}
}
