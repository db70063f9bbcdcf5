// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gregor/wire/batch"
)

// LayoutHelp is the language of ParseLayout.
const LayoutHelp = `  %t topic   %p partition   %o offset   %e leader epoch   %i number of the record in the output, from 1
  %k key     %v value (also %s)     %K %V (also %S) their lengths, -1 for null
  %T timestamp in Unix milliseconds; %d too, and %d{rfc3339}, %d{go[15:04:05]}, %d{strftime[%F %T]}
  %h headers as name=value,...; %h{%k:%v } writes each with a layout of its own; %H how many there are
  %x %y producer id and epoch; %a{compression}, %a{timestamp-type}, %a{transactional-bit}
  %k %v %t take {hex}, {base64} or {json}; numbers take {hex}, {big8} to {big64}, {little8} to {little64}
  %% %{ %} and \n \t \r \0 \e \\ \xNN stand for one character`

// Layout is a compiled text with verbs, as kcat and franz-go know them:
//
//	text → parse once → a list of parts → Append runs down the list
//
// A verb that takes more than its letter has it in braces. Where the two tools
// differ kcat counts, since its users type layouts by hand: %T is the time
// and %h without braces is the whole list.
type Layout struct {
	parts []part
	null  []byte
	seen  int64
}

type part struct {
	verb    byte // 0 is literal
	literal []byte
	text    textForm
	number  numberForm
	date    string // of %d: a layout of package time, "" for milliseconds
	strf    bool   // date is one of strftime
	bits    string // of %a
	inner   []part // of %h
}

type textForm int8

const (
	plainText textForm = iota
	hexText
	base64Text
	jsonText
)

type numberForm int8

const (
	decimal numberForm = iota
	hexNumber
	big8
	big16
	big32
	big64
	little8
	little16
	little32
	little64
)

var textForms = map[string]textForm{"hex": hexText, "base64": base64Text, "json": jsonText}

var numberForms = map[string]numberForm{"hex": hexNumber, "ascii": decimal, "number": decimal, "byte": big8,
	"big8": big8, "big16": big16, "big32": big32, "big64": big64,
	"little8": little8, "little16": little16, "little32": little32, "little64": little64}

var attributeNames = []string{"compression", "timestamp-type", "transactional-bit", "control-bit"}

// ParseLayout compiles text. A null key or value is written as null.
func ParseLayout(text, null string) (*Layout, error) {
	parts, err := parseParts(text, "tpoeikKvVsSThdHxya")
	if err != nil {
		return nil, err
	}
	return &Layout{parts: parts, null: []byte(null)}, nil
}

func parseParts(text, verbs string) ([]part, error) {
	var parts []part
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			parts = append(parts, part{literal: literal})
			literal = nil
		}
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\':
			b, n, err := unescape(text[i:])
			if err != nil {
				return nil, err
			}
			literal = append(literal, b)
			i += n
		case c != '%':
			literal = append(literal, c)
			i++
		case i+1 == len(text):
			return nil, fmt.Errorf("it ends in a single %%")
		case strings.IndexByte("%{}", text[i+1]) >= 0:
			literal = append(literal, text[i+1])
			i += 2
		case strings.IndexByte(verbs, text[i+1]) < 0:
			r, _ := utf8.DecodeRuneInString(text[i+1:])
			return nil, fmt.Errorf("%%%c is not a verb", r)
		default:
			flush()
			p, n, err := parseVerb(text[i+1:])
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
			i += 1 + n
		}
	}
	flush()
	return parts, nil
}

// Unescape resolves the backslashes of a separator given by hand.
func Unescape(text string) (string, error) {
	var out []byte
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			out = append(out, text[i])
			i++
			continue
		}
		b, n, err := unescape(text[i:])
		if err != nil {
			return "", err
		}
		out = append(out, b)
		i += n
	}
	return string(out), nil
}

