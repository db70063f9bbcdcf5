// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestStory builds gregor and the example, runs it in both modes, and holds
// what it prints against README.md.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("a session timeout of real time; make test runs it")
	}
	ctx := t.Context()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := build(ctx, t, "gregor/examples/at-least-once", "at-least-once")
	address := serve(ctx, t)
	for _, mode := range []string{"manual", "auto"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			_, rest, _ := strings.Cut(string(readme), "```"+mode+"\n")
			want, _, _ := strings.Cut(rest, "```\n")
			command := exec.CommandContext(t.Context(), program, "-b", address, "-commit", mode)
			command.WaitDelay = time.Minute
			out, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Errorf("README.md tells another story (-README +run):\n%s", diff)
			}
			left(t, address, mode)
		})
	}
}

// left wants that a run leaves no topic and no group behind.
func left(t *testing.T, address, mode string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups, err := admin.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(groups.Groups(), topics.Names()...) {
		if strings.HasPrefix(name, "at-least-once-"+mode) {
			t.Errorf("%s is left behind", name)
		}
	}
}

// A wrong way to commit is refused, and a broker that is not there is told.
func TestMisuse(t *testing.T) {
	program := build(t.Context(), t, "gregor/examples/at-least-once", "at-least-once")
	out, err := exec.CommandContext(t.Context(), program, "-commit", "never").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "-commit is manual or auto") {
		t.Errorf("%v\n%s", err, out)
	}
}

func build(ctx context.Context, t *testing.T, pkg, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	command := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return binary
}

var ready = regexp.MustCompile(`^gregor ready in \d+ ms: kafka ([^, ]+)`)

// serve runs a node until the test ends. GREGOR_BIN names the binary; without
// it, it is built.
func serve(ctx context.Context, t *testing.T) string {
	t.Helper()
	binary := os.Getenv("GREGOR_BIN")
	if binary == "" {
		binary = build(ctx, t, "gregor/cmd/gregor", "gregor")
	}
	node := exec.Command(binary, "start", "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "gregor.admin.listener=",
		"--set", "log.dirs="+t.TempDir(), "--set", "group.initial.rebalance.delay.ms=0")
	node.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") }) // they configure a node
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Signal(syscall.SIGTERM)
		if err := node.Wait(); err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := ready.FindStringSubmatch(lines.Text()); found != nil {
			return found[1]
		}
	}
	t.Fatal("the node was never ready")
	return ""
}
