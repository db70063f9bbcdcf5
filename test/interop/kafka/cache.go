// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// installTimeout ends an installation whose package index does not answer. One
// compiles a library in C, which takes two minutes of a processor.
const installTimeout = 18 * time.Minute

// installing lets one test install a thing at a time: the next one finds it done,
// or failed, and does not wait for the package index again. Who needs another
// thing goes on.
var installing sync.Map // name to *installation

type installation struct {
	sync.Mutex
	failed error
}

// Cached returns a folder of .cache that install has filled. It is filled anew
// when one of the inputs, files that say what belongs into it, has changed.
func Cached(t testing.TB, name string, inputs []string, install func(ctx context.Context, dir string) error) string {
	t.Helper()
	mine, _ := installing.LoadOrStore(name, &installation{})
	one := mine.(*installation)
	one.Lock()
	defer one.Unlock()
	sum := sha256.New()
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	want := hex.EncodeToString(sum.Sum(nil))
	dir := filepath.Join(Folder(t), ".cache", name)
	complete := filepath.Join(dir, ".complete")
	if got, err := os.ReadFile(complete); err == nil && string(got) == want {
		return dir
	}
	if one.failed != nil {
		t.Fatalf("%s could not be installed for a test before: %v", name, one.failed)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	if err := install(ctx, dir); err != nil {
		one.failed = err
		t.Fatalf("%s could not be installed: %v", name, err)
	}
	if err := os.WriteFile(complete, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run runs a program of an installation and returns what it said with its
// error. Its children end with it.
func Run(ctx context.Context, env []string, program string, arguments ...string) error {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(), env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v: does the package index answer, and is there a processor for it?", installTimeout)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, said.Bytes()[max(0, said.Len()-4000):])
	}
	return nil
}

// Fetch is Run for a program that asks a package index: an index that does not
// answer for a moment is asked again.
func Fetch(ctx context.Context, env []string, program string, arguments ...string) error {
	for _, pause := range []time.Duration{5 * time.Second, 20 * time.Second} {
		if err := Run(ctx, env, program, arguments...); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return Run(ctx, env, program, arguments...)
}

// Folder is test/interop.
func Folder(t testing.TB) string {
	t.Helper()
	return filepath.Join(root(t), "test", "interop")
}

// Need skips a test that lacks a program, naming it.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		Skip(t, "for want of "+strings.Join(missing, ", "))
	}
}

// Skip leaves a test out and says so, also in the file that INTEROP_SKIPPED
// names: go test keeps silent about it.
func Skip(t testing.TB, why string) {
	t.Helper()
	LeftOut(t, why)
	t.Skip(why)
}

// LeftOut says of a part of a test what Skip says of a whole one.
func LeftOut(t testing.TB, why string) {
	t.Helper()
	t.Log("left out: " + why)
	name := os.Getenv("INTEROP_SKIPPED")
	if name == "" {
		return
	}
	list, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	if _, err := fmt.Fprintf(list, "skipped: %s: %s\n", t.Name(), why); err != nil {
		t.Fatal(err)
	}
}
