// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/groups"
)

// offsetLine is one committed offset, as export writes it and seek reads it.
type offsetLine struct {
	Group       string `json:"group,omitempty"`
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"offset"`
	LeaderEpoch int32  `json:"leaderEpoch"`
	Metadata    string `json:"metadata,omitempty"`
}

var exportOutputs = []string{"csv", "json", "jsonl"}

func newGroupExportCommand(n *connection) *cobra.Command {
	var output string
	var topics topicSelection
	c := &cobra.Command{
		Use:   "export GROUP...",
		Short: "Write the committed offsets of groups, for seek --from-file",
		Long: `Writes the committed offsets of groups to stdout. "gregor group seek --from-file" puts a group back there.

csv is topic,partition,offset, with the group in front where there are several; kafka-consumer-groups reads and writes the same.
json and jsonl also keep the leader epochs and the metadata of the commits.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor group export audit > offsets.csv\n  gregor group export audit billing -o jsonl\n  gregor group export audit --topic orders",
		RunE: func(c *cobra.Command, names []string) error {
			if !slices.Contains(exportOutputs, output) {
				return usage("-o %s: allowed are %s", output, strings.Join(exportOutputs, ", "))
			}
			if err := topics.parse(); err != nil {
				return err
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error {
				var problems problems
				var lines []offsetLine
				err := q.each(ctx, names, false, &problems, func(g *groups.Group, positions []groups.Position) error {
					for _, p := range positions {
						if p.Committed >= 0 && topics.has(p.Topic, p.Partition) {
							lines = append(lines, offsetLine{g.Name, p.Topic, p.Partition, p.Committed, p.LeaderEpoch, p.Metadata})
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
				if err := writeOffsetLines(c.OutOrStdout(), output, lines, len(names) > 1); err != nil {
					return err
				}
				return problems.end(c)
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "csv", strings.Join(exportOutputs, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(exportOutputs, cobra.ShellCompDirectiveNoFileComp))
	topics.flags(c, topicSelectionHelp)
	return c
}

func writeOffsetLines(w io.Writer, output string, lines []offsetLine, several bool) error {
	if output != "csv" {
		l := listing{kind: "CommittedOffset"}
		for _, line := range lines {
			l.items = append(l.items, line)
		}
		return l.print(w, output)
	}
	out := csv.NewWriter(w)
	for _, line := range lines {
		row := []string{line.Topic, strconv.Itoa(int(line.Partition)), strconv.FormatInt(line.Offset, 10)}
		if several {
			row = append([]string{line.Group}, row...)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// offsetFileBytesMax bounds what a file of offsets may hold.
const offsetFileBytesMax = 256 << 20

// readOffsetLines reads what export wrote, in any of its formats.
func readOffsetLines(in io.Reader, path string) ([]offsetLine, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usage("--from-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, offsetFileBytesMax+1))
	switch {
	case err != nil:
		return nil, failed(fmt.Errorf("read %s: %w", path, err))
	case len(text) > offsetFileBytesMax:
		return nil, usage("--from-file %s: it is larger than %d bytes", path, offsetFileBytesMax)
	}
	lines, err := parseOffsetLines(text)
	if err == nil {
		err = checkOffsetLines(lines)
	}
	if err != nil {
		return nil, usage("--from-file %s: %w", path, err)
	}
	return lines, nil
}

func parseOffsetLines(text []byte) ([]offsetLine, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseOffsetCSV(text)
	}
	var lines []offsetLine
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		var envelope struct{ Items []offsetLine }
		var line offsetLine
		switch err := d.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return nil, err
		}
		if err := json.Unmarshal(raw, &envelope); err != nil {
			return nil, err
		}
		if envelope.Items != nil {
			lines = append(lines, envelope.Items...)
			continue
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
}

// UnmarshalJSON tells what is left out from what is 0.
func (l *offsetLine) UnmarshalJSON(text []byte) error {
	type plain offsetLine
	given := plain{Partition: -1, Offset: -1, LeaderEpoch: -1}
	err := json.Unmarshal(text, &given)
	*l = offsetLine(given)
	return err
}

func parseOffsetCSV(text []byte) ([]offsetLine, error) {
	in := csv.NewReader(bytes.NewReader(text))
	in.FieldsPerRecord, in.TrimLeadingSpace = -1, true
	rows, err := in.ReadAll()
	if err != nil {
		return nil, err
	}
	var lines []offsetLine
	for i, row := range rows {
		if len(row) != 3 && len(row) != 4 {
			return nil, fmt.Errorf("line %d: want topic,partition,offset or group,topic,partition,offset", i+1)
		}
		line := offsetLine{LeaderEpoch: -1}
		if len(row) == 4 {
			line.Group, row = row[0], row[1:]
		}
		line.Topic = row[0]
		partition, errPartition := strconv.ParseInt(row[1], 10, 32)
		at, errOffset := strconv.ParseInt(row[2], 10, 64)
		if err := cmp.Or(errPartition, errOffset); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		line.Partition, line.Offset = int32(partition), at
		lines = append(lines, line)
	}
	return lines, nil
}

func checkOffsetLines(lines []offsetLine) error {
	type place struct {
		group, topic string
		partition    int32
	}
	seen := map[place]bool{}
	for _, l := range lines {
		at := place{l.Group, l.Topic, l.Partition}
		switch {
		case l.Topic == "" || l.Partition < 0 || l.Offset < 0:
			return fmt.Errorf("an entry needs a topic, a partition and an offset: %q %d %d", l.Topic, l.Partition, l.Offset)
		case seen[at]:
			return fmt.Errorf("%s-%d is there twice", l.Topic, l.Partition)
		}
		seen[at] = true
	}
	if len(lines) == 0 {
		return errors.New("it holds no offsets")
	}
	return nil
}
