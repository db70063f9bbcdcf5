// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the time from exec to the first served request. It is
// generous for Apache Kafka's sake; gregor's own start time is a benchmark.
const startTimeout = 60 * time.Second

// readyLine is what a node prints on stdout when it serves.
var readyLine = regexp.MustCompile(`^gregor ready in \d+ ms: kafka ([^, ]+)`)

// node is one broker process on a folder that outlives it.
type node struct {
	dir     string // log.dirs
	set     []string
	address string // host:port, "" until the first start
	command *exec.Cmd
	exited  chan struct{}
	stderr  *os.File
}

// newNode prepares a node on a folder of its own; start runs it.
func newNode(dir string) *node { return &node{dir: filepath.Join(dir, "data")} }

// start runs the broker and returns when it serves. The address that the
// first start got is asked for again by the later ones, so that clients find
// the node where it was.
func (n *node) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if libs := os.Getenv("KAFKA_LIBS"); libs != "" {
		return n.startKafka(ctx, libs)
	}
	binary, err := gregorBinary()
	if err != nil {
		return err
	}
	listen := n.address
	if listen == "" {
		if listen, err = freeAddress(); err != nil {
			return err
		}
	}
	args := []string{"start",
		"--set", "listeners=PLAINTEXT://" + listen,
		"--set", "log.dirs=" + n.dir,
		"--set", "gregor.admin.listener=",
		"--set", "log.retention.ms=-1"} // the records are of fixed times, long ago
	for _, set := range n.set {
		args = append(args, "--set", set)
	}
	command := exec.Command(binary, args...)
	command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") }) // they configure a node
	stdout, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.run(command); err != nil {
		return err
	}
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
		return nil
	case <-n.exited:
		return fmt.Errorf("the node ended before it was ready: %v\n%s", command.ProcessState, n.log())
	case <-ctx.Done():
		n.kill()
		return fmt.Errorf("the node was not ready after %v\n%s", startTimeout, n.log())
	}
}

// run starts the process with its stderr in a file beside the data.
func (n *node) run(command *exec.Cmd) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	stderr, err := os.OpenFile(n.dir+".stderr", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	command.Stderr = stderr
	n.command, n.exited, n.stderr = command, make(chan struct{}), stderr
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", command.Path, err)
	}
	return nil
}

func (n *node) reap() {
	_ = n.command.Wait()
	_ = n.stderr.Close()
	close(n.exited)
}

// kill is SIGKILL: nothing in the process learns of it.
func (n *node) kill() {
	_ = n.command.Process.Kill()
	<-n.exited
}

// stop asks for a clean stop and waits for it.
func (n *node) stop() error {
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.exited:
		if code := n.command.ProcessState.ExitCode(); code != 0 && code != 143 {
			return fmt.Errorf("exit code %d after SIGTERM\n%s", code, n.log())
		}
		return nil
	case <-time.After(startTimeout):
		n.kill()
		return fmt.Errorf("still running %v after SIGTERM\n%s", startTimeout, n.log())
	}
}

// log returns the last of what the node wrote to stderr.
func (n *node) log() string {
	all, _ := os.ReadFile(n.dir + ".stderr")
	if len(all) > 8192 {
		all = all[len(all)-8192:]
	}
	return string(all)
}

var (
	buildOnce sync.Once
	buildPath string
	errBuild  error
)

// gregorBinary names the binary under test and builds it when no one gave it.
func gregorBinary() (string, error) {
	buildOnce.Do(func() {
		if buildPath = os.Getenv("GREGOR_BIN"); buildPath != "" {
			// The Makefile says bin/gregor, which is seen from the root.
			if !filepath.IsAbs(buildPath) {
				buildPath = filepath.Join("..", "..", buildPath)
			}
			_, errBuild = os.Stat(buildPath)
			return
		}
		var dir string
		if dir, errBuild = os.MkdirTemp("", "gregor-clients-"); errBuild != nil {
			return
		}
		buildPath = filepath.Join(dir, "gregor")
		build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", buildPath, "./cmd/gregor")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			errBuild = fmt.Errorf("build gregor: %w\n%s", err, out)
		}
	})
	return buildPath, errBuild
}

// shared is the broker of all tests that do not kill theirs.
var shared struct {
	once sync.Once
	node *node
	err  error
}

// broker returns the address that the tests share a broker at.
func broker(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("BOOTSTRAP"); given != "" {
		return given
	}
	shared.once.Do(func() {
		var dir string
		if dir, shared.err = os.MkdirTemp("", "gregor-clients-"); shared.err != nil {
			return
		}
		shared.node = newNode(dir)
		shared.err = shared.node.start(context.Background())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.node.address
}

func TestMain(m *testing.M) {
	if told := os.Getenv(memberVariable); told != "" {
		os.Exit(beMember(told))
	}
	code := m.Run()
	if n := shared.node; n != nil && shared.err == nil {
		if err := n.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the shared node:", err)
			code = 1
		}
		if code == 0 {
			_ = os.RemoveAll(filepath.Dir(n.dir))
		} else {
			fmt.Fprintln(os.Stderr, "the shared node's files are kept in", filepath.Dir(n.dir))
		}
	}
	if n := groupNode.node; n != nil && groupNode.err == nil {
		if err := n.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the node of groups:", err)
			code = 1
		}
		_ = os.RemoveAll(filepath.Dir(n.dir))
	}
	if buildPath != "" && os.Getenv("GREGOR_BIN") == "" {
		_ = os.RemoveAll(filepath.Dir(buildPath))
	}
	os.Exit(code)
}

// startKafka runs Apache Kafka on the node's folder, formatting it first.
func (n *node) startKafka(ctx context.Context, libs string) error {
	if n.address == "" {
		free, err := freeAddress()
		if err != nil {
			return err
		}
		n.address = free
	}
	controller, err := freeAddress()
	if err != nil {
		return err
	}
	properties := n.dir + ".properties"
	text := strings.Join(append(n.set, "offsets.topic.replication.factor=1"), "\n") + "\nprocess.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://" + n.address + ",CONTROLLER://" + controller +
		"\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@" + controller + "\nlog.dirs=" + n.dir + "\nlog.retention.ms=-1\n"
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return err
	}
	classes := filepath.Join(libs, "*")
	format := exec.CommandContext(ctx, "java", "-Xmx256m", "-cp", classes, "kafka.tools.StorageTool",
		"format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties, "--ignore-formatted")
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format: %w\n%s", err, out)
	}
	if err := n.run(exec.Command("java", "-Xmx512m", "-cp", classes, "kafka.Kafka", properties)); err != nil {
		return err
	}
	go n.reap()
	for {
		select {
		case <-n.exited:
			return fmt.Errorf("Kafka ended before it was ready: %v\n%s", n.command.ProcessState, n.log())
		case <-ctx.Done():
			n.kill()
			return errors.Join(ctx.Err(), errors.New(n.log()))
		case <-time.After(50 * time.Millisecond):
			if admin, err := newAdmin(n.address); err == nil {
				_, err = admin.BrokerMetadata(ctx)
				admin.Close()
				if err == nil {
					return nil
				}
			}
		}
	}
}

// freeAddress is one where nobody listens, and whose port the system gives to
// nobody who asks for any: a node that was killed finds it free.
func freeAddress() (address string, err error) {
	for range 100 {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))); err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", err
}
