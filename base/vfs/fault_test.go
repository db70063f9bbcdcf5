// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultFailsTheNthCall(t *testing.T) {
	f := NewFault(NewMemory())
	file := must[File](t)(f.Open("/log", Create, 0o644))
	f.Add(Rule{Ops: OpSyncData, Path: "log", Skip: 2, Times: 1, Err: syscall.EIO})
	for i := range 5 {
		err := file.SyncData()
		if wantErr := i == 2; errors.Is(err, syscall.EIO) != wantErr {
			t.Fatalf("sync %d: %v", i, err)
		}
	}
	if n := f.Count(OpSyncs); n != 5 {
		t.Fatal(n)
	}
	f.Add(Rule{Ops: OpAny, Path: "/other", Err: syscall.EIO})
	ok(t, file.SyncData())
	if _, err := f.Stat("/other"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.Clear()
	if _, err := f.Stat("/log"); err != nil {
		t.Fatal(err)
	}
}

func TestFaultWritesShort(t *testing.T) {
	f := NewFault(NewMemory())
	file := must[File](t)(f.Open("/log", Create, 0o644))
	f.Add(Rule{Ops: OpWrite, Times: 2, Err: syscall.EIO, ShortBytes: 5})
	if n, err := file.WriteAt([]byte("hello world"), 0); n != 5 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	n, err := file.WriteVAt([][]byte{[]byte("HEL"), []byte("LO WORLD")}, 5)
	if n != 5 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	if got := content(t, f, "/log"); got != "helloHELLO" {
		t.Fatalf("%q", got)
	}
}

func TestFaultRunsTheDiskFull(t *testing.T) {
	f := NewFault(NewMemory())
	file := must[File](t)(f.Open("/log", Create, 0o644))
	f.SetBudget(8)
	if n, err := file.WriteAt([]byte("hello"), 0); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := file.WriteAt([]byte("world"), 5); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	if err := file.Preallocate(0, 1); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if got := content(t, f, "/log"); got != "hellowor" {
		t.Fatalf("%q", got)
	}
	f.SetBudget(100)
	if _, err := file.WriteAt([]byte("world"), 5); err != nil {
		t.Fatal("there is room again:", err)
	}
}

func TestFaultDelaysInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFault(NewMemory())
		file := must[File](t)(f.Open("/log", Create, 0o644))
		f.Add(Rule{Ops: OpSyncData, Delay: 5 * time.Second})
		start := time.Now()
		ok(t, file.SyncData())
		if took := time.Since(start); took != 5*time.Second {
			t.Fatal(took)
		}
	})
}
