// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"gregor/base/vfs"
)

// What was measured is judged here, by functions that touch nothing.

// judgePort says why an address could not be bound. A node that answers there
// is most likely the one that is asked about.
func judgePort(name, address string, err error, answers string) check {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && answers != "":
		return check{name, checkOK, answers + " answers at " + address, ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return check{name, checkFail, address + " is taken by another process", "ss -ltnp 'sport = :" + portOf(address) + "'"}
	case errors.Is(err, syscall.EACCES):
		return check{name, checkFail, address + " may not be bound by this user", "gregor start --set listeners=PLAINTEXT://127.0.0.1:9092"}
	}
	return check{name, checkFail, err.Error(), "ip address"}
}

// Descriptors: below the first a node has hardly any for its segments, at the
// second it holds 100,000 partitions.
const (
	openFilesLeast  = 1024
	openFilesPlenty = 20_000
)

func judgeOpenFiles(limit uint64) check {
	k := check{"open files", checkOK, fmt.Sprintf("a process may have %d", limit), ""}
	switch {
	case limit < openFilesLeast:
		k.Status = checkFail
	case limit < openFilesPlenty:
		k.Status = checkWarn
	default:
		return k
	}
	k.Next = "ulimit -n 65536   |   LimitNOFILE=65536 in the service's unit"
	return k
}

// heapReserveBytes is what a node takes beside the requests that it holds.
const heapReserveBytes = 128 << 20

func judgeMemory(groupBytes, requestBytes int64) check {
	if groupBytes == 0 {
		return check{"memory", checkOK, fmt.Sprintf("no limit; requests may hold %s", size(requestBytes)), ""}
	}
	k := check{"memory", checkOK, fmt.Sprintf("the limit is %s; requests may hold %s", size(groupBytes), size(requestBytes)), ""}
	if groupBytes < requestBytes+heapReserveBytes {
		k.Status = checkWarn
		k.Next = fmt.Sprintf("gregor start --set gregor.request.memory.bytes=%d", max(groupBytes/4, 16<<20))
	}
	return k
}

// Room on a disk: below the first a node would soon stop, below the second part
// it is time to act.
const (
	roomLeastBytes = 1 << 30
	roomPartLeast  = 10 // percent
)

// judgeSpace compares the room with what producers leave of it, too.
func judgeSpace(name, dir string, u vfs.Usage, reserveBytes int64) check {
	k := check{name, checkOK, fmt.Sprintf("%s of %s free", size(u.FreeBytes), size(u.TotalBytes)), ""}
	if reserveBytes > 0 {
		k.Detail += fmt.Sprintf(", of which producers leave %s (gregor.log.reserve.bytes)", size(reserveBytes))
	}
	switch {
	case u.FreeBytes < reserveBytes:
		k.Status = checkFail
		k.Detail += ": they would be refused"
	case u.FreeBytes < roomLeastBytes:
		k.Status = checkFail
	case u.FreeBytes < u.TotalBytes/100*roomPartLeast:
		k.Status = checkWarn
	default:
		return k
	}
	k.Next = "df -h " + dir
	return k
}

// File systems that need a word.
var fileSystemWords = map[string]string{
	"tmpfs":   "is memory: records are gone with the machine",
	"overlay": "is a container's layer: records are gone with the container; mount a volume",
	"nfs":     "is a network's: locks and fsync may not hold what they promise",
	"cifs":    "is a network's: locks and fsync may not hold what they promise",
	"fuse":    "is a program's: fsync may not hold what it promises",
	"9p":      "is shared with a host: fsync may not hold what it promises",
}

func judgeFileSystem(name, kind string) check {
	if word, ok := fileSystemWords[kind]; ok {
		return check{name, checkWarn, kind + " " + word, "gregor start --set log.dirs=/another/path"}
	}
	return check{name, checkOK, "file system " + kind, ""}
}

// syncSlow is a median fsync from which metadata changes and ack-flushed topics
// are felt to be slow.
const syncSlow = 20 * time.Millisecond

func judgeSync(name, dir string, took time.Duration, err error) check {
	switch {
	case err != nil:
		return check{name, checkFail, err.Error(), "ls -ld " + dir}
	case took > syncSlow:
		return check{name, checkWarn, fmt.Sprintf("a durable write takes %v", took.Round(time.Microsecond)), "iostat -x 1"}
	}
	return check{name, checkOK, fmt.Sprintf("a durable write takes %v", took.Round(time.Microsecond)), ""}
}

// clocksQuick are the sources that are read without a system call.
var clocksQuick = []string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"}

// clockLeast is before any build of this program.
var clockLeast = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func judgeClock(now time.Time, source string, synchronized, known bool) []check {
	var checks []check
	switch {
	case now.Before(clockLeast):
		checks = append(checks, check{"clock", checkFail, "it is not " + now.UTC().Format(time.RFC3339), "timedatectl set-ntp true"})
	case known && !synchronized:
		checks = append(checks, check{"clock", checkWarn, "not synchronized: timestamps and retention by time may be off", "timedatectl set-ntp true"})
	case known:
		checks = append(checks, check{"clock", checkOK, "synchronized", ""})
	}
	if source != "" {
		k := check{"clock source", checkOK, source, ""}
		if !slices.Contains(clocksQuick, source) {
			k.Status, k.Detail = checkWarn, source+" is slow to read"
			k.Next = "cat /sys/devices/system/clocksource/clocksource0/available_clocksource"
		}
		checks = append(checks, k)
	}
	return checks
}
