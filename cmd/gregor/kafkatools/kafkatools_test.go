// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	topics := topicsTool()
	producer := producerTool()
	for _, tc := range []struct {
		tool *tool
		line string
		want map[string][]string
		err  string
	}{
		{&topics, "--list --topic a --topic=b", map[string][]string{"list": {""}, "topic": {"a", "b"}}, ""},
		{&topics, "-list --boot h:1", map[string][]string{"list": {""}, "bootstrap-server": {"h:1"}}, ""},
		{&topics, "--partitions -1", map[string][]string{"partitions": {"-1"}}, ""},
		{&topics, "--topic --list", map[string][]string{"topic": {"--list"}}, ""},
		{&topics, "--foo", nil, "foo is not a recognized option"},
		{&topics, "--partition 1", nil, "partition is not a recognized option"}, // --partitions, --partition-size-limit-per-response
		{&topics, "--list --topic", nil, "Option topic requires an argument"},
		{&topics, "--list=yes", nil, "list takes no argument"},
		{&producer, "--compression-codec --sync", map[string][]string{"compression-codec": {""}, "sync": {""}}, ""},
		{&producer, "--compression-codec lz4", map[string][]string{"compression-codec": {"lz4"}}, ""},
	} {
		o, err := parse(tc.tool, strings.Fields(tc.line))
		switch {
		case tc.err != "":
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v, want %s", tc.line, err, tc.err)
			}
		case err != nil || !reflect.DeepEqual(o.values, tc.want):
			t.Errorf("%s: %v, %v", tc.line, o, err)
		}
	}
}

// Every tool has a help that names all of its options, and examples that it
// can parse.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tool := range tools() {
		var out, errs bytes.Buffer
		if code := Run(context.Background(), tool.name, []string{"--help"}, Streams{strings.NewReader(""), &out, &errs}); code != 0 {
			t.Errorf("%s --help exits with %d", tool.name, code)
		}
		for _, p := range tool.all() {
			if !strings.Contains(errs.String(), "--"+p.name) {
				t.Errorf("%s --help does not tell of --%s", tool.name, p.name)
			}
			if p.help == "" {
				t.Errorf("%s --%s has no help", tool.name, p.name)
			}
		}
		for line := range strings.Lines(tool.example) {
			if !strings.HasPrefix(line, "  gregor "+tool.name+" ") {
				t.Errorf("an example of %s is %q", tool.name, line)
			}
		}
		if out.Reset(); Run(context.Background(), tool.name, []string{"--version"}, Streams{strings.NewReader(""), &out, &errs}) != 0 || out.String() != KafkaVersion+"\n" {
			t.Errorf("%s --version: %s", tool.name, &out)
		}
	}
	for program, want := range map[string]string{"kafka-topics": "kafka-topics", "kafka-configs.sh": "kafka-configs"} {
		if name, ok := Called(program); !ok || name != want {
			t.Errorf("called as %s: %s, %t", program, name, ok)
		}
	}
	if _, ok := Called("gregor"); ok {
		t.Error("gregor is none of Kafka's tools")
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ options, line, want string }{
		{"", "a\tb", `"" "a\tb"`},
		{"parse.key=true", "a\tb", `"a" "b"`},
		{"parse.key=true", "ab", "No key separator found on line number 1: 'ab'"},
		{"parse.key=true ignore.error=true", "ab", `null "ab"`},
		{"parse.key=true key.separator=:", "a:b:c", `"a" "b:c"`},
		{"parse.headers=true", "h1:v1,h2:v2\tb", `"" "b" h1="v1" h2="v2"`},
		{"parse.headers=true parse.key=true", "h1:v1\tk\tb", `"k" "b" h1="v1"`},
		{"parse.headers=true", "h1\tb", "No header key separator found in pair 'h1' on line number 1"},
		{"parse.headers=true ignore.error=true", "h1\tb", `"" "b" h1=null`},
		{"parse.headers=true", "b", "No headers delimiter found on line number 1: 'b'"},
		{"parse.key=true null.marker=NULL", "NULL\tNULL", `null null`},
		{"parse.headers=true null.marker=NULL", "NULL\tb", `"" "b"`},
	} {
		p := producerTool()
		var args []string
		for _, x := range strings.Fields(tc.options) {
			args = append(args, "--reader-property", x)
		}
		o, err := parse(&p, args)
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLineReader(o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.record([]byte(tc.line))
		got := fmt.Sprint(err)
		if err == nil {
			text := func(b []byte) string {
				if b == nil {
					return "null"
				}
				return fmt.Sprintf("%q", b)
			}
			key := text(r.Key)
			if !l.parseKey {
				key = `""`
			}
			got = key + " " + text(r.Value)
			for _, h := range r.Headers {
				got += " " + h.Key + "=" + text(h.Value)
			}
		}
		if got != tc.want {
			t.Errorf("%s, %q: %s, want %s", tc.options, tc.line, got, tc.want)
		}
	}
}

