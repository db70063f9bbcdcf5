// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Java's FileChannel.tryLock is fcntl(F_SETLK) over the whole file. The test
// binary plays the Java process.
const lockerEnv = "GREGOR_VFS_TEST_POSIX_LOCK"

func TestMain(m *testing.M) {
	name := os.Getenv(lockerEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		os.Exit(3)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		os.Exit(1)
	}
	if err != nil {
		os.Exit(3)
	}
	os.Stdout.WriteString("locked\n")
	var b [1]byte
	os.Stdin.Read(b[:]) // hold it until the parent closes the pipe
	os.Exit(0)
}

func TestLockAndJavaFileLockExcludeEachOther(t *testing.T) {
	name := filepath.Join(t.TempDir(), ".lock")
	locker := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), lockerEnv+"="+name)
		return cmd
	}

	own, err := OS{}.Lock(name)
	ok(t, err)
	if err := locker().Run(); err == nil || err.(*exec.ExitError).ExitCode() != 1 {
		t.Fatal("a POSIX lock was granted beside ours:", err)
	}
	ok(t, own.Close())

	other := locker()
	in, err := other.StdinPipe()
	ok(t, err)
	out, err := other.StdoutPipe()
	ok(t, err)
	ok(t, other.Start())
	var b [7]byte
	if _, err := out.Read(b[:]); err != nil || string(b[:]) != "locked\n" {
		t.Fatalf("the other process got no lock: %q, %v", b, err)
	}
	if _, err := (OS{}).Lock(name); !errors.Is(err, ErrLocked) {
		t.Fatal("our lock was granted beside a POSIX lock:", err)
	}
	in.Close()
	ok(t, other.Wait())
	own, err = OS{}.Lock(name)
	ok(t, err)
	ok(t, own.Close())
}
