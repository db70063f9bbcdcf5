// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gregor/test/golden"
)

// The scripts in testdata/load are one start each: a file, an environment and
// flags, and below "-- want --" what comes of them.
func TestLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/load/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(text), "-- want --\n")
			golden.Check(t, file, input+"-- want --\n"+outcome(sources(input)))
		})
	}
}

// sources takes a script apart.
func sources(input string) Sources {
	src := Sources{Hostname: "thishost"}
	parts := map[string][]string{}
	name := ""
	for _, line := range strings.Split(input, "\n") {
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			name = strings.TrimSuffix(rest, " --")
			parts[name] = []string{}
			continue
		}
		parts[name] = append(parts[name], line)
	}
	if file, ok := parts["server.properties"]; ok {
		src.File = "server.properties"
		src.Read = func(string) ([]byte, error) { return []byte(strings.Join(file, "\n")), nil }
	}
	for _, line := range parts["environ"] {
		if line != "" {
			src.Environ = append(src.Environ, line)
		}
	}
	for _, line := range parts["set"] {
		if line != "" {
			src.Set = append(src.Set, line)
		}
	}
	return src
}

// outcome shows what a caller gets.
func outcome(src Sources) string {
	var b strings.Builder
	n, warnings, err := Load(src)
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Message)
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintf(&b, "error: %s\n", line)
		}
		return b.String()
	}
	id, configured := n.NodeID()
	fmt.Fprintf(&b, "node %d (configured: %v, standalone: %v)\n", id, configured, n.standalone)
	for _, l := range n.Listeners() {
		fmt.Fprintf(&b, "listener %s %s %s\n", l.Name, l.Protocol, l.Address())
	}
	for _, l := range n.ControllerListeners() {
		fmt.Fprintf(&b, "controller listener %s %s %s\n", l.Name, l.Protocol, l.Address())
	}
	for _, l := range n.Advertised(nil, "thishost") {
		fmt.Fprintf(&b, "advertised %s %s\n", l.Name, l.Address())
	}
	q := n.Quorum()
	fmt.Fprintf(&b, "among brokers %s; voter %s %s (static: %v)\n", n.InterBrokerListener(), q.ListenerName, q.Endpoint.Address(), q.Static)
	fmt.Fprintf(&b, "directories %s; metadata %s\n", strings.Join(n.LogDirs(), " "), n.MetadataLogDir())
	for _, key := range slices.Sorted(maps.Keys(n.values)) {
		fmt.Fprintf(&b, "set %s=%s\n", key, n.values[key].text)
	}
	return b.String()
}

func TestReadFails(t *testing.T) {
	_, _, err := Load(Sources{File: "gone.properties", Read: func(string) ([]byte, error) { return nil, fs.ErrNotExist }})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A caller can tell which key is to blame and where it was set.
func TestKeyErrors(t *testing.T) {
	_, _, err := Load(Sources{Set: []string{"num.partitions=0"}})
	var k *KeyError
	if !errors.As(err, &k) || k.Key != "num.partitions" || k.Value != "0" || k.Origin.Kind != FromSet {
		t.Errorf("%#v", err)
	}
}

func TestAdvertisedFollowsTheBoundPort(t *testing.T) {
	n, _, err := Load(Sources{Set: []string{
		"listeners=PLAINTEXT://127.0.0.1:0,B://:0",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT",
		"gregor.insecure.public.listeners=B",
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := n.Advertised(map[string]int{"PLAINTEXT": 4001, "B": 4002}, "thishost")
	want := []Listener{{"PLAINTEXT", "PLAINTEXT", "127.0.0.1", 4001}, {"B", "PLAINTEXT", "thishost", 4002}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConnectionsPerIP(t *testing.T) {
	n, _, err := Load(Sources{Set: []string{"max.connections.per.ip=0", "max.connections.per.ip.overrides=127.0.0.1:7, [::1]:8,::ffff:10.0.0.1:9"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): 7, netip.MustParseAddr("::1"): 8, netip.MustParseAddr("10.0.0.1"): 9}
	if got := n.perIP; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Internal topics get as many replicas as a small cluster can have, and what
// was set by hand where it was.
func TestInternalReplicationFactor(t *testing.T) {
	unset, _, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := Load(Sources{Set: []string{"offsets.topic.replication.factor=3"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n               *Node
		brokers, voters int
		want            int16
	}{
		{unset, 0, 1, 1}, {unset, 1, 1, 1}, {unset, 2, 1, 2}, {unset, 1, 3, 3}, {unset, 5, 3, 3}, {set, 1, 1, 3},
	} {
		if got := c.n.InternalReplicationFactor(OffsetsTopicReplicationFactor, c.brokers, c.voters); got != c.want {
			t.Errorf("%d brokers, %d voters: got %d, want %d", c.brokers, c.voters, got, c.want)
		}
	}
}

func TestRequestMemory(t *testing.T) {
	n, _, err := Load(Sources{Set: []string{"queued.max.request.bytes=150000000"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := n.RequestMemoryBytes(); got != 150000000 {
		t.Errorf("got %d", got)
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "abc", 0}, {"acb", "abc", 1}, {"kitten", "sitting", 3}, {"log.dir", "log.dirs", 1}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if back := editDistance(c.b, c.a); back != c.want {
			t.Errorf("%q to %q: %d, want %d", c.b, c.a, back, c.want)
		}
	}
}

func TestDocumentIsFresh(t *testing.T) {
	golden.Check(t, "../docs/config.md", Document())
}

// No file makes a start panic, and what is taken can be used.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/load/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), "-- want --\n")
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, _, err := Load(Sources{File: "f", Read: func(string) ([]byte, error) { return []byte(text), nil }, Hostname: "h"})
		if err != nil {
			return
		}
		for _, l := range n.Advertised(nil, "h") {
			if l.Host == "" || l.Name == "" {
				t.Fatalf("advertised %+v", l)
			}
		}
		if len(n.Listeners()) == 0 || len(n.LogDirs()) != 1 || n.InterBrokerListener() == "" || Resolve(nil, nil, nil, n).SegmentBytes <= 0 {
			t.Fatalf("%+v", n)
		}
		DescribeTopic(nil, nil, nil, n)
	})
}
