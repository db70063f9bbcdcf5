// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func sample() *Record {
	return &Record{Topic: "orders", Partition: 2, Offset: 7, TimestampMs: 1767323045006, Key: []byte("alice"), Value: []byte("a\tb"),
		Headers: []Header{{[]byte("source"), []byte("web")}, {[]byte("trace"), nil}}, LeaderEpoch: 3, ProducerID: 4, ProducerEpoch: 5}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct{ layout, want string }{
		{`%v\n`, "a\tb\n"},
		{`%t %p %o %e %k=%v`, "orders 2 7 3 alice=a\tb"},
		{`%s %S %K %V %H`, "a\tb 3 5 3 2"},
		{`%T %d %d{ms}`, "1767323045006 1767323045006 1767323045006"},
		{`%d{rfc3339}`, "2026-01-02T03:04:05.006Z"},
		{`%d{go[15:04]} %d{strftime[%F %T %s %% %Q {}]}`, "03:04 2026-01-02 03:04:05 1767323045 % %Q {}"},
		{`%h`, "source=web,trace="},
		{`%h{%k:%v }`, "source:web trace: "},
		{`%h{%k%{%K,%V%} }`, "source{6,3} trace{5,-1} "},
		{`%h{}`, ""},
		{`%x %y %a{compression} %a{timestamp-type} %a{transactional-bit}%a{control-bit}`, "4 5 none CreateTime 00"},
		{`%k{hex} %k{base64} %v{json}`, `616c696365 YWxpY2U= "a\tb"`},
		{`%o{big32}%p{little16}%V{byte}%p{big64}%o{hex}`, "\x00\x00\x00\x07\x02\x00\x03\x00\x00\x00\x00\x00\x00\x00\x027"},
		{`%% %{%} \t\r\0\e\\\x41`, "% {} \t\r\x00\x1b\\A"},
		{`%i`, "1"},
		{``, ""},
	} {
		l, err := ParseLayout(c.layout, "")
		if err != nil {
			t.Errorf("%s: %v", c.layout, err)
			continue
		}
		if got := string(l.Append(nil, sample())); got != c.want {
			t.Errorf("%s: got %q, want %q", c.layout, got, c.want)
		}
	}
}

