// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gregor/base/vfs"
)

func TestJudgements(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func(at time.Time, source string, synchronized, known bool) check {
		return judgeClock(at, source, synchronized, known)[0]
	}
	for _, x := range []struct {
		got    check
		status string
		detail string
		next   string
	}{
		{judgePort("p", "h:9092", fmt.Errorf("listen: %w", syscall.EADDRINUSE), "a Kafka node"), checkOK, "a Kafka node answers at h:9092", ""},
		{judgePort("p", "h:9092", fmt.Errorf("listen: %w", syscall.EADDRINUSE), ""), checkFail, "h:9092 is taken", "ss -ltnp 'sport = :9092'"},
		{judgePort("p", "h:80", syscall.EACCES, ""), checkFail, "may not be bound", "gregor start --set listeners="},
		{judgePort("p", "h:80", errors.New("no such host"), ""), checkFail, "no such host", "ip address"},
		{judgeOpenFiles(1023), checkFail, "1023", "ulimit -n"},
		{judgeOpenFiles(1024), checkWarn, "1024", "ulimit -n"},
		{judgeOpenFiles(20_000), checkOK, "20000", ""},
		{judgeMemory(0, 256<<20), checkOK, "no limit; requests may hold 256.0 MiB", ""},
		{judgeMemory(1<<30, 256<<20), checkOK, "the limit is 1.0 GiB", ""},
		{judgeMemory(300<<20, 256<<20), checkWarn, "300.0 MiB", "gregor.request.memory.bytes=78643200"},
		{judgeSpace("d", "/x", vfs.Usage{TotalBytes: 100 << 30, FreeBytes: 50 << 30}, 1<<30), checkOK, "50.0 GiB of 100.0 GiB free, of which producers leave 1.0 GiB", ""},
		{judgeSpace("d", "/x", vfs.Usage{TotalBytes: 100 << 30, FreeBytes: 9 << 30}, 0), checkWarn, "9.0 GiB", "df -h /x"},
		{judgeSpace("d", "/x", vfs.Usage{TotalBytes: 2 << 30, FreeBytes: 1<<30 - 1}, 0), checkFail, "1.0 GiB of 2.0 GiB free", "df -h /x"},
		{judgeSpace("d", "/x", vfs.Usage{TotalBytes: 100 << 30, FreeBytes: 20 << 30}, 30<<30), checkFail, "they would be refused", "df -h /x"},
		{judgeFileSystem("d", "ext4"), checkOK, "file system ext4", ""},
		{judgeFileSystem("d", "nfs"), checkWarn, "nfs is a network's", "gregor start --set log.dirs="},
		{judgeSync("d", "/x", 3*time.Millisecond, nil), checkOK, "a durable write takes 3ms", ""},
		{judgeSync("d", "/x", 30*time.Millisecond, nil), checkWarn, "a durable write takes 30ms", "iostat"},
		{judgeSync("d", "/x", 0, os.ErrPermission), checkFail, "permission denied", "ls -ld /x"},
		{clock(now, "", true, true), checkOK, "synchronized", ""},
		{clock(now, "", false, true), checkWarn, "not synchronized", "timedatectl"},
		{clock(time.Unix(0, 0), "", true, true), checkFail, "it is not 1970-01-01T00:00:00Z", "timedatectl"},
		{clock(now, "hpet", false, false), checkWarn, "hpet is slow to read", "cat /sys/"},
		{clock(now, "tsc", false, false), checkOK, "tsc", ""},
	} {
		if x.got.Status != x.status || !strings.Contains(x.got.Detail, x.detail) || (x.next == "") != (x.got.Next == "") || !strings.Contains(x.got.Next, x.next) {
			t.Errorf("got %+v, want %s %q, next %q", x.got, x.status, x.detail, x.next)
		}
	}
}

// A port that something else holds is told apart from one where a node answers,
// also when that something never says a word.
func TestCheckPort(t *testing.T) {
	silent, err := net.Listen("tcp", ownAddress())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for what, nodeAt := range map[string]func(string) string{"kafka": kafkaAt, "admin": adminAt} {
		if k := checkPort(t.Context(), "port X", silent.Addr().String(), nodeAt); k.Status != checkFail || !strings.Contains(k.Detail, "taken by another process") {
			t.Errorf("%s: %+v", what, k)
		}
	}
	silent.Close()
	if k := checkPort(t.Context(), "port X", silent.Addr().String(), kafkaAt); k.Status != checkOK {
		t.Errorf("%+v", k)
	}
}

// What is measured on a disk leaves nothing behind, and a directory that is yet
// to be made is looked at where it would be.
func TestDiskIsLeftAsItWas(t *testing.T) {
	dir := t.TempDir()
	if got := existing(filepath.Join(dir, "not", "yet")); got != dir {
		t.Errorf("looks at %s", got)
	}
	if took, err := syncTime(dir); err != nil || took <= 0 {
		t.Errorf("%v %v", took, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
	if _, err := syncTime(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
