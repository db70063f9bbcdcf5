// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

func TestDefaults(t *testing.T) {
	n, warnings, err := Load(Sources{})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if got := n.Listeners(); len(got) != 1 || got[0] != (Listener{"PLAINTEXT", "PLAINTEXT", "127.0.0.1", 9092}) {
		t.Errorf("listeners: %v", got)
	}
	for _, d := range Definitions() {
		if !d.Null {
			if _, err := d.parse(d.Default); err != nil {
				t.Errorf("default of %s: %v", d.Name, err)
			}
		}
	}
	top := Resolve(nil, nil, nil, n)
	if top.SegmentBytes != 1<<30 || top.RetentionMs != 7*24*3600*1000 || top.FlushMs != 1<<63-1 {
		t.Errorf("%+v", top)
	}
	for _, e := range DescribeTopic(map[string]string{"retention.ms": "5"}, nil, nil, n) {
		v := "null"
		if e.Value != nil {
			v = *e.Value
		}
		t.Log(e.Name, v, e.Source, len(e.Synonyms))
	}
}