func TestFormatter(t *testing.T) {
	t.Parallel()
	r := &kgo.Record{Key: []byte{0, 0, 0, 7}, Value: []byte("v"), Offset: 5, Partition: 2, LeaderEpoch: 3, Timestamp: time.UnixMilli(1000),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}}}
	for _, tc := range []struct{ options, want string }{
		{"", "v\n"},
		{"print.value=false", ""},
		{"print.key=true key.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer key.separator==", "7=v\n"},
		{"print.timestamp=true print.partition=true print.offset=true print.epoch=true print.headers=true key.separator=; line.separator=.",
			"CreateTime:1000;Partition:2;Offset:5;Epoch:3;a:1,b:null;v."},
		{"print.headers=true headers.separator=| null.literal=-", "a:1|b:-\tv\n"},
		{"print.key=true key.deserializer=LongDeserializer", "LongDeserializer got 4 bytes, not 8"},
	} {
		p := properties{}
		if err := p.assignments("", strings.Fields(tc.options)); err != nil {
			t.Fatal(err)
		}
		f, err := formatterOf(p)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f.write(&b, r); err != nil {
			b.WriteString(err.Error())
		}
		if b.String() != tc.want {
			t.Errorf("%s: %q, want %q", tc.options, &b, tc.want)
		}
	}
	if _, err := formatterOf(properties{"key.deserializer": "com.example.Avro"}); err == nil {
		t.Error("an unknown deserializer is taken")
	}
}

func TestSplitConfigs(t *testing.T) {
	t.Parallel()
	got := splitConfigs("a=1,b=[2,3],c=4")
	if want := []string{"a=1", "b=[2,3]", "c=4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

func TestJavaDouble(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0.0", 1024: "1024.0", 12.5: "12.5", 2e7: "2.0E7", 12345678.5: "1.23456785E7", 0.0001: "1.0E-4"} {
		if got := javaDouble(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(path, []byte("# c\na=1\nb : 2\r\nc  three\\\n four\n! d\ne=x\\=y\nempty=\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readProperties(path)
	if want := (properties{"a": "1", "b": "2", "c": "three four", "e": "x=y", "empty": ""}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzOffsets: the file of --offset-json-file is refused or means each
// partition once.
func FuzzOffsets(f *testing.F) {
	f.Add(`{"partitions":[{"topic":"t","partition":0,"offset":1}],"version":1}`)
	f.Add(`{"partitions":[{"topic":"t"}]}`)
	f.Add(`{"version":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		offsets, err := parseOffsets([]byte(text))
		if (offsets == nil) != (err != nil) {
			t.Errorf("%v, %v", offsets, err)
		}
	})
}

// The first Ctrl-C ends a producer that waits for a line, after what it has read.
func TestProducerEndsAtSignal(t *testing.T) {
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	ctx, signal := context.WithCancel(t.Context())
	go func() {
		_, _ = io.WriteString(keyboard, "\none\ntw")
		_, _ = keyboard.Write(nil) // taken when it wants more
		signal()
	}()
	var got []string
	l := &lineReader{}
	err = l.each(ctx, Streams{in, io.Discard, io.Discard}, func(r *kgo.Record) error {
		got = append(got, string(r.Value))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"", "one"}) {
		t.Errorf("%q, %v", got, err)
	}
	o := given{tool: &tool{}, values: map[string][]string{"topic": {"orders"}}}
	if err := produceLines(ctx, &o, client, l, Streams{in, io.Discard, io.Discard}); err != nil {
		t.Error(err)
	}
}

// An error that goes to stdout with Kafka goes to stderr where stdout is what
// failed.
func TestErrorOfStdout(t *testing.T) {
	in, broken := io.Pipe()
	in.CloseWithError(errors.New("disk full"))
	var talk bytes.Buffer
	code := Run(t.Context(), "kafka-topics", []string{"--list", "--bootstrap-server", "127.0.0.1:1"}, Streams{Out: broken, Err: &talk})
	if code != exitFailed || !strings.Contains(talk.String(), "cannot reach a broker") {
		t.Errorf("exit code %d, %q", code, talk.String())
	}
}
