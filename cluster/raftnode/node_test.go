// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
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
		case <-time.After(5 * time.Second):
			t.Fatal("not committed")
		}
	}
}

func TestSingleVoterLeadsWhenStartReturns(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		n, err := Open(singleOptions(t, vfs.OS{}, dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
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

func BenchmarkStartEmpty(b *testing.B) {
	for b.Loop() {
		o := singleOptions(b, vfs.OS{}, b.TempDir())
		o.Logger = nil
		n, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(); err != nil {
			b.Fatal(err)
		}
		n.Kill()
	}
}

func BenchmarkReopenSmall(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		o := singleOptions(b, vfs.OS{}, dir)
		o.Logger = nil
		n, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(); err != nil {
			b.Fatal(err)
		}
		n.Kill()
	}
}
