// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"gregor/base/vfs"
	"gregor/cmd/gregor/disk"
	"gregor/storage/logdir"
)

func newStorageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "storage",
		Short: "Look at log directories on the disk: dump, verify, du; format a new one",
		Long:  "Looks at the files of log directories, Kafka's or gregor's, without a broker. Nothing here but format changes them.",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newStorageDumpCommand(), newStorageVerifyCommand(), newStorageUsageCommand(), newStorageFormatCommand())
	return c
}

// usageItem is what a topic or partition takes on the disk.
type usageItem struct {
	Dir        string `json:"dir"`
	Topic      string `json:"topic"`
	Partition  *int32 `json:"partition,omitempty"`
	State      string `json:"state,omitempty"`
	Partitions int    `json:"partitions"`
	Segments   int    `json:"segments"`
	LogBytes   int64  `json:"logBytes"`
	IndexBytes int64  `json:"indexBytes"`
	OtherBytes int64  `json:"otherBytes"`
	TotalBytes int64  `json:"totalBytes"`
	usage      disk.Usage
}

func newStorageUsageCommand() *cobra.Command {
	var output string
	var partitions bool
	c := &cobra.Command{
		Use:   "du DIR...",
		Short: "Show what topics take on the disk",
		Long: `Adds up the files of each topic in log directories: segments, indexes, and the rest (snapshots, checkpoints, and what
waits for its deletion). A running broker does not mind. Deleted and stray folders are told apart.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor storage du ./data\n  gregor storage du /var/lib/kafka/data --partitions -o jsonl",
		RunE: func(c *cobra.Command, dirs []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			l := listing{kind: "Usage", header: []string{"TOPIC", "PARTITIONS", "SEGMENTS", "LOG", "INDEXES", "OTHER", "TOTAL", ""}}
			if partitions {
				l.header[1] = "PARTITION"
			}
			var sum disk.Usage
			for _, dir := range dirs {
				items, err := usageOf(dir, partitions)
				if err != nil {
					return err
				}
				for _, i := range items {
					sum.Add(i.usage)
					l.items = append(l.items, i)
					l.names = append(l.names, i.Topic)
					count := i.Partitions
					if i.Partition != nil {
						count = int(*i.Partition)
					}
					l.rows = append(l.rows, []string{i.Topic, strconv.Itoa(count), strconv.Itoa(i.Segments), size(i.LogBytes), size(i.IndexBytes), size(i.OtherBytes), size(i.TotalBytes), i.State})
				}
			}
			if err := l.print(c.OutOrStdout(), output); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s in %d segments\n", size(sum.Total()), sum.Segments)
			return nil
		},
	}
	outputFlag(c, &output)
	c.Flags().BoolVar(&partitions, "partitions", false, "one line for each partition")
	return c
}

// usageOf adds up a log directory, by topic or partition.
func usageOf(dir string, partitions bool) ([]usageItem, error) {
	folders, err := disk.Folders(dir)
	if err != nil {
		return nil, failed(err)
	}
	var items []usageItem
	for _, f := range folders {
		u, err := disk.UsageOf(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, failed(err)
		}
		last := len(items) - 1
		if last < 0 || partitions || items[last].Topic != f.Topic || items[last].State != f.State {
			items = append(items, usageItem{Dir: dir, Topic: f.Topic, State: f.State})
			last++
		}
		i := &items[last]
		if partitions {
			i.Partition = &f.Partition
		}
		i.Partitions++
		i.usage.Add(u)
		i.Segments, i.LogBytes, i.IndexBytes, i.OtherBytes, i.TotalBytes = i.usage.Segments, i.usage.LogBytes, i.usage.IndexBytes, i.usage.OtherBytes, i.usage.Total()
	}
	return items, nil
}

func newStorageVerifyCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "verify DIR...",
		Short: "Check every batch and index of a stopped broker's directory",
		Long: `Reads all segments of log directories: sizes, CRCs and offsets of all batches, what the indexes say of them, producer
snapshots; after a clean stop also whether a partition's folder was removed. It changes nothing, and holds the directory's
lock meanwhile so that no broker starts. Exits with 1 if anything is wrong. After a crash the last segment of a partition may
end in a torn batch: the next start cuts it off.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor storage verify ./data\n  gregor storage verify /var/lib/kafka/data -o jsonl",
		RunE: func(c *cobra.Command, dirs []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var report disk.Report
			partitions := 0
			for _, dir := range dirs {
				n, err := verify(dir, &report)
				partitions += n
				if err != nil {
					return err
				}
			}
			l := listing{kind: "Problem", header: []string{"FILE", "POSITION", "PROBLEM"}}
			for _, p := range report.Problems {
				l.items = append(l.items, p)
				l.names = append(l.names, p.File)
				l.rows = append(l.rows, []string{p.File, strconv.FormatInt(p.PosBytes, 10), p.Reason})
			}
			if output != "table" || len(report.Problems) > 0 {
				if err := l.print(c.OutOrStdout(), output); err != nil {
					return err
				}
			}
			fmt.Fprintf(c.ErrOrStderr(), "%d partitions, %d segments, %d batches, %d records, %s: ", partitions, report.Segments, report.Batches, report.Records, size(report.Bytes))
			if len(report.Problems) == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "all is well")
				return nil
			}
			fmt.Fprintf(c.ErrOrStderr(), "%d problems\n", len(report.Problems))
			return errReported
		},
	}
	outputFlag(c, &output)
	return c
}

// verify checks one log directory under its lock.
func verify(dir string, report *disk.Report) (partitions int, err error) {
	folders, err := disk.Folders(dir)
	if err != nil {
		return 0, failed(err)
	}
	lock, err := vfs.OS{}.Lock(filepath.Join(dir, ".lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return 0, failed(fmt.Errorf("%s is in use by a running broker: stop that first", dir), "gregor storage du "+dir)
	}
	if err != nil {
		return 0, failed(err)
	}
	defer lock.Close() //nolint:errcheck // the lock goes with the process in any case
	for _, f := range folders {
		if f.State == "deleted" {
			continue
		}
		if err := report.Verify(f.Path); err != nil {
			return partitions, failed(err)
		}
		partitions++
	}
	lost, err := logdir.LostSince(logdir.Options{FS: vfs.OS{}, Path: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return partitions, failed(err)
	}
	for _, l := range lost {
		report.Problems = append(report.Problems, disk.Problem{File: l.Folder,
			Reason: fmt.Sprintf("the folder was removed since the last clean stop, and the records up to offset %d with it: the next start begins the partition anew", l.LogEnd)})
	}
	return partitions, nil
}