// unescape reads the escape at the start of text.
func unescape(text string) (b byte, size int, err error) {
	if len(text) < 2 {
		return 0, 0, fmt.Errorf(`it ends in a single \`)
	}
	switch text[1] {
	case 'n':
		return '\n', 2, nil
	case 't':
		return '\t', 2, nil
	case 'r':
		return '\r', 2, nil
	case '0':
		return 0, 2, nil
	case 'e':
		return 0x1b, 2, nil
	case '\\':
		return '\\', 2, nil
	case 'x':
		if len(text) >= 4 {
			if n, err := strconv.ParseUint(text[2:4], 16, 8); err == nil {
				return byte(n), 4, nil
			}
		}
		return 0, 0, fmt.Errorf(`\x wants two hex digits`)
	}
	r, _ := utf8.DecodeRuneInString(text[1:])
	return 0, 0, fmt.Errorf(`\%c is not an escape`, r)
}

// parseVerb reads a verb and its braces.
func parseVerb(text string) (part, int, error) {
	p := part{verb: text[0]}
	if len(text) < 2 || text[1] != '{' {
		if p.verb == 'a' {
			return p, 0, fmt.Errorf("%%a wants one of {%s}", strings.Join(attributeNames, "}, {"))
		}
		return p, 1, nil
	}
	size := closing(text[1:])
	if size < 0 {
		return p, 0, fmt.Errorf("%%%c{ has no }", p.verb)
	}
	inside := text[2 : size+1]
	size += 2
	known, err := true, error(nil)
	switch p.verb {
	case 'k', 'v', 's', 't':
		p.text, known = textForms[inside]
	case 'h':
		p.inner, err = parseParts(inside, "kKvVsS")
		if p.inner == nil {
			p.inner = []part{}
		}
	case 'a':
		p.bits, known = inside, slices.Contains(attributeNames, inside)
	case 'd':
		known = p.parseDate(inside)
	default:
		p.number, known = numberForms[inside]
	}
	switch {
	case err != nil:
		return p, 0, err
	case !known:
		return p, 0, fmt.Errorf("%%%c does not know {%s}", p.verb, inside)
	}
	return p, size, nil
}

// closing finds the brace that closes the one at the start of text; braces
// after % and in [] are text.
func closing(text string) int {
	depth, square := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '%' && i+1 < len(text) && strings.IndexByte("%{}", text[i+1]) >= 0:
			i++
		case c == '[':
			square++
		case c == ']' && square > 0:
			square--
		case square > 0:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (p *part) parseDate(inside string) bool {
	form, rest, found := strings.Cut(inside, "[")
	if !found {
		switch inside {
		case "rfc3339":
			p.date = timeLayout
			return true
		case "ms":
			return true
		}
		var known bool
		p.number, known = numberForms[inside]
		return known
	}
	layout, closed := strings.CutSuffix(rest, "]")
	p.date, p.strf = layout, form == "strftime"
	return closed && layout != "" && (p.strf || form == "go")
}

// Append appends r.
func (l *Layout) Append(dst []byte, r *Record) []byte {
	l.seen++
	for i := range l.parts {
		dst = l.append(dst, &l.parts[i], r)
	}
	return dst
}

func (l *Layout) append(dst []byte, p *part, r *Record) []byte {
	switch p.verb {
	case 0:
		return append(dst, p.literal...)
	case 'v', 's':
		return l.bytes(dst, r.Value, p.text)
	case 'k':
		return l.bytes(dst, r.Key, p.text)
	case 't':
		return l.bytes(dst, []byte(r.Topic), p.text)
	case 'p':
		return number(dst, int64(r.Partition), p.number)
	case 'o':
		return number(dst, r.Offset, p.number)
	case 'e':
		return number(dst, int64(r.LeaderEpoch), p.number)
	case 'i':
		return number(dst, l.seen, p.number)
	case 'K':
		return number(dst, length(r.Key), p.number)
	case 'V', 'S':
		return number(dst, length(r.Value), p.number)
	case 'T':
		return number(dst, r.TimestampMs, p.number)
	case 'd':
		return date(dst, p, r.TimestampMs)
	case 'H':
		return number(dst, int64(len(r.Headers)), p.number)
	case 'h':
		return l.headers(dst, p, r.Headers)
	case 'x':
		return number(dst, r.ProducerID, p.number)
	case 'y':
		return number(dst, int64(r.ProducerEpoch), p.number)
	}
	return attribute(dst, p.bits, r)
}

func (l *Layout) headers(dst []byte, p *part, headers []Header) []byte {
	for i, h := range headers {
		if p.inner != nil {
			one := Record{Key: h.Key, Value: h.Value}
			for j := range p.inner {
				dst = l.append(dst, &p.inner[j], &one)
			}
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, h.Key...)
		dst = append(dst, '=')
		dst = l.bytes(dst, h.Value, plainText)
	}
	return dst
}

func length(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

func (l *Layout) bytes(dst, b []byte, form textForm) []byte {
	switch {
	case b == nil && form == jsonText:
		return append(dst, "null"...)
	case b == nil:
		return append(dst, l.null...)
	case form == hexText:
		return hex.AppendEncode(dst, b)
	case form == base64Text:
		return base64.StdEncoding.AppendEncode(dst, b)
	case form == jsonText:
		return appendString(dst, []byte(strings.ToValidUTF8(string(b), "\ufffd")))
	}
	return append(dst, b...)
}

func number(dst []byte, n int64, form numberForm) []byte {
	switch form {
	case hexNumber:
		return strconv.AppendUint(dst, uint64(n), 16)
	case big8, little8:
		return append(dst, byte(n))
	case big16:
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	case big32:
		return binary.BigEndian.AppendUint32(dst, uint32(n))
	case big64:
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	case little16:
		return binary.LittleEndian.AppendUint16(dst, uint16(n))
	case little32:
		return binary.LittleEndian.AppendUint32(dst, uint32(n))
	case little64:
		return binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	return strconv.AppendInt(dst, n, 10)
}

func date(dst []byte, p *part, ms int64) []byte {
	switch t := time.UnixMilli(ms).UTC(); {
	case p.date == "":
		return number(dst, ms, p.number)
	case p.strf:
		return strftime(dst, p.date, t)
	default:
		return t.AppendFormat(dst, p.date)
	}
}

// strftimes are C's verbs in the words of package time. What it does not know
// is written as it stands.
var strftimes = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'F': "2006-01-02",
	'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'y': "06", 'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'I': "03", 'p': "PM", 'z': "-0700", 'Z': "MST", 'j': "002", 'e': "_2"}

func strftime(dst []byte, layout string, t time.Time) []byte {
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			dst = append(dst, layout[i])
			continue
		}
		i++
		switch form, known := strftimes[layout[i]]; {
		case known:
			dst = t.AppendFormat(dst, form)
		case layout[i] == 's':
			dst = strconv.AppendInt(dst, t.Unix(), 10)
		case layout[i] == '%':
			dst = append(dst, '%')
		default:
			dst = append(dst, '%', layout[i])
		}
	}
	return dst
}

func attribute(dst []byte, name string, r *Record) []byte {
	bit := func(set bool) []byte {
		if set {
			return append(dst, '1')
		}
		return append(dst, '0')
	}
	switch name {
	case "compression":
		return append(dst, r.Attributes.Codec().String()...)
	case "timestamp-type":
		if r.Attributes.TimestampType() == batch.LogAppendTime {
			return append(dst, "LogAppendTime"...)
		}
		return append(dst, "CreateTime"...)
	case "transactional-bit":
		return bit(r.Attributes.IsTransactional())
	}
	return bit(r.Attributes.IsControl())
}
