// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Said is what a run of a tool wrote, and the code it ended with.
type Said struct {
	Code int
	Out  string
	Err  string
	Both string // Out and Err in the order of writing
}

// ErrStuck is of a tool that did not end in time.
var ErrStuck = errors.New("the tool did not end in time")

// Toolbox runs Kafka's tools. A JVM takes longer to start than most tools to do
// their work, so one JVM runs them all, by java/Toolbox.java; a tool that ends
// its JVM itself gets one of its own. A run that does not end in time costs the
// JVM, and the next one gets another. One run at a time.
type Toolbox struct {
	mu      sync.Mutex
	jvm     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
}

// alone are the tools that call System.exit.
var alone = []string{"org.apache.kafka.tools.VerifiableProducer", "org.apache.kafka.tools.VerifiableConsumer"}

// ownJars are those whose classes every run gets anew.
var ownJars = []string{"kafka-tools-", "kafka_2.13-"}

// Run runs the main method of a class.
func (x *Toolbox) Run(t testing.TB, within time.Duration, class, stdin string, arguments ...string) (Said, error) {
	t.Helper()
	if slices.Contains(alone, class) {
		return runAlone(t, within, class, stdin, arguments)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.jvm == nil {
		x.start(t)
	}
	if arguments == nil {
		arguments = []string{}
	}
	request, err := json.Marshal(map[string]any{"class": class, "arguments": arguments, "stdin": []byte(stdin), "timeout_ms": within.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	// A JVM that says nothing at all is ended, and with it the read below.
	jvm := x.jvm
	watch := time.AfterFunc(within+20*time.Second, func() { _ = jvm.Process.Kill() })
	defer watch.Stop()
	if _, err := x.stdin.Write(append(request, '\n')); err != nil {
		x.end()
		return Said{}, fmt.Errorf("%s: %w", class, err)
	}
	line, err := x.answers.ReadBytes('\n')
	var answer struct {
		Code           int
		Out, Err, Both []byte
		Stuck          string
	}
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		x.end()
		return Said{}, fmt.Errorf("%s: the JVM of the tools ended or is stuck: %w", class, err)
	}
	said := Said{Code: answer.Code, Out: string(answer.Out), Err: string(answer.Err), Both: string(answer.Both)}
	if answer.Stuck != "" {
		x.end()
		return said, fmt.Errorf("%s: %w (%v); it said\n%s\nand its threads are at\n%s", class, ErrStuck, within, said.Both, answer.Stuck)
	}
	return said, nil
}

// start starts the JVM. It ends when its stdin does, with the process of the
// tests at the latest.
func (x *Toolbox) start(t testing.TB) {
	t.Helper()
	Need(t, "javac")
	source := filepath.Join(Folder(t), "java", "Toolbox.java")
	jars, err := filepath.Glob(Jars(t, Tools) + ".jar")
	if err != nil {
		t.Fatal(err)
	}
	var own, shared []string
	for _, jar := range jars {
		if slices.ContainsFunc(ownJars, func(prefix string) bool {
			rest, ok := strings.CutPrefix(filepath.Base(jar), prefix)
			return ok && rest[0] >= '0' && rest[0] <= '9'
		}) {
			own = append(own, jar)
		} else {
			shared = append(shared, jar)
		}
	}
	if len(own) != len(ownJars) {
		t.Fatalf("the jars of the tools themselves are %v", own)
	}
	const separator = string(os.PathListSeparator)
	path := strings.Join(shared, separator)
	classes := Cached(t, "toolbox", []string{source, filepath.Join(Folder(t), "java", "pom-tools.xml")}, func(ctx context.Context, dir string) error {
		return Run(ctx, nil, "javac", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-Werror", "-cp", path, "-d", dir, source)
	})
	jvm := exec.Command("java", JVM(append([]string{"-Xmx512m", "-cp", path + separator + classes, "Toolbox"}, own...)...)...)
	jvm.Stderr = os.Stderr
	stdin, err := jvm.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := jvm.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := jvm.Start(); err != nil {
		t.Fatal(err)
	}
	x.jvm, x.stdin, x.answers = jvm, stdin, bufio.NewReaderSize(stdout, 1<<20)
}

// end ends the JVM.
func (x *Toolbox) end() {
	_ = x.jvm.Process.Kill()
	_ = x.jvm.Wait()
	x.jvm = nil
}

// runAlone gives a tool a JVM of its own.
func runAlone(t testing.TB, within time.Duration, class, stdin string, arguments []string) (Said, error) {
	t.Helper()
	command := exec.Command("java", JVM(append([]string{"-Xmx512m", "-cp", Jars(t, Tools), class}, arguments...)...)...)
	return RunWithin(command, within, stdin)
}

// RunWithin runs a command and kills it when it does not end in time. How it
// ends is no error.
func RunWithin(command *exec.Cmd, within time.Duration, stdin string) (Said, error) {
	var both, out, errs bytes.Buffer
	var mu sync.Mutex
	command.Stdin = strings.NewReader(stdin)
	command.Stdout = &tee{mu: &mu, own: &out, both: &both}
	command.Stderr = &tee{mu: &mu, own: &errs, both: &both}
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		return Said{}, err
	}
	expired := make(chan struct{})
	watch := time.AfterFunc(within, func() {
		close(expired)
		_ = command.Process.Kill()
	})
	_ = command.Wait()
	watch.Stop()
	mu.Lock()
	defer mu.Unlock()
	said := Said{Code: command.ProcessState.ExitCode(), Out: out.String(), Err: errs.String(), Both: both.String()}
	select {
	case <-expired:
		return said, fmt.Errorf("%s: %w (%v); it said\n%s", strings.Join(command.Args, " "), ErrStuck, within, said.Both)
	default:
		return said, nil
	}
}

// tee writes what goes to one of two streams into a buffer for both as well.
type tee struct {
	mu        *sync.Mutex
	own, both *bytes.Buffer
}

func (w *tee) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own.Write(p)
	return w.both.Write(p)
}
