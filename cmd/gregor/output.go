// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// Formats of -o. JSON has one envelope for all commands, so that scripts can
// rely on it.
var outputs = []string{"table", "json", "jsonl", "name"}

// listing is the answer of a command as rows and as objects.
type listing struct {
	kind   string // of the items, in JSON
	header []string
	rows   [][]string
	items  []any
	names  []string
}

// envelope is what -o json prints.
type envelope struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Items      []any  `json:"items"`
}

func outputFlag(c *cobra.Command, to *string) {
	c.Flags().StringVarP(to, "output", "o", "table", strings.Join(outputs, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
}

// checkOutput refuses an unknown format before anything is asked.
func checkOutput(format string) error {
	if !slices.Contains(outputs, format) {
		return usage("-o %s: allowed are %s", format, strings.Join(outputs, ", "))
	}
	return nil
}

func (l *listing) print(w io.Writer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		items := l.items
		if items == nil {
			items = []any{}
		}
		return e.Encode(envelope{l.kind + "List", "gregor/v1", items})
	case "jsonl":
		e := json.NewEncoder(w)
		for _, item := range l.items {
			if err := e.Encode(item); err != nil {
				return err
			}
		}
		return nil
	case "name":
		for _, name := range l.names {
			if _, err := fmt.Fprintln(w, name); err != nil {
				return err
			}
		}
		return nil
	}
	return printTable(w, l.header, l.rows)
}

// printTable aligns columns. No line ends in spaces, so that tables can be
// compared and copied. Names that clients chose may hold anything; what a
// terminal would obey is quoted.
func printTable(w io.Writer, header []string, rows [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = cell; strings.ContainsFunc(cell, unicode.IsControl) {
				cells[i] = strconv.Quote(cell)
			}
		}
		if _, err := fmt.Fprintln(t, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
