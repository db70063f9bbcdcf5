// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fs vfs.FS, name, content string) {
	t.Helper()
	ok(t, fs.MkdirAll("/data"))
	ok(t, vfs.WriteFileAtomic(fs, "/data/"+name, []byte(content)))
}

func read(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	b, err := vfs.ReadFile(fs, "/data/"+name, 1<<20)
	ok(t, err)
	return string(b)
}

const directoryID = "8YkUe2K1Smavvs6jKUVzNw"

func TestPropertiesThatKafkaWrites(t *testing.T) {
	fs := vfs.NewMemory()
	write(t, fs, "meta.properties", "#\n#Mon Nov 23 02:49:06 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n"+
		"directory.id="+directoryID+"\nnode.id=7\nversion=1\n")
	p, found, err := ReadProperties(fs, "/data")
	if err != nil || !found || p.ClusterID != "MkU3OEVBNTcwNTJENDM2Qk" || p.NodeID != 7 || p.DirectoryID.String() != directoryID {
		t.Fatalf("%+v, %v, %v", p, found, err)
	}
	if _, found, err := ReadProperties(fs, "/elsewhere"); found || err != nil {
		t.Fatal("a directory without the file:", found, err)
	}
}

func TestJavaPropertiesSyntax(t *testing.T) {
	for _, test := range []struct{ text, key, want string }{
		{"a=b", "a", "b"},
		{"a = b ", "a", "b "},
		{"a:b", "a", "b"},
		{"a b c", "a", "b c"},
		{"  a\t:\t b", "a", "b"},
		{"a", "a", ""},
		{"a=", "a", ""},
		{"a==b", "a", "=b"},
		{`a\=b=c`, "a=b", "c"},
		{`a\ b=c`, "a b", "c"},
		{`a\\=c`, `a\`, "c"},
		{"a=b\\\n   c", "a", "bc"},
		{"a=b\\\\\nc=d", "a", `b\`},
		{"a=b\r\nc=d", "c", "d"},
		{"#a=b\n!a=c\na=d", "a", "d"},
		{"a=\\u00e9\\u20AC\\ud83d\\ude00", "a", "é€😀"},
		{"a=\xe9", "a", "é"}, // Latin-1
		{`a=\t\n\q`, "a", "\t\nq"},
		{"a=1\na=2", "a", "2"},
		{"a=b\\", "a", "b"},
	} {
		keys, err := parseJavaProperties([]byte(test.text))
		if got, there := keys[test.key]; err != nil || !there || got != test.want {
			t.Errorf("%q: %q, %v, want %s=%q", test.text, keys, err, test.key, test.want)
		}
	}
	if _, err := parseJavaProperties([]byte(`a=\u12`)); err == nil {
		t.Error("half an escape was taken")
	}
}

func TestPropertiesRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := Properties{
			ClusterID:   rapid.StringMatching(`[ -~é€😀\t]{1,20}`).Draw(r, "cluster"),
			NodeID:      kafka.NodeID(rapid.Int32Min(0).Draw(r, "node")),
			DirectoryID: kafka.DirectoryID{1, 2, 3},
			others:      rapid.MapOf(rapid.StringMatching(`x[ -~é\n\t]{0,9}`), rapid.String()).Draw(r, "others"),
		}
		got, err := parseProperties(p.append(nil))
		if err != nil {
			r.Fatal(err)
		}
		if !maps.Equal(got.others, p.others) || got.ClusterID != p.ClusterID || got.NodeID != p.NodeID || got.DirectoryID != p.DirectoryID {
			r.Fatalf("%+v became %+v", p, got)
		}
	})
}

func TestPropertiesThatAreRefused(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"version=0\nbroker.id=1\n", "version"},
		{"version=2\ncluster.id=x\nnode.id=1\n", "version"},
		{"", "version"},
		{"version=1\nnode.id=1\n", "cluster.id"},
		{"version=1\ncluster.id=x\n", "node.id"},
		{"version=1\ncluster.id=x\nnode.id=-1\n", "node.id"},
		{"version=1\ncluster.id=x\nnode.id=1\ndirectory.id=short\n", "directory.id"},
	} {
		if _, err := parseProperties([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want a word about %s", test.text, err, test.want)
		}
	}
}

func TestCheckpointThatKafkaWrites(t *testing.T) {
	got, err := parseCheckpoint([]byte("0\n3\n__consumer_offsets 49 0\norders.eu 0 1234567890123\na-b 1 5\n"))
	want := offsets{
		{Topic: "__consumer_offsets", Partition: 49}: 0,
		{Topic: "orders.eu"}:                         1234567890123,
		{Topic: "a-b", Partition: 1}:                 5,
	}
	if err != nil || !maps.Equal(got, want) {
		t.Fatal(got, err)
	}
	var w checkpointWriter
	w.add(kafka.TopicPartition{Topic: "orders.eu"}, 7)
	w.add(kafka.TopicPartition{Topic: "a", Partition: 12}, 0)
	if got := string(w.bytes()); got != "0\n2\norders.eu 0 7\na 12 0\n" {
		t.Fatalf("%q", got)
	}
}

func TestCheckpointThatIsDamaged(t *testing.T) {
	for text, line := range map[string]int{
		"":                     1,
		"1\n0\n":               1,
		"0\n":                  2,
		"0\nmany\n":            2,
		"0\n-1\n":              2,
		"0\n2147483647\na 0 1": 2,
		"0\n2\na 0 1\n":        4,
		"0\n1\na 0\n":          3,
		"0\n1\na 0 1 2\n":      3,
		"0\n1\n 0 1\n":         3,
		"0\n1\na -1 1\n":       3,
		"0\n1\na 0 -1\n":       3,
		"0\n1\na 0 1\nb 0 1\n": 4,
		"0\n1\na 0 12":         3,
	} {
		var damage *CheckpointError
		if _, err := parseCheckpoint([]byte(text)); !errors.As(err, &damage) || damage.Line != line {
			t.Errorf("%q: %v, want an error in line %d", text, err, line)
		}
	}
}

// A checkpoint that cannot be read makes recovery longer; it must not stop the
// node or lose what the other files say.
func TestDamagedCheckpointIsTakenAsEmpty(t *testing.T) {
	fs := vfs.NewMemory()
	write(t, fs, recoveryPointFile, "0\n1\na 0 100\n")
	write(t, fs, logStartFile, "garbage")
	write(t, fs, highWatermarkFile, "0\n2\na 0 90\nb 3 5\n")
	var log bytes.Buffer
	all, err := readCheckpoints(fs, "/data", slog.New(slog.NewTextHandler(&log, nil)), true)
	ok(t, err)
	want := map[kafka.TopicPartition]kept{
		{Topic: "a"}:               {recoveryPoint: 100, highWatermark: 90},
		{Topic: "b", Partition: 3}: {highWatermark: 5},
	}
	if !maps.Equal(all.of, want) || all.recoveryLost {
		t.Fatal(all)
	}
	if !strings.Contains(log.String(), logStartFile) {
		t.Fatal("the damaged file was not named:", log.String())
	}
}

func TestFolderNames(t *testing.T) {
	for _, test := range []struct {
		name   string
		tp     kafka.TopicPartition
		suffix string
	}{
		{"orders-0", kafka.TopicPartition{Topic: "orders"}, ""},
		{"a-b-12", kafka.TopicPartition{Topic: "a-b", Partition: 12}, ""},
		{"a--1", kafka.TopicPartition{Topic: "a-", Partition: 1}, ""},
		{"x.y_z-3", kafka.TopicPartition{Topic: "x.y_z", Partition: 3}, ""},
		{"a-delete-0", kafka.TopicPartition{Topic: "a-delete"}, ""},
		{"a-0.8f14e45fceea167a5a36dedd4bea2543-delete", kafka.TopicPartition{Topic: "a"}, "-delete"},
		{"a.b-7.8f14e45f-future", kafka.TopicPartition{Topic: "a.b", Partition: 7}, "-future"},
		{"a-0.1-stray", kafka.TopicPartition{Topic: "a"}, "-stray"},
	} {
		tp, suffix, err := parseFolder(test.name)
		if err != nil || tp != test.tp || suffix != test.suffix {
			t.Errorf("%s: %v %q %v", test.name, tp, suffix, err)
		}
	}
	for _, name := range []string{"lost+found", "-0", "a-", "a-x", "a", "a-00", "a-+1", "a--", "a-0-delete", "a-0.-delete",
		"a-1.x-future.bak", "a-99999999999", ".x-delete", "snapshots"} {
		if tp, suffix, err := parseFolder(name); err == nil {
			t.Errorf("%s was taken as %v %q", name, tp, suffix)
		}
	}
}

func TestMarker(t *testing.T) {
	for _, test := range []struct {
		content string
		epoch   kafka.BrokerEpoch
	}{
		{`{"version":0,"brokerEpoch":4711}`, 4711},
		{`{ "brokerEpoch" : 0, "version" : 0, "later" : "x" }`, 0},
		{`{"version":0}`, -1},
		{``, -1}, // of Kafka before 3.7
		{`not json`, -1},
	} {
		fs := vfs.NewMemory()
		write(t, fs, markerFile, test.content)
		m, err := readMarker(fs, "/data")
		if err != nil || !m.found || m.brokerEpoch != test.epoch {
			t.Errorf("%q: %+v, %v", test.content, m, err)
		}
	}
	fs := vfs.NewMemory()
	if m, err := readMarker(fs, "/data"); err != nil || m.found || m.brokerEpoch != -1 {
		t.Errorf("%+v, %v", m, err)
	}
	ok(t, fs.MkdirAll("/data"))
	m, err := writeMarker(fs, "/data", 12)
	if err != nil || m.brokerEpoch != 12 || read(t, fs, markerFile) != `{"version":0,"brokerEpoch":12}` {
		t.Errorf("%+v, %v", m, err)
	}
}

// fullHint gives every field of a Hint a value of its own, whatever fields it has.
func fullHint() *commitlog.Hint {
	var h commitlog.Hint
	v := reflect.ValueOf(&h).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(1000 + i))
	}
	return &h
}

func drawManifest(r *rapid.T) (marker, map[kafka.TopicPartition]remembered) {
	m := marker{found: true, inode: rapid.Uint64().Draw(r, "inode"), modTimeNano: rapid.Int64().Draw(r, "mtime"),
		content: rapid.StringN(0, 40, 40).Draw(r, "content")}
	all := map[kafka.TopicPartition]remembered{}
	offset := rapid.Map(rapid.Int64(), func(n int64) kafka.Offset { return kafka.Offset(n) })
	for range rapid.IntRange(0, 5).Draw(r, "partitions") {
		tp := kafka.TopicPartition{Topic: rapid.StringMatching(`[a-z]{1,9}`).Draw(r, "topic"), Partition: kafka.PartitionID(rapid.Int32Min(0).Draw(r, "partition"))}
		e := remembered{kept: kept{offset.Draw(r, "recovery"), offset.Draw(r, "watermark"), offset.Draw(r, "start")}}
		copy(e.topicID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "id"))
		if rapid.Bool().Draw(r, "hinted") {
			e.hint = fullHint()
			e.hint.LogEnd = offset.Draw(r, "end")
		}
		all[tp] = e
	}
	return m, all
}

func encode(m marker, all map[kafka.TopicPartition]remembered) []byte {
	w := newManifest(m)
	for tp, e := range all {
		w.add(tp, e)
	}
	return w.bytes()
}

func TestManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, all := drawManifest(r)
		got, err := parseManifest(encode(m, all), m)
		if err != nil {
			r.Fatal(err)
		}
		if !reflect.DeepEqual(got, all) {
			r.Fatalf("%+v became %+v", all, got)
		}
	})
}

// No damage and no other marker may let a manifest through.
func TestManifestIsRefused(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, all := drawManifest(r)
		b := encode(m, all)
		switch rapid.IntRange(0, 5).Draw(r, "damage") {
		case 0:
			b = b[:rapid.IntRange(0, len(b)-1).Draw(r, "length")]
		case 1:
			b[rapid.IntRange(0, len(b)-1).Draw(r, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		case 2:
			m.inode++
		case 3:
			m.modTimeNano++
		case 4:
			m.content += " "
		case 5:
			m = marker{}
		}
		var refused *ManifestError
		if _, err := parseManifest(b, m); !errors.As(err, &refused) {
			r.Fatal(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := marker{found: true, content: "x"}
	f.Add(encode(m, map[kafka.TopicPartition]remembered{{Topic: "a", Partition: 1}: {hint: fullHint()}, {Topic: "b"}: {}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A wrong checksum would keep the fuzzer out.
		if len(b) > 4 {
			b = appendCRC(bytes.Clone(b[:len(b)-4]))
		}
		all, err := parseManifest(b, m)
		if err == nil && len(all) > len(b)/manifestEntryMin {
			t.Fatal("more partitions than bytes")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\na 0 1\nb 1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseCheckpoint(b)
		if err != nil {
			return
		}
		var w checkpointWriter
		for tp, offset := range all {
			w.add(tp, offset)
		}
		again, err := parseCheckpoint(w.bytes())
		if err != nil || !maps.Equal(again, all) {
			t.Fatal(again, err)
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("#\ncluster.id=a\\u0020b\nnode.id : 1\nversion 1\ndirectory.id=" + directoryID))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProperties(b)
		if err != nil {
			return
		}
		again, err := parseProperties(p.append(nil))
		if err != nil || again.ClusterID != p.ClusterID || !maps.Equal(again.others, p.others) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

// A digit that a flipped bit made into another is noticed, unless somebody else
// has written the file since.
func TestChecksumsOfCheckpointFiles(t *testing.T) {
	const before, after = "0\n1\na 0 100\n", "0\n1\na 0 900\n"
	read := func(fs *vfs.Memory) (checkpoints, string) {
		var said bytes.Buffer
		all, err := readCheckpoints(fs, "/data", slog.New(slog.NewTextHandler(&said, nil)), true)
		ok(t, err)
		return all, said.String()
	}
	fs := vfs.NewMemory()
	d := newDir(Options{FS: fs, Path: "/data"})
	write(t, fs, recoveryPointFile, before)
	d.noteSum(recoveryPointFile, []byte(before))
	if all, said := read(fs); all.recoveryLost || said != "" || all.of[kafka.TopicPartition{Topic: "a"}].recoveryPoint != 100 {
		t.Fatal(all, said)
	}
	info, err := fs.Stat("/data/" + recoveryPointFile)
	ok(t, err)
	d.flusher.sums[recoveryPointFile] = sum{inode: info.Inode, modTimeNano: info.ModTimeNano, crc: checksum([]byte(after))}
	d.noteSum(logStartFile, nil) // not there; writes nothing
	write(t, fs, sumsFile, string(appendSums(nil, d.flusher.sums)))
	if all, said := read(fs); !all.recoveryLost || !strings.Contains(said, "checksum") {
		t.Fatal(all, said)
	}
	ok(t, vfs.WriteFileAtomic(fs, "/data/"+recoveryPointFile, []byte(after)))
	if all, said := read(fs); all.recoveryLost || said != "" {
		t.Fatal(all, said)
	}
}

// A directory has recovery points before it has partitions: without them they
// are lost, not zero.
func TestMissingRecoveryPointsAreLost(t *testing.T) {
	for _, text := range []string{"", "0\n1\n"} {
		fs := vfs.NewMemory()
		if text != "" {
			write(t, fs, recoveryPointFile, text)
		}
		all, err := readCheckpoints(fs, "/data", slog.New(slog.DiscardHandler), true)
		if err != nil || !all.recoveryLost {
			t.Fatalf("%q: %v, %v", text, all, err)
		}
		if all, err = readCheckpoints(fs, "/data", slog.New(slog.DiscardHandler), false); err != nil || all.recoveryLost {
			t.Fatalf("%q without partitions: %v, %v", text, all, err)
		}
	}
}

func FuzzSums(f *testing.F) {
	f.Add(appendSums(nil, map[string]sum{recoveryPointFile: {1, 2, 3}, logStartFile: {4, 5, 6}}))
	f.Add([]byte(sumsMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := parseSums(b)
		if all == nil {
			return
		}
		if again := parseSums(appendSums(nil, all)); !maps.Equal(again, all) {
			t.Fatal(all, again)
		}
	})
}
