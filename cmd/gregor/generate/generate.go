// SPDX-License-Identifier: Apache-2.0

// Package generate makes text from templates: counters, random data, times.
// It promises that the same template, seed and times give the same bytes, and
// reads no clock of its own.
package generate

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Help is the language of Parse.
const Help = `  {{n}}  {{n START}}  {{n START STEP}}   number of the record, from 1 or START
  {{int A B}}  {{float A B}}  {{bool}}   random; A and B included
  {{text N}}  {{hex N}}  {{base64 N}}  {{bytes N}}   N random letters and digits, hex digits, encoded bytes, raw bytes
  {{uuid}}  {{pick a b "c d"}}  {{zipf N}}   a random UUID; one of the words; 1 to N, small ones far more often
  {{now}}  {{now LAYOUT}}  {{ms}}   the time, as RFC 3339 or a layout of Go; in Unix milliseconds
  {{"{{"}}   text as it is quoted`

// Template is compiled text.
type Template struct{ parts []part }

type part struct {
	do      verb // nil is literal
	literal string
	words   []string
	a, b    int64
	x, y    float64
}

type verb func(dst []byte, p *part, s *State) []byte

// State is what a record is made from. One State serves all templates of a
// record, so that each draws on.
type State struct {
	N    int64 // number of the record, from 0
	Now  time.Time
	Seed uint64
}

// random is splitmix64: small, fast, and good enough for test data.
func (s *State) random() uint64 {
	s.Seed += 0x9e3779b97f4a7c15
	z := s.Seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit is uniform in [0, 1).
func (s *State) unit() float64 { return float64(s.random()>>11) / (1 << 53) }

const (
	drawnMax    = 16 << 20 // bytes of one random piece
	pickedWords = 10_000
)

// Append appends the text of one record.
func (t *Template) Append(dst []byte, s *State) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		if p.do == nil {
			dst = append(dst, p.literal...)
			continue
		}
		dst = p.do(dst, p, s)
	}
	return dst
}

// Parse compiles text.
func Parse(text string) (*Template, error) {
	t := &Template{}
	for text != "" {
		before, rest, found := strings.Cut(text, "{{")
		if before != "" {
			t.parts = append(t.parts, part{literal: before})
		}
		if !found {
			break
		}
		words, size, err := split(rest)
		if err != nil {
			return nil, err
		}
		p, err := parsePart(words)
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", strings.TrimSpace(rest[:size-2]), err)
		}
		t.parts = append(t.parts, p)
		text = rest[size:]
	}
	return t, nil
}

// split cuts the words up to the closing braces; quoted ones keep a mark in
// front, so that they are no names. size counts the braces too.
func split(text string) (words []string, size int, err error) {
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "}}"):
			return words, i + 2, nil
		case text[i] == ' ' || text[i] == '\t':
			i++
		case text[i] == '"':
			quoted, err := strconv.QuotedPrefix(text[i:])
			if err != nil {
				return nil, 0, fmt.Errorf("{{%.20s: a quoted word has no end", text)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, 0, fmt.Errorf("{{%.20s: %w", text, err)
			}
			words = append(words, "\""+word)
			i += len(quoted)
		default:
			end := i
			for end < len(text) && text[end] != ' ' && text[end] != '\t' && !strings.HasPrefix(text[end:], "}}") {
				end++
			}
			words = append(words, text[i:end])
			i = end
		}
	}
	return nil, 0, fmt.Errorf("{{%.20s has no }}", text)
}

// verbs and how many words follow each.
var verbs = map[string]struct {
	do       verb
	min, max int
}{
	"n": {counter, 0, 2}, "int": {integer, 2, 2}, "float": {decimal, 2, 2}, "bool": {boolean, 0, 0}, "text": {letters, 1, 1}, "hex": {hexDigits, 1, 1},
	"base64": {encoded, 1, 1}, "bytes": {raw, 1, 1}, "uuid": {uuid, 0, 0}, "pick": {pick, 1, pickedWords}, "zipf": {zipf, 1, 1},
	"now": {now, 0, math.MaxInt32}, "ms": {ms, 0, 0},
}

func parsePart(words []string) (part, error) {
	if len(words) == 0 {
		return part{}, fmt.Errorf("it is empty")
	}
	name, words := words[0], words[1:]
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		if len(words) > 0 {
			return part{}, fmt.Errorf("words follow the text")
		}
		return part{literal: quoted}, nil
	}
	v, known := verbs[name]
	switch {
	case !known:
		return part{}, fmt.Errorf("%s is not known; there are n, int, float, bool, text, hex, base64, bytes, uuid, pick, zipf, now, ms", name)
	case len(words) < v.min || len(words) > v.max:
		return part{}, fmt.Errorf("%s takes %s words", name, between(v.min, v.max))
	}
	p := part{do: v.do}
	for _, w := range words {
		p.words = append(p.words, strings.TrimPrefix(w, `"`))
	}
	return p, p.numbers(name)
}

