// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gregor/test/interop/kafka"
)

// classes are what is behind the names of Kafka's shell tools.
var classes = map[string]string{
	"kafka-topics": "org.apache.kafka.tools.TopicCommand", "kafka-configs": "kafka.admin.ConfigCommand",
	"kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell", "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments", "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}

// TestShellTools runs command lines by Kafka's own tools and by gregor's tools
// of the same names, each against a node of its own that has seen the same, and
// compares what they print and how they exit. In a line, {dir} is the log
// directory and {files} a folder with files of the test; input is what the tool
// reads. Of stderr the first line counts, since Kafka's tools add stack traces
// and their options to it.
func TestShellTools(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("testdata", "shelltools.txt"))
	if err != nil {
		t.Fatal(err)
	}
	binary := gregorBinary(t)
	jars := kafka.Jars(t, kafka.Tools)
	type world struct {
		dir  string
		node *kafka.Node
		tool func(ctx context.Context, name string, args []string) *exec.Cmd
	}
	files := t.TempDir()
	for name, text := range map[string]string{
		"delete.json": `{"partitions":[{"topic":"lines","partition":0,"offset":1},{"topic":"a.b","partition":0,"offset":-1}],"version":1}`,
		"twice.json":  `{"partitions":[{"topic":"lines","partition":0,"offset":1},{"topic":"lines","partition":0,"offset":2}],"version":1}`,
		"newer.json":  `{"partitions":[],"version":2}`, "no.json": "no",
		"add.properties": "retention.ms=7000\nsegment.bytes = 20000000\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start := func(tool func(ctx context.Context, name string, args []string) *exec.Cmd) *world {
		w := &world{dir: filepath.Join(t.TempDir(), "data"), tool: tool}
		w.node = kafka.StartGregor(t, w.dir, kafka.Options{})
		return w
	}
	theirs := start(func(ctx context.Context, name string, args []string) *exec.Cmd {
		return exec.CommandContext(ctx, "java", append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jars, classes[name]}, args...)...)
	})
	ours := start(func(ctx context.Context, name string, args []string) *exec.Cmd {
		return exec.CommandContext(ctx, binary, append([]string{name}, args...)...)
	})
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line, input, _ := strings.Cut(line, " <<< ")
		run := func(w *world) (said string) {
			full := strings.NewReplacer("{dir}", w.dir, "{files}", files).Replace(line)
			words := strings.Fields(full)
			if words[0] != "kafka-dump-log" {
				words = append(words, "--bootstrap-server", w.node.Address)
			}
			command := w.tool(t.Context(), words[0], words[1:])
			command.Stdin = strings.NewReader(strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(input))
			var out, errs bytes.Buffer
			command.Stdout, command.Stderr = &out, &errs
			_ = command.Run()
			return outcome(out.String(), errs.String(), command.ProcessState.ExitCode(), w.dir, w.node.Address)
		}
		want, got := run(theirs), run(ours)
		if want != got {
			t.Errorf("%s\nKafka's tool:\n%s\ngregor's:\n%s", line, head(want), head(got))
		}
	}
	theirs.node.Stop(t)
	ours.node.Stop(t)
}

// What differs between two runs, and what is said by Kafka's classes alone.
var varying = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`TopicId: \S{22}`), "TopicId: ID"},
	{regexp.MustCompile(`CreateTime: ?\d+`), "CreateTime: TIME"},
	{regexp.MustCompile(`(lastTimestamp|timestamp): \d+`), "$1: TIME"},
	{regexp.MustCompile(`crc: \d+`), "crc: CRC"},
	{regexp.MustCompile(`Epoch:(NOT_PRESENT|\d+)`), "Epoch:EPOCH"}, // Kafka's tool loses it
	{regexp.MustCompile(`(topic command : )(Input string|uuid) .*`), "${1}not an id"},
	{regexp.MustCompile(`Option combination .* can't (.*) \(.*\)$`), "Option combination can't $1"},
	{regexp.MustCompile(`^(SLF4J|(Option|Warning:) --.* is deprecated|Error processing message|The consumer rebalance protocol|java\.util\.concurrent|OpenJDK)`), ""},
	// Of these errors it is the first words that scripts look for.
	{regexp.MustCompile(`^(Error while executing config command with args).*`), "$1"},
}

// unordered are the first lines of what Kafka's tools write in the order of a
// hash table.
var unordered = regexp.MustCompile(`^(Topic: |Dynamic configs for topic |Executing records delete)`)

// outcome is what one run said, without what differs from run to run. Order
// that Kafka's tools take from a hash table is taken away.
func outcome(out, errs string, code int, dir, address string) string {
	clean := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			line = strings.NewReplacer(dir, "DIR", address, "ADDRESS", "org.apache.kafka.common.KafkaException: ", "").Replace(strings.TrimRight(line, "\n"))
			dropped := false
			for _, v := range varying {
				changed := v.from.ReplaceAllString(line, v.to)
				dropped = dropped || v.to == "" && changed != line
				line = changed
			}
			if !dropped {
				lines = append(lines, line)
			}
		}
		return lines
	}
	shown := clean(out)
	if len(shown) > 0 && unordered.MatchString(shown[0]) {
		slices.Sort(shown)
	}
	said := clean(errs)
	said = said[:min(len(said), 1)]
	return strings.Join(append(append(append([]string{"exit " + string(rune('0'+code))}, shown...), "stderr:"), said...), "\n")
}

// gregorBinary is the binary under test.
func gregorBinary(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("GREGOR_BIN"); binary != "" {
		return binary
	}
	binary := filepath.Join(t.TempDir(), "gregor")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "gregor/cmd/gregor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gregor: %v\n%s", err, out)
	}
	return binary
}
