// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"strings"
	"testing"
	"time"

	"gregor/cmd/gregor/record"
)

func when(text string) (time.Time, error) { return time.Parse("2006-01-02", text) }

func headers(pairs ...string) []record.Header {
	var list []record.Header
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		h := record.Header{Key: []byte(name)}
		if ok {
			h.Value = []byte(value)
		}
		list = append(list, h)
	}
	return list
}

func TestMatch(t *testing.T) {
	day, _ := when("2026-01-02")
	r := record.Record{Topic: "orders", Partition: 2, Offset: 10, TimestampMs: day.UnixMilli(), Key: []byte("alice"),
		Value:   []byte(`{"user":{"id":7,"name":"Al","big":9007199254740993},"tags":["a",null,{"x y":true}],"n":"12","f":1.5,"esc\u0061ped":1}`),
		Headers: headers("source=web", "source=app", "empty=", "null")}
	for _, c := range []struct {
		text string
		want bool
	}{
		{"key=alice", true}, {"key=Alice", false}, {"key!=bob", true}, {"key~^al", true}, {"key!~^al", false}, {"key*=lic", true},
		{` key = "alice" `, true}, {`key="a\x6cice"`, true}, {"key=null", false}, {`key="null"`, false}, {"key!=null", true},
		{"value*=user", true}, {`value~"id":\d`, true}, {"value=null", false}, {"size>100", true}, {"size<1", false},
		{"topic=orders", true}, {"topic~^x", false}, {"partition=2", true}, {"partition!=2", false}, {"offset>=10", true}, {"offset<10", false},
		{"offset>9.5", true}, {"offset=10.5", false},
		{"timestamp=2026-01-02", true}, {"timestamp>2026-01-02", false}, {"timestamp<=2026-01-03", true},
		{"header.source=web", true}, {"header.source=app", true}, {"header.source=tv", false}, {"header.source!=tv", true}, {"header.source!=web", false},
		{"header.source~^a", true}, {"header.source!~^a", false}, {`header."source"*=pp`, true},
		{"header.none=null", true}, {"header.none!=null", false}, {"header.null=null", true}, {"header.empty=null", false}, {"header.empty=", true}, {"header.none!=x", true},
		{".user.id=7", true}, {".user.id=7.0", true}, {".user.id=8", false}, {".user.id>=7", true}, {".user.id<7", false}, {".user.id!=8", true},
		{".user.big=9007199254740993", true}, {".user.big=9007199254740992", false},
		{".user.name=Al", true}, {".user.name~^A", true}, {".user.name*=l", true}, {".user.name!=Bo", true},
		{".tags[0]=a", true}, {".tags[1]=null", true}, {`.tags[2]["x y"]=true`, true}, {".tags[9]=null", true}, {".tags.x=null", true},
		{".n=12", true}, {".n>11", false}, {".f=1.5", true}, {".f>1", true}, {".escaped=1", true}, {".none=null", true}, {".none!=null", false}, {".user!=null", true},
		{".user.id~^7$", true}, {`.["user"].id=7`, true}, {".*=Al", true},
	} {
		f, err := Parse(c.text, when)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := f.Match(&r); got != c.want {
			t.Errorf("%s: %v", c.text, got)
		}
	}
	tombstone := record.Record{}
	for text, want := range map[string]bool{"value=null": true, "key=null": true, "key!=a": true, "key~.*": false, "key!~.": true, "value*=": false,
		"size=0": true, ".a=null": true, ".a>1": false, "key=": false} {
		f, err := Parse(text, when)
		if err != nil || f.Match(&tombstone) != want {
			t.Errorf("%s: %v, want %v of a tombstone without key", text, err, want)
		}
	}
	if !Key("alice").Match(&r) || Key("").Match(&tombstone) {
		t.Error("Key")
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "has none of"}, {"key", "has none of"}, {"keys=a", `"keys" is not a field`}, {"header.=a", "is not a field"},
		{"key~(", "missing closing"}, {"offset=x", "not a number"}, {"offset~1", "this is a number"}, {"offset*=1", "this is a number"},
		{"key<1", "compares numbers"}, {".a<b", "compares numbers"}, {"timestamp>x", "cannot parse"}, {"offset=null", "know null"}, {"key~null", "know null"},
		{`key~"\d"`, "quoted string"}, {".a..b=1", "a name is empty"}, {".a[x]=1", "want [0]"}, {".a[0=1", "has none of"}, {`.a["x"=1`, "has none of"},
		{strings.Repeat(".a", 65) + "=1", "more than 64 steps"}, {".a[0]b=1", "want . or ["},
	} {
		if _, err := Parse(c.text, when); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, text := range []string{"key=a", ".a.b[0]>=1", `.["x"]~a`, "header.h!=null", "timestamp<2026-01-02"} {
		f.Add(text, []byte(`{"a":{"b":[1,"x"]}}`))
	}
	f.Fuzz(func(t *testing.T, text string, value []byte) {
		c, err := Parse(text, when)
		if err != nil {
			return
		}
		r := record.Record{Key: value, Value: value, Headers: []record.Header{{Key: []byte("h"), Value: value}}}
		got := c.Match(&r)
		// A condition and its opposite never agree.
		opposite := map[string]string{"=": "!=", "!=": "=", "~": "!~", "!~": "~"}[c.op]
		if opposite == "" || c.field == headerField {
			return
		}
		at, op := findOp(text)
		if d, err := Parse(text[:at]+opposite+text[at+len(op):], when); err == nil && d.op == opposite && d.Match(&r) == got {
			t.Fatalf("%q and its opposite both give %v for %q", text, got, value)
		}
	})
}

func BenchmarkPath(b *testing.B) {
	c, err := Parse(".user.id=7", when)
	if err != nil {
		b.Fatal(err)
	}
	r := record.Record{Value: []byte(`{"user":{"id":7,"name":"Al"},"tags":["a"]}`)}
	for b.Loop() {
		c.Match(&r)
	}
}
