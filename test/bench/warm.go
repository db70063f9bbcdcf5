// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// warmReserveBytes stays free for processes and for what the loads write: with
// less, what a consumer is to read hot was given up for the warm pages already.
const warmReserveBytes = 11 << 30

// warmth keeps the page cache full of pages of a sparse file: they cost no
// disk, and the kernel gives them up at once for new ones.
type warmth struct {
	file *os.File
	size int64
}

func newWarmth(name string, size int64) (*warmth, error) {
	if size < 0 {
		available, err := availableMemory()
		if err != nil {
			return nil, err
		}
		size = max(available-warmReserveBytes, 0)
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "keeping %.1f GB of page cache warm\n", float64(size)/1e9)
	w := &warmth{file: file, size: size}
	if err := file.Truncate(size); err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.touch()
	return w, nil
}

// touch reads the file through; what is cached already costs little.
func (w *warmth) touch() {
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(w.file, 0, w.size)}, make([]byte, 1<<20))
}

func (w *warmth) close() error { return errors.Join(w.file.Close(), os.Remove(w.file.Name())) }

func availableMemory() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	return parseAvailable(text)
}

func parseAvailable(meminfo []byte) (int64, error) {
	for line := range bytes.Lines(meminfo) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "MemAvailable:" {
			kilobytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("no MemAvailable in /proc/meminfo")
}