func TestLayoutOfNull(t *testing.T) {
	l, err := ParseLayout(`%i %k %v %V %v{hex} %v{json} %h;`, "NULL")
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Value: nil, Key: []byte{}, Headers: []Header{{[]byte("a"), nil}}}
	out := l.Append(nil, &r)
	if got, want := string(l.Append(out, &r)), "1  NULL -1 NULL null a=NULL;2  NULL -1 NULL null a=NULL;"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLayoutErrors(t *testing.T) {
	for _, c := range []struct{ layout, want string }{
		{`%q`, "%q is not a verb"},
		{`%é`, "%é is not a verb"},
		{`a%`, "single %"},
		{`a\`, `single \`},
		{`\q`, `\q is not an escape`},
		{`\x4`, "two hex digits"},
		{`%a`, "{compression}"},
		{`%a{size}`, "%a does not know {size}"},
		{`%k{utf16}`, "%k does not know {utf16}"},
		{`%o{base64}`, "%o does not know {base64}"},
		{`%d{go[]}`, "does not know"},
		{`%d{cobol[x]}`, "does not know"},
		{`%h{%o}`, "%o is not a verb"},
		{`%h{%k`, "%h{ has no }"},
	} {
		if _, err := ParseLayout(c.layout, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.layout, err)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, s := range []string{`%v\n`, `%d{strftime[%F]}`, `%h{%k:%v{hex}}`, `%a{compression}%{\x41`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLayout(text, "NULL")
		if err != nil {
			return
		}
		if out := l.Append(nil, sample()); len(out) > 100*(len(text)+1) {
			t.Fatalf("%d bytes from %q", len(out), text)
		}
	})
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		name   string
		record Record
		binary Binary
		want   string
	}{
		{"whole", *sample(), Base64, `{"topic":"orders","partition":2,"offset":7,"timestamp":"2026-01-02T03:04:05.006Z","key":"alice","value":"a\tb",` +
			`"headers":[{"key":"source","value":"web"},{"key":"trace","value":null}]}`},
		{"nulls", Record{Topic: "t"}, Base64, `{"topic":"t","partition":0,"offset":0,"timestamp":"1970-01-01T00:00:00.000Z","key":null,"value":null}`},
		{"empty", Record{Topic: "t", Key: []byte{}, Value: []byte{}}, Base64, `{"topic":"t","partition":0,"offset":0,"timestamp":"1970-01-01T00:00:00.000Z","key":"","value":""}`},
		{"bytes", Record{Topic: "t", TimestampMs: -1, Key: []byte{0xff}, Value: []byte{0xfe, 1}}, Base64,
			`{"topic":"t","partition":0,"offset":0,"timestamp":"1969-12-31T23:59:59.999Z","key":null,"keyBase64":"/w==","value":null,"valueBase64":"/gE="}`},
		{"hex", Record{Topic: "t", TimestampMs: 1 << 60, Key: []byte{0xff}, Headers: []Header{{[]byte{0x80}, []byte{0x81}}}}, Hex,
			`{"topic":"t","partition":0,"offset":0,"timestamp":1152921504606846976,"key":null,"keyHex":"ff","value":null,` +
				`"headers":[{"key":null,"keyHex":"80","value":null,"valueHex":"81"}]}`},
	} {
		got := string(AppendJSON(nil, &c.record, c.binary))
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not JSON", c.name)
		}
	}
}

func TestParseJSON(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  Record
		given Given
	}{
		{`{"value":"x"}`, Record{Value: []byte("x")}, Given{}},
		{` {"value":null, "key":"k"} `, Record{Key: []byte("k")}, Given{Key: true}},
		{`{"value":{"a": 1},"key":7}`, Record{Key: []byte("7"), Value: []byte(`{"a": 1}`)}, Given{Key: true}},
		{`{"valueBase64":"/w==","keyHex":"FF00","key":null}`, Record{Key: []byte{255, 0}, Value: []byte{255}}, Given{Key: true}},
		{`{"value":"é😀\n\u0000"}`, Record{Value: []byte("é😀\n\x00")}, Given{}},
		{`{"value":"","topic":"t","partition":3,"offset":9,"timestamp":"2026-01-02T03:04:05.006Z"}`,
			Record{Topic: "t", Partition: 3, TimestampMs: 1767323045006, Value: []byte{}}, Given{Topic: true, Partition: true, Timestamp: true}},
		{`{"value":"","timestamp":-1}`, Record{TimestampMs: -1, Value: []byte{}}, Given{Timestamp: true}},
		{`{"value":"","headers":{"b":"1","a":null,"c":[1]}}`,
			Record{Value: []byte{}, Headers: []Header{{[]byte("b"), []byte("1")}, {[]byte("a"), nil}, {[]byte("c"), []byte("[1]")}}}, Given{}},
		{`{"value":"","headers":[{"key":"a","value":"1"},{"key":"a"},{"keyHex":"80","valueBase64":"AA=="}]}`,
			Record{Value: []byte{}, Headers: []Header{{[]byte("a"), []byte("1")}, {[]byte("a"), nil}, {[]byte{0x80}, []byte{0}}}}, Given{}},
	} {
		var r Record
		given, err := ParseJSON([]byte(c.text), &r)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, r); diff != "" || given != c.given {
			t.Errorf("%s: %+v\n%s", c.text, given, diff)
		}
	}
}

func TestParseJSONErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{``, "cut short"},
		{`{"value":"x"`, "cut short"},
		{`{"value":"x"}{`, "something follows"},
		{`{"key":"x"}`, `a tombstone says "value":null`},
		{`[1]`, "found: array"},
		{`{"vlaue":"x"}`, `unknown field "vlaue"`},
		{`{"value":"x","valueHex":"00"}`, "more than once"},
		{`{"valueHex":"0"}`, `"value": `},
		{`{"valueBase64":"?"}`, `"value": `},
		{`{"value":"x","partition":-1}`, `"partition" is -1`},
		{`{"value":"x","partition":"1"}`, `"partition" is a string`},
		{`{"value":"x","timestamp":"noon"}`, `"timestamp" is "noon"`},
		{`{"value":"x","timestamp":1.5}`, `"timestamp" is 1.5`},
		{`{"value":"x","headers":[{"value":"1"}]}`, "header 1: it has no key"},
		{`{"value":"x","headers":[{"key":null}]}`, "header 1: it has no key"},
		{`{"value":"x","headers":7}`, `"headers"`},
		{"{\"value\":\"\xff\"}", "not UTF-8"},
		{`{"value":tru}`, "bad JSON"},
	} {
		if _, err := ParseJSON([]byte(c.text), &Record{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

// What is written is read as the same record, whatever its bytes.
func FuzzJSONRoundTrip(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), []byte("h"), []byte(nil), int64(1767323045006), true, false)
	f.Add([]byte{0xff}, []byte("\"\\\n\x00\x7f\u2028"), []byte{0x80}, []byte("x"), int64(-1)<<63, false, true)
	f.Fuzz(func(t *testing.T, key, value, name, header []byte, ms int64, nullKey, asHex bool) {
		if nullKey {
			key = nil
		} else if key == nil {
			key = []byte{}
		}
		if name == nil {
			name = []byte{}
		}
		in := Record{Topic: "t", Partition: 1, TimestampMs: ms, Key: key, Value: value, Headers: []Header{{name, header}}}
		binary := Base64
		if asHex {
			binary = Hex
		}
		line := AppendJSON(nil, &in, binary)
		if strings.ContainsAny(string(line), "\n\r") {
			t.Fatalf("more than a line: %q", line)
		}
		var out Record
		if _, err := ParseJSON(line, &out); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"value":"x","headers":{"a":1},"timestamp":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"valueHex":"00","headers":[{"key":"a"}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r Record
		if _, err := ParseJSON(line, &r); err == nil && len(r.Key)+len(r.Value) > len(line) {
			t.Fatalf("%d bytes from %d", len(r.Key)+len(r.Value), len(line))
		}
	})
}

// The short way reads what the long way reads, or nothing.
func FuzzScan(f *testing.F) {
	f.Add(AppendJSON(nil, sample(), Base64))
	f.Add([]byte(` {"key":null , "keyHex":"00","value":"a\u0041\/\n","offset":-1,"timestamp":5,"headers":[{"key":"a"},{"keyBase64":"AA=="}]} `))
	f.Add([]byte(`{"value":"a","value":"b"}`))
	f.Add([]byte(`{"value":"a","partition":01}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if !utf8.Valid(line) {
			return
		}
		var short, long Record
		g, ok := scan(line, &short)
		if !ok {
			return
		}
		given, err := parseLong(line, &long)
		if err != nil || g != given || !cmp.Equal(short, long) {
			t.Fatalf("%s: %v, %+v and %+v\n%s", line, err, g, given, cmp.Diff(long, short))
		}
	})
}

// What consume writes takes the short way.
func TestScanKnowsAppendJSON(t *testing.T) {
	binary := *sample()
	binary.Key, binary.Value = []byte{0xff}, []byte("quotes \" and \\, controls \x00\x01\x7f\r, \u00e9\u2028\U0001f600")
	tombstone := *sample()
	tombstone.Value, tombstone.Headers, tombstone.TimestampMs = nil, nil, 1<<60
	for _, r := range []*Record{sample(), &binary, &tombstone} {
		for _, form := range []Binary{Base64, Hex} {
			line := AppendJSON(nil, r, form)
			if _, ok := scan(line, &Record{}); !ok {
				t.Errorf("%s", line)
			}
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r, out := sample(), []byte(nil)
	for b.Loop() {
		out = AppendJSON(out[:0], r, Base64)
	}
}

func BenchmarkParseJSON(b *testing.B) {
	line := AppendJSON(nil, sample(), Base64)
	for b.Loop() {
		var r Record
		if _, err := ParseJSON(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}
