// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
)

// The rules R4 and R9: directories that Kafka kept or formatted.

// fixture copies a directory that Kafka wrote into a memory file system.
func fixture(t *testing.T, name string) (*vfs.Memory, kafka.DirectoryID) {
	t.Helper()
	m := vfs.NewMemory()
	root := filepath.Join("testdata", "kafka", name)
	var directory kafka.UUID
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if d.Name() == "meta.properties" {
			for line := range strings.Lines(string(b)) {
				if id, ok := strings.CutPrefix(line, "directory.id="); ok {
					directory, err = kafka.ParseUUID(strings.TrimSpace(id))
				}
			}
			return err
		}
		rel, _ := filepath.Rel(root, path)
		to := filepath.Join("/meta", rel)
		if err := m.MkdirAll(filepath.Dir(to)); err != nil {
			return err
		}
		f, err := m.Open(to, vfs.Create, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, 0)
		return errors.Join(err, f.SyncData(), f.Close(), m.SyncDir(filepath.Dir(to)), m.SyncDir("/meta"), m.SyncDir("/"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, kafka.DirectoryID(directory)
}

func fixtureOptions(t *testing.T, name string) Options {
	m, d := fixture(t, name)
	o := singleOptions(t, m, "/meta")
	o.DirectoryID = d
	return o
}

// startFixture opens what Kafka left and lets this node lead it.
func startFixture(t *testing.T, o Options) *Node {
	t.Helper()
	var n *Node
	o.Image = func() Applied { return appliedBy(t, n.Log()) }
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

func appliedBy(t testing.TB, log *metalog.Log) Applied {
	l := loader.New(log)
	if _, _, err := l.Load(); err != nil {
		t.Error(err)
	}
	img := l.Image()
	return Applied{End: l.Next(), MetadataVersion: img.MetadataVersion(), Records: img.Records()}
}

func topicsOf(t *testing.T, log *metalog.Log) (names []string) {
	t.Helper()
	l := loader.New(log)
	if _, _, err := l.Load(); err != nil {
		t.Fatal(err)
	}
	for topic := range l.Image().Topics() {
		names = append(names, topic.Name)
	}
	return names
}

// R4: no commit index in quorum-state means that Kafka wrote last; then the
// latest voters record is the quorum. A lone voter has all of its log
// committed, and writes a checkpoint at once behind which it serves.
func TestR4KafkaWroteLast(t *testing.T) {
	o := fixtureOptions(t, "dynamic")
	n := startFixture(t, o)
	l := n.Leader()
	if !l.Leading || l.Epoch != 3 {
		t.Fatalf("leadership %+v, want that of Kafka's epoch+1", l)
	}
	if got, want := topicsOf(t, n.Log()), []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
	waitFor(t, func() bool {
		ck, _ := n.Log().Checkpoint()
		return ck.ConfState != nil && n.Log().FirstIndex() > ck.Index
	})
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Now we wrote last; the next start goes by our own checkpoint.
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer again.Kill()
	if l := again.Leader(); l.Epoch != 4 || !l.Leading {
		t.Errorf("leadership %+v", l)
	}
	if got := topicsOf(t, again.Log()); len(got) != 3 {
		t.Errorf("topics %v", got)
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// R4, the other half: one of two voters must not lead alone.
func TestR4OneOfTwoVotersDoesNotLeadAlone(t *testing.T) {
	o := fixtureOptions(t, "pair")
	s := newSim(t, 0)
	o.Transport = &simNode{s: s}
	o.ensureDefaults()
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	if got := len(n.core.conf.GetVoters()); got != 2 {
		t.Fatalf("%d voters", got)
	}
	for range 5 * electionTicks {
		n.core.tick()
		if err := n.core.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if l := n.core.leadership(); l.Leading || l.Leader != kafka.NoNode {
		t.Errorf("leadership %+v", l)
	}
	if got := n.core.log.Committed().Index; got != 1 {
		t.Errorf("committed to index %d, but nobody knows", got)
	}
}

// R4: Kafka has added a voter behind the newest checkpoint. By the checkpoint
// this node would be alone.
func TestR4VoterThatKafkaAddedCounts(t *testing.T) {
	fs := vfs.NewMemory()
	o := singleOptions(t, fs, "/meta")
	n := startNode(t, o)
	n.Kill()
	log, err := metalog.Open(metalog.Options{FS: fs, Dir: "/meta"})
	if err != nil {
		t.Fatal(err)
	}
	own, _ := log.MembersAt(log.LastIndex())
	added := metalog.ControlBatch(1, &metarec.KRaftVoters{Voters: append(own.Voters, voterNamed(2))})
	if err := log.Append([]metalog.Entry{{Index: log.LastIndex() + 1, Epoch: 1, Batch: added}}); err != nil {
		t.Fatal(err)
	}
	// As Kafka leaves it: no commit index.
	if err := log.SaveQuorum(metalog.QuorumState{Leader: 1, Epoch: 1, Voted: -1}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	o.Transport = &simNode{s: newSim(t, 0)}
	n, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	for range 5 * electionTicks {
		n.core.tick()
		if err := n.core.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if l := n.core.leadership(); l.Leading || len(n.core.conf.GetVoters()) != 2 {
		t.Errorf("leadership %+v with voters %x", l, n.core.conf.GetVoters())
	}
}

// R9: a directory that Kafka kept with a static quorum of this node is taken
// over, and the first batch names the voters.
func TestR9StaticQuorumOfOneIsTakenOver(t *testing.T) {
	o := fixtureOptions(t, "static")
	before, err := metalog.Open(metalog.Options{FS: o.FS, Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	end := before.End()
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := Open(o) // without an image: no checkpoint hides what is written
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if got := topicsOf(t, n.Log()); !slices.Equal(got, []string{"one"}) {
		t.Errorf("topics %v", got)
	}
	index, ok := n.Log().IndexBefore(end)
	if !ok {
		t.Fatalf("no batch ends at %d", end)
	}
	es, err := n.Log().Entries(index+1, index+2, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []int16{metarec.TypeLeaderChange, metarec.TypeKRaftVersion, metarec.TypeKRaftVoters}
	if got := controlTypes(t, es[0].Batch); !slices.Equal(got, want) {
		t.Errorf("first batch holds %v", got)
	}
	m, _ := n.Log().MembersAt(n.Log().LastIndex())
	if len(m.Voters) != 1 || m.Voters[0].DirectoryID != o.DirectoryID || m.KRaftVersion != 1 {
		t.Errorf("quorum %+v", m)
	}
	if q, _ := n.Log().Quorum(); q.Voted != 1 {
		t.Errorf("quorum-state %+v", q)
	}
	n.Kill()
	again := startFixture(t, o)
	if l := again.Leader(); !l.Leading || l.Epoch != 3 {
		t.Errorf("second start: %+v", l)
	}
}

// R9: a crash between the vote and the first own batch must not lose the static
// quorum, which nothing but quorum-state tells.
func TestR9StaticQuorumSurvivesACrash(t *testing.T) {
	clean := fixtureOptions(t, "static")
	mem := clean.FS.(*vfs.Memory)
	for cut := int64(1); ; cut++ {
		crash := vfs.NewCrash(mem.CrashClone(vfs.Loss{}))
		crash.CutAt(cut)
		o := clean
		o.FS, o.Failed = crash, nil
		n, err := Open(o)
		if err == nil {
			err = n.Start()
			n.Kill()
		}
		if err == nil && crash.Calls() < cut {
			return // the whole start went through
		}
		o.FS = crash.Image(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
		o.Failed = clean.Failed
		after, err := Open(o)
		if err != nil {
			t.Fatalf("cut at call %d: %v", cut, err)
		}
		if err := after.Start(); err != nil || !after.Leader().Leading {
			t.Fatalf("cut at call %d: %v, %+v", cut, err, after.Leader())
		}
		if got := topicsOf(t, after.Log()); !slices.Equal(got, []string{"one"}) {
			t.Fatalf("cut at call %d: topics %v", cut, got)
		}
		after.Kill()
	}
}

// R9: of a static quorum of several voters nobody here can tell who they are.
func TestR9StaticQuorumOfSeveralIsRefused(t *testing.T) {
	o := fixtureOptions(t, "static")
	name := "/meta/" + metalog.DirName + "/quorum-state"
	f, err := o.FS.Open(name, vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	state := `{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}`
	if _, err := f.WriteAt([]byte(state), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrStaticQuorum) {
		t.Errorf("open: %v", err)
	}
}

// A directory that Kafka's format tool prepared and nobody has run begins here.
func TestFormattedDirectoryBeginsHere(t *testing.T) {
	o := fixtureOptions(t, "formatted")
	n := startFixture(t, o)
	if l := n.Leader(); !l.Leading || l.Epoch != 1 {
		t.Errorf("leadership %+v", l)
	}
	recs, err := n.Log().Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]int16{}
	for _, rec := range recs {
		f := rec.(*metarec.FeatureLevel)
		levels[f.Name] = f.Level
	}
	if levels["metadata.version"] != 33 || levels["group.version"] != 1 || len(levels) != 6 {
		t.Errorf("bootstrap records %v", levels)
	}
	if img := appliedBy(t, n.Log()); img.MetadataVersion != 0 {
		t.Error("bootstrap records count as state before they were proposed")
	}
}

// A directory that was formatted for a static quorum has no voters in it: they
// come from the configuration.
func TestFormattedStaticDirectoryBeginsHere(t *testing.T) {
	o := fixtureOptions(t, "static")
	for _, name := range []string{"quorum-state", "00000000000000000000.log"} {
		if err := o.FS.Remove("/meta/" + metalog.DirName + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	o.Form.Voters[0].DirectoryID = o.DirectoryID
	n := startFixture(t, o)
	if l := n.Leader(); !l.Leading || l.Epoch != 1 {
		t.Errorf("leadership %+v", l)
	}
	if m, _ := n.Log().MembersAt(n.Log().LastIndex()); len(m.Voters) != 1 || m.KRaftVersion != 1 {
		t.Errorf("quorum %+v", m)
	}
	n.Kill()
	again := startFixture(t, o)
	if l := again.Leader(); !l.Leading || l.Epoch != 2 {
		t.Errorf("second start: %+v", l)
	}

	// Without voters in the configuration it waits to be taken in.
	o = fixtureOptions(t, "static")
	for _, name := range []string{"quorum-state", "00000000000000000000.log"} {
		if err := o.FS.Remove("/meta/" + metalog.DirName + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	o.Form = nil
	n = startFixture(t, o)
	if l := n.Leader(); l.Leading || l.Epoch != 0 {
		t.Errorf("a joiner leads: %+v", l)
	}
}
