// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

// classes are what is behind the names of Kafka's shell tools.
var classes = map[string]string{
	"kafka-topics": "org.apache.kafka.tools.TopicCommand", "kafka-configs": "kafka.admin.ConfigCommand",
	"kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell", "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments", "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer", "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}

// TestShellTools runs command lines by Kafka's own tools and by gregor's tools
// of the same names, each against a node of its own that has seen the same, and
// compares what they print and how they exit; a line that waits for ever fails. In a line, {dir} is the log
// directory and {files} a folder with files of the test; input is what the tool
// reads. Of stderr the first line counts, since Kafka's tools add stack traces
// and their options to it.
//
// "member NAME KIND GROUP TOPIC" has a consumer of that client id join in both
// worlds, and "leave NAME" has it leave.
func TestShellTools(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("testdata", "shelltools.txt"))
	if err != nil {
		t.Fatal(err)
	}
	binary := gregorBinary(t)
	kafka.Need(t, "java", "javac", "mvn")
	type world struct {
		dir     string
		node    *kafka.Node
		members members
	}
	files := t.TempDir()
	for name, text := range map[string]string{
		"delete.json": `{"partitions":[{"topic":"lines","partition":0,"offset":1},{"topic":"a.b","partition":0,"offset":-1}],"version":1}`,
		"twice.json":  `{"partitions":[{"topic":"lines","partition":0,"offset":1},{"topic":"lines","partition":0,"offset":2}],"version":1}`,
		"newer.json":  `{"partitions":[],"version":2}`, "no.json": "no",
		"add.properties": "retention.ms=7000\nsegment.bytes = 20000000\n",
		"one.csv":        "orders,0,1\norders,1,0\n", "two.csv": "g1,orders,0,1\ng2,orders,1,0\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *world {
		w := &world{dir: filepath.Join(t.TempDir(), "data"), members: members{}}
		w.node = kafka.StartGregor(t, w.dir, kafka.Options{Settings: []string{"group.initial.rebalance.delay.ms=0"}})
		return w
	}
	theirs, ours := start(), start()
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if words := strings.Fields(line); words[0] == "member" || words[0] == "leave" {
			for _, w := range []*world{theirs, ours} {
				w.members.turn(t, w.node.Address, words)
			}
			continue
		}
		line, input, _ := strings.Cut(line, " <<< ")
		stdin := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(input)
		words := func(w *world) []string {
			words := strings.Fields(strings.NewReplacer("{dir}", w.dir, "{files}", files).Replace(line))
			if words[0] != "kafka-dump-log" {
				words = append(words, "--bootstrap-server", w.node.Address)
			}
			return words
		}
		said := func(w *world, all kafka.Said, err error) string {
			if err != nil {
				t.Fatalf("%s\n%v", line, err)
			}
			return outcome(line, all.Out, all.Err, all.Code, w.dir, w.node.Address)
		}
		type result struct {
			all kafka.Said
			err error
		}
		here := make(chan result, 1)
		go func() {
			all, err := kafka.RunWithin(exec.Command(binary, words(ours)...), toolTimeout, stdin)
			here <- result{all, err}
		}()
		given := words(theirs)
		all, err := toolbox.Run(t, toolTimeout, classes[given[0]], stdin, given[1:]...)
		r := <-here
		want, got := said(theirs, all, err), said(ours, r.all, r.err)
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
	// Groups: the ids of members, lists in the order of a hash table, traces.
	{regexp.MustCompile(`\b(app-\d)-[0-9a-f-]{36}`), "$1-ID"},
	{regexp.MustCompile(`[A-Za-z0-9_-]{22}==`), "ID"},
	{regexp.MustCompile(`(takes (?:at most )?one of these options|takes the following options|Valid states are|Valid types are|one of the following scenarios): .*`), "$1"},
	{regexp.MustCompile(`^Exception in thread "main" joptsimple\.UnavailableOptionException: `), "!"},
	{regexp.MustCompile(`^(Option\(s\) )`), "!$1"},
	{regexp.MustCompile(`^!!?`), "!"},
	{regexp.MustCompile(`^(\s*at |\s*\.\.\. \d+ more|Caused by: |org\.apache\.kafka\.common\.errors|com\.fasterxml|java\.(io|lang|text|time)\.|joptsimple\.)`), ""},
}

// unordered are the first lines of what Kafka's tools write in the order of a
// hash table.
var unordered = regexp.MustCompile(`^(Topic: |Dynamic configs for topic |Executing records delete)`)

// unorderedLine are command lines whose whole answer is.
var unorderedLine = regexp.MustCompile(`^kafka-consumer-groups .*--(list|reset-offsets|delete)( |$)`)

// members are the consumers of one world, by client id.
type members map[string]*kgo.Client

// turn has a member join, and waits until all partitions are assigned to it,
// or leave.
func (m members) turn(t *testing.T, address string, words []string) {
	t.Helper()
	name := words[1]
	if words[0] == "leave" {
		m[name].Close()
		return
	}
	kind, group, topic := words[2], words[3], words[4]
	joined := make(chan struct{}, 100)
	options := []kgo.Opt{kgo.SeedBrokers(address), kgo.ClientID(name), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			if len(added) > 0 {
				joined <- struct{}{}
			}
		})}
	if kind == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m[name] = client
	select {
	case <-joined:
	case <-time.After(toolTimeout):
		t.Fatalf("member %s got no partition", name)
	}
}

// outcome is what one run said, without what differs from run to run. Order
// that Kafka's tools take from a hash table is taken away.
func outcome(line, out, errs string, code int, dir, address string) string {
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
	if len(shown) > 0 && (unordered.MatchString(shown[0]) || unorderedLine.MatchString(line)) {
		slices.Sort(shown)
	}
	said := slices.DeleteFunc(clean(errs), func(line string) bool { return line == "" })
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