func between(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// numbers reads the words of those verbs that take numbers.
func (p *part) numbers(name string) (err error) {
	whole := func(i int, otherwise int64) int64 {
		if i >= len(p.words) || err != nil {
			return otherwise
		}
		var n int64
		if n, err = strconv.ParseInt(p.words[i], 10, 64); err != nil {
			err = fmt.Errorf("%s is not an integer", p.words[i])
		}
		return n
	}
	switch name {
	case "n":
		p.a, p.b = whole(0, 1), whole(1, 1)
	case "int":
		if p.a, p.b = whole(0, 0), whole(1, 0); err == nil && p.a > p.b {
			err = fmt.Errorf("%d is more than %d", p.a, p.b)
		}
	case "text", "hex", "base64", "bytes":
		if p.a = whole(0, 0); err == nil && (p.a < 0 || p.a > drawnMax) {
			err = fmt.Errorf("%d is not between 0 and %d", p.a, drawnMax)
		}
	case "zipf":
		if p.a = whole(0, 0); err == nil && p.a < 1 {
			err = fmt.Errorf("%d is less than 1", p.a)
		}
	case "float":
		var errX, errY error
		p.x, errX = strconv.ParseFloat(p.words[0], 64)
		p.y, errY = strconv.ParseFloat(p.words[1], 64)
		if errX != nil || errY != nil || !(p.x <= p.y) || math.IsInf(p.y-p.x, 0) {
			err = fmt.Errorf("%s and %s are not two numbers in order", p.words[0], p.words[1])
		}
	case "now":
		p.literal = strings.Join(p.words, " ")
	}
	return err
}

func counter(dst []byte, p *part, s *State) []byte {
	return strconv.AppendInt(dst, p.a+s.N*p.b, 10)
}

func integer(dst []byte, p *part, s *State) []byte {
	n := s.random()
	if span := uint64(p.b) - uint64(p.a) + 1; span != 0 {
		n %= span
	}
	return strconv.AppendInt(dst, int64(uint64(p.a)+n), 10)
}

func decimal(dst []byte, p *part, s *State) []byte {
	return strconv.AppendFloat(dst, p.x+(p.y-p.x)*s.unit(), 'f', 6, 64)
}

func boolean(dst []byte, _ *part, s *State) []byte {
	return strconv.AppendBool(dst, s.random()>>63 == 1)
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func letters(dst []byte, p *part, s *State) []byte { return draw(dst, p.a, alphabet, s) }

func hexDigits(dst []byte, p *part, s *State) []byte { return draw(dst, p.a, "0123456789abcdef", s) }

// draw takes ten letters from each random number.
func draw(dst []byte, n int64, from string, s *State) []byte {
	for n > 0 {
		r := s.random()
		for range min(n, 10) {
			dst = append(dst, from[r%uint64(len(from))])
			r /= uint64(len(from))
			n--
		}
	}
	return dst
}

func raw(dst []byte, p *part, s *State) []byte {
	for n := p.a; n > 0; n -= 8 {
		r := s.random()
		for range min(n, 8) {
			dst = append(dst, byte(r))
			r >>= 8
		}
	}
	return dst
}

func encoded(dst []byte, p *part, s *State) []byte {
	return base64.StdEncoding.AppendEncode(dst, raw(make([]byte, 0, p.a+8), p, s))
}

// uuid is of version 4.
func uuid(dst []byte, _ *part, s *State) []byte {
	a, b := s.random()&^0xf000|0x4000, s.random()&^(3<<62)|2<<62
	return fmt.Appendf(dst, "%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

func pick(dst []byte, p *part, s *State) []byte {
	return append(dst, p.words[s.random()%uint64(len(p.words))]...)
}

// zipf draws from the distribution 1/x, by the inverse of its integral.
func zipf(dst []byte, p *part, s *State) []byte {
	n := int64(math.Exp(s.unit() * math.Log(float64(p.a)+1)))
	return strconv.AppendInt(dst, min(max(n, 1), p.a), 10)
}

func now(dst []byte, p *part, s *State) []byte {
	if p.literal == "" {
		return s.Now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	return s.Now.AppendFormat(dst, p.literal)
}

func ms(dst []byte, _ *part, s *State) []byte { return strconv.AppendInt(dst, s.Now.UnixMilli(), 10) }
