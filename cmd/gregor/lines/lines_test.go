// SPDX-License-Identifier: Apache-2.0

package lines

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"gregor/cmd/gregor/record"
)

func all(r *Reader) ([]record.Record, error) {
	var list []record.Record
	for {
		var one record.Record
		if err := r.Next(&one); err != nil {
			if err == io.EOF {
				err = nil
			}
			return list, err
		}
		list = append(list, one)
	}
}

func TestLines(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	tab := Options{KeySeparator: "\t"}
	headers := Options{HeadersSeparator: "\t", KeySeparator: "::"}
	null := Options{KeySeparator: "=", HeadersSeparator: "|", HasNull: true, Null: "NULL"}
	for _, c := range []struct {
		name, text string
		o          Options
		want       []record.Record
	}{
		{"nothing", "", Options{}, nil},
		{"no end", "a\n\nb", Options{}, []record.Record{{Value: b("a")}, {Value: b("")}, {Value: b("b")}}},
		{"end", "a\r\n", Options{}, []record.Record{{Value: b("a\r")}}},
		{"cr", "a\r\n\r", Options{StripCR: true}, []record.Record{{Value: b("a")}, {Value: b("")}}},
		{"key", "k\tv\tw\n\t\n", tab, []record.Record{{Key: b("k"), Value: b("v\tw")}, {Key: b(""), Value: b("")}}},
		{"headers", "a:1,b:2:3,a:\tk::v\n\tk::", headers, []record.Record{
			{Key: b("k"), Value: b("v"), Headers: []record.Header{{Key: b("a"), Value: b("1")}, {Key: b("b"), Value: b("2:3")}, {Key: b("a"), Value: b("")}}},
			{Key: b("k"), Value: b("")}}},
		{"null", "NULL|NULL=NULL\na:NULL|k=NULLx", null, []record.Record{{},
			{Key: b("k"), Value: b("NULLx"), Headers: []record.Header{{Key: b("a")}}}}},
		{"empty is null", "k\t", Options{KeySeparator: "\t", HasNull: true}, []record.Record{{Key: b("k")}}},
		{"lenient", "value\na|v\n", Options{KeySeparator: "\t", HeadersSeparator: "|", Lenient: true},
			[]record.Record{{Value: b("value")}, {Value: b("v"), Headers: []record.Header{{Key: b("a")}}}}},
		{"own", "a=1;b=2|v", Options{HeadersSeparator: "|", HeaderSeparator: ";", HeaderKeySep: "="},
			[]record.Record{{Value: b("v"), Headers: []record.Header{{Key: b("a"), Value: b("1")}, {Key: b("b"), Value: b("2")}}}}},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text)), iotest.DataErrReader(strings.NewReader(c.text))} {
			got, err := all(NewReader(in, c.o))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s:\n%s", c.name, diff)
			}
		}
	}
}

func TestErrorsLeaveTheLineNumber(t *testing.T) {
	for _, c := range []struct {
		text, want string
		o          Options
		line       int64
	}{
		{"a\tb\nc", "no key separator", Options{KeySeparator: "\t"}, 2},
		{"a", "no separator behind the headers", Options{HeadersSeparator: "\t"}, 1},
		{"a:1,b\tv", `header "b" has no ":"`, Options{HeadersSeparator: "\t"}, 1},
		{"a\n" + strings.Repeat("x", 300), "longer than 100 bytes", Options{LineBytesMax: 100}, 2},
	} {
		r := NewReader(strings.NewReader(c.text), c.o)
		if _, err := all(r); err == nil || !strings.Contains(err.Error(), c.want) || r.Line() != c.line {
			t.Errorf("%q: line %d: %v", c.text, r.Line(), err)
		}
	}
	broken := errors.New("broken")
	got, err := all(NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), Options{}))
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("%d records before %v; half a line is none", len(got), err)
	}
}

// Lines that were given keep their bytes while later ones are read.
func TestLinesStay(t *testing.T) {
	var text bytes.Buffer
	for i := range 20000 {
		text.WriteString(strings.Repeat(string(rune('a'+i%26)), i%200))
		text.WriteByte('\n')
	}
	text.WriteString(strings.Repeat("z", 3*blockBytes))
	got, err := all(NewReader(iotest.HalfReader(bytes.NewReader(text.Bytes())), Options{}))
	if err != nil {
		t.Fatal(err)
	}
	var again []byte
	for i, r := range got {
		if i > 0 {
			again = append(again, '\n')
		}
		again = append(again, r.Value...)
	}
	if !bytes.Equal(again, text.Bytes()) {
		t.Fatal("the lines put together are not the text")
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a:1,b:2\tk\tv\n"), "\t", "\t", "NULL")
	f.Add([]byte("a\nb"), "", "", "")
	f.Fuzz(func(t *testing.T, text []byte, key, headers, null string) {
		r := NewReader(bytes.NewReader(text), Options{KeySeparator: key, HeadersSeparator: headers, HasNull: null != "", Null: null})
		size := 0
		for {
			var one record.Record
			err := r.Next(&one)
			if err == io.EOF {
				break
			}
			size += len(one.Key) + len(one.Value)
			if size > len(text) {
				t.Fatalf("%d bytes from %d", size, len(text))
			}
		}
		if want := int64(len(bytes.SplitAfter(text, []byte("\n")))); r.Line() > want {
			t.Fatalf("%d lines of %d", r.Line(), want)
		}
	})
}
