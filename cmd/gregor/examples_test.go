// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// inside are commands that only gregor itself runs.
var inside = []string{"gregor bench peer"}

// scene is what an example finds, where that is not the usual: a running node
// with the topics orders and payments and some records, and files.
type scene struct {
	topics  string // without, empty for "orders payments", "-" for none
	stopped bool   // the node has ended
	none    bool   // there is no node
	server  bool   // the command is a node: it is asked to end when it is ready
	asks    bool   // it asks, and is answered with y
	groups  bool   // the group audit has read all, and billing nothing yet
	judges  bool   // it judges the machine, and may fail
}

var scenes = map[string]scene{
	"gregor start":          {none: true, server: true},
	"gregor version":        {none: true},
	"gregor completion":     {none: true},
	"gregor man":            {none: true},
	"gregor config explain": {none: true},
	"gregor bench limits":   {none: true},
	"gregor topic create":   {topics: "-"},
	"gregor storage verify": {stopped: true},
	"gregor storage format": {stopped: true},
	"gregor doctor":         {none: true, judges: true},
	"gregor topic delete":   {asks: true},
	"gregor topic empty":    {asks: true},
	"gregor config set":     {asks: true},
	"gregor topic alter":    {asks: true},
	"gregor quota delete":   {asks: true},

	"gregor group delete":        {asks: true, groups: true},
	"gregor group describe":      {groups: true},
	"gregor group export":        {groups: true},
	"gregor group lag":           {groups: true},
	"gregor group list":          {groups: true},
	"gregor group offset-delete": {asks: true, groups: true},
	"gregor group peek":          {groups: true},
	"gregor group seek":          {asks: true, groups: true},
}

// places are written in examples as people have them, and are elsewhere in a
// test.
var places = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`/var/lib/kafka/data\b`), "./data"},
	{regexp.MustCompile(`/var/lib/gregor\b`), "./gregor-data"},
	{regexp.MustCompile(`/mnt/disk3/gregor\b`), "./disk3"},
	{regexp.MustCompile(`/etc/bash_completion\.d/`), "./"},
	{regexp.MustCompile(`~/\.config/fish/completions/`), "./"},
	{regexp.MustCompile(`/usr/local/share/(man/man1|zsh/site-functions)`), "./"},
	{regexp.MustCompile(`localhost:9092`), "$$GREGOR_BOOTSTRAP_SERVER"},
}

// TestExamples runs every example of every command's help as a shell would,
// against a node. A command without an example fails it, unless it is only a
// group of others.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("a node for each example; make test runs it")
	}
	dir := t.TempDir()
	count := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() || c.Name() == "help" || slices.Contains(inside, c.CommandPath()) {
			return
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		s := scenes[c.CommandPath()]
		for i, line := range strings.Split(strings.TrimRight(c.Example, "\n"), "\n") {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, c.CommandPath()+" ") && !strings.HasSuffix(line, c.CommandPath()) {
				t.Errorf("%s: the example %q does not call it", c.CommandPath(), line)
				continue
			}
			name := strings.ReplaceAll(c.CommandPath(), " ", "-") + "-" + strconv.Itoa(i+1) + ".txtar"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(exampleScript(s, strings.TrimSpace(line))), 0o644); err != nil {
				t.Fatal(err)
			}
			count++
		}
	}
	walk(newRootCommand(stdio{strings.NewReader(""), io.Discard, io.Discard}, time.Time{}))
	if t.Failed() {
		return
	}
	p := scripts(dir)
	p.Cmds["scene"], p.Cmds["serve"], p.Cmds["follow"] = setScene, serveExample, followExample
	testscript.Run(t, p)
	t.Logf("%d examples", count)
}

// exampleScript is the testscript of one example.
func exampleScript(s scene, line string) string {
	for _, p := range places {
		line = p.from.ReplaceAllString(line, p.to)
	}
	var b strings.Builder
	if !s.none {
		fmt.Fprintf(&b, "node\nscene %s\n", s.topics)
	}
	if s.groups {
		fmt.Fprint(&b, "exec gregor group seek audit --to end --topic orders --yes\nexec gregor group seek billing --to start --topic orders --topic payments --yes\n")
	}
	if s.stopped {
		fmt.Fprintln(&b, "halt")
	}
	switch {
	case s.server:
		fmt.Fprintln(&b, "serve example.sh")
	case strings.Contains(line, "--follow"):
		fmt.Fprintln(&b, "follow example.sh")
	case s.judges:
		fmt.Fprintln(&b, "exec sh -c 'sh -e example.sh || test $? = 1'")
	default:
		if s.asks && !strings.Contains(line, "--yes") {
			fmt.Fprintln(&b, "ttyin -stdin yes")
		}
		fmt.Fprintln(&b, "exec sh -e example.sh")
	}
	fmt.Fprintf(&b, "-- example.sh --\n%s\n%s", line, exampleFiles)
	return b.String()
}

