// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const startTimeout = 60 * time.Second

// The folders under .cache, each filled from the pom of the same name.
const (
	toolsJars  = "tools"  // kafka-tools 4.3.1 with its own jars
	brokerJars = "broker" // Apache Kafka 4.4.0
)

// need stops a test that lacks a program, naming it.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: these tests need java, javac, mvn and kcat", program)
		}
	}
}

// jars returns the class path of one pom's jars and fetches them when they
// are not here yet.
func jars(t *testing.T, name string) string {
	t.Helper()
	need(t, "java", "mvn")
	cache, err := filepath.Abs(filepath.Join(".cache", name))
	if err != nil {
		t.Fatal(err)
	}
	complete := filepath.Join(cache, ".complete")
	if _, err := os.Stat(complete); err != nil {
		maven := exec.CommandContext(t.Context(), "mvn", "-q", "-B", "-f", filepath.Join("java", "pom-"+name+".xml"),
			"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+cache)
		if out, err := maven.CombinedOutput(); err != nil {
			t.Fatalf("mvn could not fetch the jars of pom-%s.xml: %v\n%s", name, err, out)
		}
		if err := os.WriteFile(complete, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(cache, "*")
}

// node is a broker process of either kind.
type node struct {
	name    string
	address string
	command *exec.Cmd
	exited  chan struct{}
	stderr  string
}

var readyLine = regexp.MustCompile(`^gregor ready in \d+ ms: kafka ([^, ]+)`)

// startGregor runs gregor on a folder until the test or its own stop ends it.
func startGregor(t *testing.T, dir string) *node {
	t.Helper()
	if os.Getenv("INTEROP_ORACLE") != "" {
		return startKafka(t, dir)
	}
	binary := os.Getenv("GREGOR_BIN")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "gregor")
		build := exec.Command("go", "build", "-o", binary, "gregor/cmd/gregor")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build gregor: %v\n%s", err, out)
		}
	}
	n := &node{name: "gregor", stderr: filepath.Join(t.TempDir(), "stderr")}
	n.command = exec.Command(binary, "start", "--set", "listeners=PLAINTEXT://127.0.0.1:0",
		"--set", "log.dirs="+dir, "--set", "gregor.admin.listener=")
	stdout, err := n.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.run(t)
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if found := readyLine.FindStringSubmatch(lines.Text()); found != nil {
				ready <- found[1]
				break
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		n.reap()
	}()
	select {
	case n.address = <-ready:
	case <-n.exited:
		t.Fatalf("gregor ended before it was ready: %v\n%s", n.command.ProcessState, n.log())
	case <-time.After(startTimeout):
		t.Fatalf("gregor was not ready after %v\n%s", startTimeout, n.log())
	}
	return n
}

// startKafka runs Apache Kafka on a folder: as it is when it was formatted or
// written by anyone before, formatted with a dynamic quorum otherwise.
func startKafka(t *testing.T, dir string) *node {
	t.Helper()
	classes := jars(t, brokerJars)
	id, err := nodeID(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{name: "Apache Kafka", address: freeAddress(t), stderr: filepath.Join(t.TempDir(), "stderr")}
	controller := freeAddress(t)
	properties := filepath.Join(t.TempDir(), "server.properties")
	text := strings.Join([]string{
		"process.roles=broker,controller", "node.id=" + id,
		"listeners=PLAINTEXT://" + n.address + ",CONTROLLER://" + controller,
		"controller.listener.names=CONTROLLER", "controller.quorum.bootstrap.servers=" + controller, "log.dirs=" + dir,
	}, "\n")
	if err := os.WriteFile(properties, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); err != nil {
		format := exec.Command("java", "-Xmx256m", "-cp", classes, "kafka.tools.StorageTool", "format",
			"--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties)
		if out, err := format.CombinedOutput(); err != nil {
			t.Fatalf("format: %v\n%s", err, out)
		}
	}
	n.command = exec.Command("java", "-Xmx512m", "-cp", classes, "kafka.Kafka", properties)
	n.run(t)
	go n.reap()
	for deadline := time.Now().Add(startTimeout); ; {
		select {
		case <-n.exited:
			t.Fatalf("Apache Kafka ended before it was ready: %v\n%s", n.command.ProcessState, n.log())
		case <-time.After(100 * time.Millisecond):
		}
		if n.answers() {
			return n
		}
		if time.Now().After(deadline) {
			t.Fatalf("Apache Kafka was not ready after %v\n%s", startTimeout, n.log())
		}
	}
}

// nodeID is that of meta.properties, 1 for a new folder.
func nodeID(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "meta.properties"))
	if errors.Is(err, os.ErrNotExist) {
		return "1", nil
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "node.id="); ok {
			return id, nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("no node.id in %s", filepath.Join(dir, "meta.properties")))
}

func (n *node) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(n.address))
	if err != nil {
		return false
	}
	defer admin.Close()
	brokers, err := admin.ListBrokers(ctx)
	return err == nil && len(brokers) == 1
}

func (n *node) run(t *testing.T) {
	t.Helper()
	stderr, err := os.Create(n.stderr)
	if err != nil {
		t.Fatal(err)
	}
	n.command.Stderr, n.exited = stderr, make(chan struct{})
	if n.command.Stdout == nil {
		n.command.Stdout = stderr
	}
	if err := n.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		_ = stderr.Close()
		if t.Failed() {
			t.Logf("%s said:\n%s", n.name, n.log())
		}
	})
}

func (n *node) reap() {
	_ = n.command.Wait()
	close(n.exited)
}

func (n *node) kill() {
	_ = n.command.Process.Kill()
	<-n.exited
}

// stop ends the node cleanly.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.exited:
		if code := n.command.ProcessState.ExitCode(); code != 0 && code != 143 {
			t.Fatalf("%s: exit code %d after SIGTERM\n%s", n.name, code, n.log())
		}
	case <-time.After(startTimeout):
		t.Fatalf("%s still runs %v after SIGTERM\n%s", n.name, startTimeout, n.log())
	}
}

// log is the end of what the node wrote.
func (n *node) log() string {
	all, _ := os.ReadFile(n.stderr)
	return string(all[max(0, len(all)-6000):])
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
