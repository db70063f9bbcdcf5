// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gregor/cluster/metarec"
)

// TestKafkaSnapshots: of the same history of records comes the same snapshot as
// of Apache Kafka 4.4, to the byte of each record, but for two things: Kafka
// sorts a broker's features, and forgets which broker took the last producer
// ids. testdata/Snapshots.java has written the vectors.
func TestKafkaSnapshots(t *testing.T) {
	f, err := os.Open("testdata/histories.vectors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var history []metarec.Record
	var want []string
	count := 0
	judge := func() {
		if count++; count == 1 {
			return // before the first history
		}
		img := replay(t, Empty(), history...)
		var got []string
		for rec := range img.Records() {
			got = append(got, hex.EncodeToString(metarec.Marshal(nil, asKafka(rec), img.MetadataVersion())))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("history %d:\n%s", count-1, difference(t, got, want))
		}
		history, want = nil, nil
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		kind, value, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "history":
			judge()
		case "+":
			b, err := hex.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := metarec.Unmarshal(b)
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, rec)
		case "=":
			want = append(want, value)
		}
	}
	judge()
	if count < 20 {
		t.Errorf("%d histories", count)
	}
}

func difference(t *testing.T, got, want []string) string {
	var b strings.Builder
	list := func(mark string, of, without []string) {
		for _, s := range of {
			if slices.Contains(without, s) {
				continue
			}
			raw, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			rec, version, err := metarec.UnmarshalVersion(raw)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %T %+v version %d\n", mark, rec, rec, version)
		}
	}
	list("got ", got, want)
	list("want", want, got)
	return b.String()
}

func asKafka(rec metarec.Record) metarec.Record {
	switch r := rec.(type) {
	case *metarec.RegisterBroker:
		c := *r
		c.Features = slices.SortedFunc(slices.Values(r.Features), func(a, b metarec.FeatureRange) int { return strings.Compare(a.Name, b.Name) })
		return &c
	case *metarec.ProducerIDs:
		return &metarec.ProducerIDs{BrokerID: -1, BrokerEpoch: -1, NextProducerID: r.NextProducerID}
	}
	return rec
}
