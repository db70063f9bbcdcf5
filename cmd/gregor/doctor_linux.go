// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Magic numbers of statfs(2).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs",
	unix.SMB2_SUPER_MAGIC: "cifs", unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p", 0x2fc12fc1: "zfs",
}

// fileSystemOf names the file system of a directory; "" where it has no name
// here.
func fileSystemOf(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	return fileSystems[int64(uint32(st.Type))]
}

// clockFacts tells where time comes from, and whether somebody keeps it right.
func clockFacts() (source string, synchronized, known bool) {
	if text, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource"); err == nil {
		source = strings.TrimSpace(string(text))
	}
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil { // only read: no mode is set
		return source, false, false
	}
	return source, t.Status&unix.STA_UNSYNC == 0, true
}
