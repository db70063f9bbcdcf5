// SPDX-License-Identifier: Apache-2.0

// Package man writes manual pages of a command tree, one page a command, in
// troff's man macros. The same tree gives the same bytes.
package man

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page is one manual page.
type Page struct {
	Name string // of the file
	Text string
}

// Pages gives the page of a command and of all below it that are not hidden.
// Extra is troff that stands at the end of the first.
func Pages(root *cobra.Command, extra string) []Page {
	pages := []Page{{name(root) + ".1", page(root) + extra}}
	for _, sub := range root.Commands() {
		if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			pages = append(pages, Pages(sub, "")...)
		}
	}
	return pages
}

func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func page(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" gregor \"gregor\"\n.nh\n.ad l\n", quote(strings.ToUpper(name(c))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", text(name(c)), text(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n\\fB%s\\fP\n", text(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprint(&b, ".SH DESCRIPTION\n")
	paragraphs(&b, long)
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, ".PP\nOther names: %s.\n", text(strings.Join(c.Aliases, ", ")))
	}
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	flags(&b, "OPTIONS OF THE GROUP", c.InheritedFlags())
	if c.Example != "" {
		fmt.Fprint(&b, ".SH EXAMPLES\n.nf\n")
		for line := range strings.Lines(c.Example) {
			fmt.Fprintln(&b, text(strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ")))
		}
		fmt.Fprint(&b, ".fi\n")
	}
	var others []string
	if c.HasParent() {
		others = append(others, name(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			others = append(others, name(sub))
		}
	}
	if len(others) > 0 {
		fmt.Fprint(&b, ".SH SEE ALSO\n")
		for i, other := range others {
			if i > 0 {
				fmt.Fprint(&b, ",\n")
			}
			fmt.Fprintf(&b, "\\fB%s\\fP(1)", text(other))
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// paragraphs writes text as it is, with what is indented left as it stands.
func paragraphs(b *strings.Builder, long string) {
	for i, p := range strings.Split(strings.Trim(long, "\n"), "\n\n") {
		if i > 0 {
			fmt.Fprint(b, ".PP\n")
		}
		kept := false // within lines that are not to be filled
		for _, line := range strings.Split(p, "\n") {
			if indented := strings.HasPrefix(line, " "); indented != kept {
				kept = indented
				fmt.Fprintln(b, map[bool]string{true: ".nf", false: ".fi"}[kept])
			}
			fmt.Fprintln(b, text(line))
		}
		if kept {
			fmt.Fprint(b, ".fi\n")
		}
	}
}

func flags(b *strings.Builder, title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		head := "\\fB" + text("--"+f.Name) + "\\fP"
		if f.Shorthand != "" {
			head = "\\fB" + text("-"+f.Shorthand) + "\\fP, " + head
		}
		if value != "" {
			head += " \\fI" + text(value) + "\\fP"
		}
		fmt.Fprintf(b, ".TP\n%s\n", head)
		for i, line := range strings.Split(usage, "\n") {
			if i > 0 {
				fmt.Fprint(b, ".br\n")
			}
			fmt.Fprintln(b, text(line))
		}
		switch f.DefValue {
		case "", "false", "0", "[]", "0s":
		default:
			fmt.Fprintf(b, "(default %s)\n", text(f.DefValue))
		}
	})
}

// text escapes what troff would take for its own.
func text(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, "") + `"` }
