// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this test binary as gregor, and by the name of one
// of Kafka's scripts, as a link would.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gregor": main, "kafka-get-offsets.sh": main, "httpget": getMain})
}

// TestScripts runs the scripts in testdata/script. What people see is pinned
// there: texts, formats and exit codes. Beside testscript's own commands there
// are
//
//	node [arg...]     starts a node on a port of its own, data under $WORK/data, and
//	                  sets $GREGOR_BOOTSTRAP_SERVER, $CONTROLLER, $ADMIN and $READY; of the
//	                  script's own variables it sees $KAFKA_NUM_PARTITIONS
//	halt [signal]     stops it (TERM) and checks that it ends with 0
//	exits N cmd...    runs a command and wants exit code N
//	complete arg...   asks for completions, again while the node takes too long for a shell
//	get path          asks the node's admin listener, as exec would
//	damage file       turns the bits of its last byte around and appends ten bytes
//	member NAME KIND GROUP TOPIC [N]   a consumer joins, and has N partitions (1)
//	leave NAME        it leaves
//	commit GROUP TOPIC PARTITION OFFSET [METADATA]   commits without a member
//	normal file       replaces what differs between runs: times, ports, ids
func TestScripts(t *testing.T) { testscript.Run(t, scripts("testdata/script")) }

func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node":     startNode,
			"halt":     stopNode,
			"exits":    exits,
			"get":      get,
			"normal":   normalize,
			"damage":   damage,
			"member":   joinGroup,
			"leave":    leaveGroup,
			"commit":   commitOffset,
			"complete": complete,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[running{}] = &process{}
			e.Values[memberKey{}] = members{}
			return nil
		},
	}
}

type running struct{}

// process is the node of one script.
type process struct {
	command *exec.Cmd
	done    chan error
}

// scriptTimeout bounds one wait of a script; what waits so long hangs.
const scriptTimeout = 5 * time.Minute

var ready = regexp.MustCompile(`^gregor ready in \d+ ms: kafka (127\.0\.0\.1:\d+)(?:, controller (127\.0\.0\.1:\d+))?, admin (127\.0\.0\.1:\d+)$`)

func startNode(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(running{}).(*process)
	gregor, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "gregor"))
	ts.Check(err)
	p.command = exec.Command(gregor, append([]string{"start", "--set", "listeners=PLAINTEXT://" + ownAddress(),
		"--set", "gregor.admin.listener=127.0.0.1:0", "--set", "log.dirs=" + ts.MkAbs("data")}, args...)...)
	p.command.Dir = ts.MkAbs(".")
	p.command.Env = environment()
	if v := ts.Getenv("KAFKA_NUM_PARTITIONS"); v != "" {
		p.command.Env = append(p.command.Env, "KAFKA_NUM_PARTITIONS="+v)
	}
	logs, err := os.OpenFile(ts.MkAbs("node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	p.command.Stderr = logs
	stdout, err := p.command.StdoutPipe()
	ts.Check(err)
	ts.Check(p.command.Start())
	p.done = make(chan error, 1)
	ts.Defer(func() { p.command.Process.Kill(); logs.Close() })
	lines := make(chan string, 1)
	go func() {
		in := bufio.NewScanner(stdout)
		for in.Scan() {
			select {
			case lines <- in.Text():
			default:
			}
		}
		p.done <- p.command.Wait()
	}()
	select {
	case line := <-lines:
		m := ready.FindStringSubmatch(line)
		if m == nil {
			ts.Fatalf("the ready line is %q", line)
		}
		ts.Setenv("READY", line)
		ts.Setenv("GREGOR_BOOTSTRAP_SERVER", m[1])
		ts.Setenv("CONTROLLER", m[2])
		ts.Setenv("ADMIN", m[3])
	case err := <-p.done:
		ts.Fatalf("the node ended before it was ready: %v\n%s", err, ts.ReadFile("node.log"))
	case <-time.After(scriptTimeout):
		ts.Fatalf("the node is not ready\n%s", ts.ReadFile("node.log"))
	}
}

// ownAddress is one where nobody listens, and whose port the system gives to
// nobody who asks for any. While a script's node is away no other takes its
// place, and it finds the port free when it comes back.
func ownAddress() string {
	address := "127.0.0.1:0"
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			address = l.Addr().String()
			l.Close()
			break
		}
	}
	return address
}

// environment is that of the test, without what would configure a node.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") })
}

func stopNode(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(running{}).(*process)
	with := syscall.SIGTERM
	if len(args) > 0 {
		with = map[string]syscall.Signal{"INT": syscall.SIGINT, "HUP": syscall.SIGHUP}[args[0]]
	}
	if with == syscall.SIGHUP && signal.Ignored(with) {
		with = syscall.SIGTERM // under nohup a node lives on, as it should
	}
	ts.Check(p.command.Process.Signal(with))
	select {
	case err := <-p.done:
		if err != nil {
			ts.Fatalf("the node ended with %v\n%s", err, ts.ReadFile("node.log"))
		}
	case <-time.After(scriptTimeout):
		ts.Fatalf("the node does not stop\n%s", ts.ReadFile("node.log"))
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, got := args[0], 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if fmt.Sprint(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// complete wants names. A shell waits for them for a moment only, in which a
// busy machine may not have them.
func complete(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(scriptTimeout); ; time.Sleep(10 * time.Millisecond) {
		ts.Check(ts.Exec("gregor", append([]string{"__complete"}, args...)...))
		if !strings.HasPrefix(ts.ReadFile("stdout"), ":") { // what cobra ends them with
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing completes %q", args)
		}
	}
}

// get runs this test binary once more, so that the answer is stdout.
func get(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("httpget", "http://"+ts.Getenv("ADMIN")+args[0]))
}

// getMain is httpget, the command behind get.
func getMain() {
	answer, err := http.Get(os.Args[1])
	if err == nil {
		_, err = io.Copy(os.Stdout, answer.Body)
	}
	if err != nil || answer.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, answer, err)
		os.Exit(1)
	}
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	b[len(b)-1] ^= 0xff
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(b, "0123456789"...), 0o644))
}

var normal = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST:PORT"},
	{regexp.MustCompile(`member [A-Za-z0-9_=./+-]{22,}`), "member ID"},
	{regexp.MustCompile(`id [A-Za-z0-9_-]{22}`), "id ID"},
	{regexp.MustCompile(`"id": ?"[A-Za-z0-9_-]{22}"`), `"id":"ID"`},
}

func normalize(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	for _, n := range normal {
		text = n.from.ReplaceAllString(text, n.to)
	}
	name := args[0]
	if name == "stdout" || name == "stderr" {
		name = "normal-" + name
	}
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
}
