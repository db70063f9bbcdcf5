// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// validationPage lists what standard validation lets pass, as the test found
// it. PARITY_UPDATE=1 writes it anew.
const validationPage = "../../docs/validation.md"

// pass notes a compressed batch that Apache Kafka refused and a gregor took.
func (l *ledger) pass(name, siteName string, want, got []field) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "Produce" || !strings.HasPrefix(parts[1], "opened-") {
		return
	}
	for _, f := range got {
		if strings.HasSuffix(f.path, ".ErrorCode") && f.value == "0" && slices.ContainsFunc(want, func(w field) bool { return w.path == f.path && w.value != "0" }) {
			if l.passed == nil {
				l.passed = map[string]map[string][]string{}
			}
			if l.passed[siteName] == nil {
				l.passed[siteName] = map[string][]string{}
			}
			l.passed[siteName][parts[2]] = append(l.passed[siteName][parts[2]], strings.TrimPrefix(parts[1], "opened-"))
		}
	}
}

// inWords says what the test's names of faults mean.
var inWords = map[string]string{
	"bytes behind": "bytes behind the last record", "count and delta more": "a header that counts more records than there are", "count less": "a header that counts fewer records than there are",
	"cut in half": "compressed bytes that end too early", "header count -1": "a record with -1 headers", "header count 1": "a record that claims a header and has none", "key length +1": "a key that runs into the value",
	"noise": "compressed bytes that hold no records", "not compressed": "bytes that are not compressed", "nothing": "a compressed nothing, in place of records",
	"plain records":      "records that are not compressed, though the batch says so",
	"offset deltas 0, 2": "a gap between the records' numbers", "offset deltas backwards": "records that are numbered backwards",
}

// checkPassed compares the page with what was found. Strict validation lets
// nothing pass; but records with wrong numbers, over which Kafka fails, it
// numbers anew.
func (l *ledger) checkPassed(t *testing.T) {
	t.Helper()
	for fault, codecs := range byName(l.passed[strict]) {
		if strings.HasPrefix(fault, "offset deltas") {
			continue
		}
		t.Errorf("strict lets pass %q of %v, which Apache Kafka refuses", fault, codecs)
	}
	var b strings.Builder
	b.WriteString(`# Validation of compressed batches

Written by the parity test; do not edit.

` + "`gregor.produce.validation=standard`" + `, the default, checks all of a compressed batch but its inside: size, magic, checksum, codec, counts, the header's
timestamps and sequences, and how the compressed bytes begin. It does not decompress, which Kafka always does, so these faults of producers reach consumers, which may fail over them:

| inside the batch | codecs |
|-|-|
`)
	for fault, codecs := range byName(l.passed[standard]) {
		text, ok := inWords[fault]
		if !ok {
			t.Errorf("standard lets pass %q of %v, for which there are no words", fault, codecs)
		}
		slices.Sort(codecs)
		fmt.Fprintf(&b, "| %s | %s |\n", text, strings.Join(slices.Compact(codecs), ", "))
	}
	b.WriteString("\n`strict` refuses them, as Kafka does, and numbers records anew that are numbered wrongly. Topics that are compacted, recompressed or of LogAppendTime are always checked strictly.\n")
	if os.Getenv("PARITY_UPDATE") != "" {
		if err := os.WriteFile(validationPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(validationPage)
	if err != nil || string(page) != b.String() {
		t.Errorf("docs/validation.md is not what was found (PARITY_UPDATE=1 writes it): %v", err)
	}
}
