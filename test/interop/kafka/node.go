// SPDX-License-Identifier: Apache-2.0

package kafka

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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const startTimeout = 4 * time.Minute

// Node is a broker process of either kind. It ends with its test.
type Node struct {
	Name    string
	Address string
	Admin   string // where gregor serves its metrics, if it was told to
	command *exec.Cmd
	exited  chan struct{}
	stderr  string
}

// Options are how a node differs from its defaults.
type Options struct {
	// Settings are lines key=value of its configuration.
	Settings []string
	// Features are feature=level for the format of an Apache Kafka directory.
	Features []string
	// Classes is a folder of classes that an Apache Kafka finds beside its own.
	Classes string
}

var readyLine = regexp.MustCompile(`^gregor ready in \d+ ms: kafka ([^, ]+)(?:, admin (\S+))?`)

// StartGregor runs gregor on a folder. GREGOR_BIN names the binary; without
// it, it is built.
func StartGregor(t testing.TB, dir string, o Options) *Node {
	t.Helper()
	binary := os.Getenv("GREGOR_BIN")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "gregor")
		build := exec.Command("go", "build", "-o", binary, "gregor/cmd/gregor")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build gregor: %v\n%s", err, out)
		}
	}
	arguments := []string{"start"}
	for _, setting := range append([]string{"listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + dir, "gregor.admin.listener="}, o.Settings...) {
		arguments = append(arguments, "--set", setting)
	}
	n := &Node{Name: "gregor", stderr: filepath.Join(t.TempDir(), "stderr"), command: exec.Command(binary, arguments...)}
	stdout, err := n.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.run(t)
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if found := readyLine.FindStringSubmatch(lines.Text()); found != nil {
				ready <- found[1:]
				break
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		n.reap()
	}()
	select {
	case at := <-ready:
		n.Address, n.Admin = at[0], at[1]
	case <-n.exited:
		t.Fatalf("gregor ended before it was ready: %v\n%s", n.command.ProcessState, n.Log())
	case <-time.After(startTimeout):
		t.Fatalf("gregor was not ready after %v\n%s", startTimeout, n.Log())
	}
	return n
}

// StartApache runs Apache Kafka on a folder: as it is when it was formatted or
// written by anyone before, formatted with a dynamic quorum otherwise.
func StartApache(t testing.TB, dir string, o Options) *Node {
	t.Helper()
	classes := Jars(t, Broker)
	if o.Classes != "" {
		classes += string(os.PathListSeparator) + o.Classes
	}
	id, err := nodeID(dir)
	if err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		n := &Node{Name: "Apache Kafka", Address: freeAddress(t), stderr: filepath.Join(t.TempDir(), "stderr")}
		controller := freeAddress(t)
		properties := n.configure(t, dir, id, controller, o)
		if fresh(dir) {
			format(t, classes, properties, o.Features)
		}
		n.command = exec.Command("java", JVM("-Xmx512m", "-cp", classes, "kafka.Kafka", properties)...)
		n.run(t)
		go n.reap()
		switch err := n.awaitAnswer(); {
		case err == nil:
			return n
		case try < 3 && (taken(n.Address) || taken(controller)): // by a process that is not ours
		default:
			t.Fatalf("%v: %v\n%s", err, n.command.ProcessState, n.Log())
		}
	}
}

// JVM are the arguments of java for a process that lives for seconds, and says
// the same in every language and place.
func JVM(arguments ...string) []string {
	return append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.language=en", "-Duser.country=US", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8"}, arguments...)
}

func fresh(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "meta.properties"))
	return err != nil
}

// configure writes the properties of an Apache Kafka. It elects itself without
// delay, and is not taken for dead when the machine makes it wait. On a folder
// that has been in use it has to wait for the end of the session that the broker
// before it had, so that has the length of the default.
func (n *Node) configure(t testing.TB, dir, id, controller string, o Options) string {
	t.Helper()
	lines := []string{
		"process.roles=broker,controller", "node.id=" + id,
		"listeners=PLAINTEXT://" + n.Address + ",CONTROLLER://" + controller,
		"controller.listener.names=CONTROLLER", "controller.quorum.bootstrap.servers=" + controller, "log.dirs=" + dir,
		"controller.quorum.election.timeout.ms=50", "controller.quorum.election.backoff.max.ms=50",
	}
	if fresh(dir) {
		lines = append(lines, "broker.session.timeout.ms=600000")
	}
	lines = append(lines, o.Settings...)
	properties := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(properties, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return properties
}

func format(t testing.TB, classes, properties string, features []string) {
	t.Helper()
	arguments := JVM("-Xmx256m", "-cp", classes, "kafka.tools.StorageTool", "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties)
	for _, feature := range features {
		arguments = append(arguments, "--feature", feature)
	}
	if said, err := RunWithin(exec.Command("java", arguments...), startTimeout, ""); err != nil || said.Code != 0 {
		t.Fatalf("format: %v, exit code %d\n%s", err, said.Code, said.Both)
	}
}

// awaitAnswer waits until the node answers.
func (n *Node) awaitAnswer() error {
	for deadline := time.Now().Add(startTimeout); ; {
		select {
		case <-n.exited:
			return errors.New("Apache Kafka ended before it was ready")
		case <-time.After(50 * time.Millisecond):
		}
		if n.answers() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("Apache Kafka was not ready after %v", startTimeout)
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

func (n *Node) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(n.Address), kgo.RequestRetries(0))
	if err != nil {
		return false
	}
	defer admin.Close()
	brokers, err := admin.ListBrokers(ctx)
	return err == nil && len(brokers) == 1
}

func (n *Node) run(t testing.TB) {
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
		n.Kill()
		_ = stderr.Close()
		if t.Failed() {
			t.Logf("%s said:\n%s", n.Name, n.Log())
		}
	})
}

func (n *Node) reap() {
	_ = n.command.Wait()
	close(n.exited)
}

// Kill ends the node as kill -9 does.
func (n *Node) Kill() {
	_ = n.command.Process.Kill()
	<-n.exited
}

// Stop ends the node cleanly.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.exited:
		if code := n.command.ProcessState.ExitCode(); code != 0 && code != 143 {
			t.Fatalf("%s: exit code %d after SIGTERM\n%s", n.Name, code, n.Log())
		}
	case <-time.After(startTimeout):
		t.Fatalf("%s still runs %v after SIGTERM\n%s", n.Name, startTimeout, n.Log())
	}
}

// Log is the end of what the node wrote.
func (n *Node) Log() string {
	all, _ := os.ReadFile(n.stderr)
	return string(all[max(0, len(all)-6000):])
}

// taken tells whether somebody listens at an address.
func taken(address string) bool {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return true
	}
	_ = listener.Close()
	return false
}

// given are the addresses that this process has handed out: between two calls
// nobody listens at the first one yet.
var given sync.Map

// freeAddress is one that nobody listens at. Its port is below those that the
// system gives to connections, of which one may take it before Kafka does.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(15_000+rand.IntN(17_000)))
		if _, before := given.LoadOrStore(address, true); before {
			continue
		}
		if !taken(address) {
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
