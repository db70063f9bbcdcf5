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
	"unicode/utf8"

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
			cells[i] = shown(cell)
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

// shown is a cell as a table has it.
func shown(cell string) string {
	if strings.ContainsFunc(cell, unicode.IsControl) {
		return strconv.Quote(cell)
	}
	return cell
}

// columns are the widths of a table that is written part by part.
type columns []int

// fit makes the columns as wide as these rows need, and reports whether one had
// to grow.
func (k *columns) fit(rows [][]string) (grown bool) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(*k) {
				*k = append(*k, 0)
			}
			if n := utf8.RuneCountInString(shown(cell)); n > (*k)[i] {
				(*k)[i], grown = n, true
			}
		}
	}
	return grown
}

// pad gives a row that makes a table as wide as the columns.
func (k columns) pad(row []string) []string {
	padded := make([]string, len(row))
	for i, cell := range row {
		cell = shown(cell)
		padded[i] = cell + strings.Repeat(" ", k[i]-utf8.RuneCountInString(cell))
	}
	return padded
}