// exampleFiles are the files that examples name.
const exampleFiles = `-- yes --
y
-- orders.tsv --
customer-7	{"id":1,"amount":150}
customer-8	{"id":2,"amount":50}
-- orders.txt --
customer-7:one
customer-8:NULL
-- orders.json --
{"key":"customer-7","value":"one"}
-- offsets.csv --
orders,0,1
-- offsets.json --
{"partitions":[{"topic":"orders","partition":0,"offset":1}],"version":1}
-- server.properties --
listeners=PLAINTEXT://127.0.0.1:0
log.dirs=from-properties
gregor.admin.listener=127.0.0.1:0
`

// setScene creates topics, three partitions each, with thirty records.
func setScene(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("GREGOR_BOOTSTRAP_SERVER")), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	ts.Check(err)
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopics(ctx, 3, 1, nil, "orders", "payments")
	ts.Check(err)
	ts.Check(created.Error())
	var records []*kgo.Record
	for i := range 60 {
		records = append(records, &kgo.Record{Topic: []string{"orders", "payments"}[i%2], Key: fmt.Appendf(nil, "customer-%d", i%10),
			Value: fmt.Appendf(nil, `{"id":%d,"amount":%d}`, i, 10*i), Headers: []kgo.RecordHeader{{Key: "source", Value: []byte("web")}}})
	}
	ts.Check(client.ProduceSync(ctx, records...).FirstErr())
}

// serveExample runs a node on ports of its own until it is ready, and ends it.
func serveExample(ts *testscript.TestScript, _ bool, args []string) {
	run := example(ts, args[0], "KAFKA_LISTENERS=PLAINTEXT://127.0.0.1:0", "KAFKA_GREGOR_ADMIN_LISTENER=127.0.0.1:0")
	run.until(ts, func(out string) bool { return strings.Contains(out, "gregor ready in ") })
	if err := run.stop(); err != nil {
		ts.Fatalf("it ended with %v\n%s", err, run.err.String())
	}
}

// followExample runs a command that ends only when it is interrupted, and lets
// it see records.
func followExample(ts *testscript.TestScript, _ bool, args []string) {
	run := example(ts, args[0])
	client, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("GREGOR_BOOTSTRAP_SERVER")))
	ts.Check(err)
	defer client.Close()
	run.until(ts, func(out string) bool {
		r := &kgo.Record{Topic: "orders", Key: []byte("customer-7"), Value: []byte(`{"id":1,"amount":500}`), Headers: []kgo.RecordHeader{{Key: "source", Value: []byte("web")}}}
		ts.Check(client.ProduceSync(context.Background(), r).FirstErr())
		return out != ""
	})
	if err, ok := run.stop().(*exec.ExitError); !ok || err.ExitCode() != exitInterrupted {
		ts.Fatalf("an interrupted command ended with %v\n%s", err, run.err.String())
	}
}

// running example.
type exampleRun struct {
	command *exec.Cmd
	out     safeBuffer
	err     bytes.Buffer
	done    chan error
}

func example(ts *testscript.TestScript, script string, env ...string) *exampleRun {
	text := strings.TrimSpace(ts.ReadFile(script))
	r := &exampleRun{command: exec.Command("sh", "-c", "exec "+text), done: make(chan error, 1)}
	r.command.Dir = ts.MkAbs(".")
	r.command.Env = append(append(environment(), "PATH="+ts.Getenv("PATH"), "GREGOR_BOOTSTRAP_SERVER="+ts.Getenv("GREGOR_BOOTSTRAP_SERVER")), env...)
	r.command.Stdout, r.command.Stderr = &r.out, &r.err
	ts.Check(r.command.Start())
	go func() { r.done <- r.command.Wait() }()
	ts.Defer(func() { _ = r.command.Process.Kill() })
	return r
}

// until waits for what the command shall have written.
func (r *exampleRun) until(ts *testscript.TestScript, enough func(out string) bool) {
	for deadline := time.Now().Add(scriptTimeout); !enough(r.out.String()); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-r.done:
			ts.Fatalf("it ended too early: %v\n%s%s", err, r.out.String(), r.err.String())
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it did not come so far:\n%s%s", r.out.String(), r.err.String())
		}
	}
}

func (r *exampleRun) stop() error {
	if err := r.command.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-time.After(scriptTimeout):
		return context.DeadlineExceeded
	}
}

// safeBuffer is what a running command has written so far.
type safeBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
