// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// scanner reads the objects that AppendJSON writes, many times faster than
// encoding/json. Whatever else it meets, JSON or not, it leaves to ParseJSON's
// long way, which also finds the words for errors; so it may give up on any
// doubt, and a fuzz target holds the two together.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// take passes over c, with white space before it.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) null() bool {
	s.space()
	if bytes.HasPrefix(s.text[s.at:], []byte("null")) {
		s.at += 4
		return true
	}
	return false
}

// str reads a string in memory of its own, if it has no escapes but the short
// ones and those of control characters.
func (s *scanner) str() (out []byte, ok bool) {
	raw, escaped, ok := s.quoted()
	if !ok {
		return nil, false
	}
	out = make([]byte, 0, len(raw))
	if !escaped {
		return append(out, raw...), true
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case '"', '\\', '/':
			out = append(out, raw[i])
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'u':
			if i+4 >= len(raw) {
				return nil, false
			}
			n, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
			if err != nil || n >= utf8.RuneSelf {
				return nil, false
			}
			out = append(out, byte(n))
			i += 4
		default:
			return nil, false
		}
	}
	return out, true
}

// quoted finds a string without decoding it.
func (s *scanner) quoted() (raw []byte, escaped, ok bool) {
	if !s.take('"') {
		return nil, false, false
	}
	for start := s.at; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], escaped, true
		case c == '\\':
			escaped = true
			s.at++
		case c < ' ':
			return nil, false, false
		}
	}
	return nil, false, false
}

// integer reads digits of a number that is an integer.
func (s *scanner) integer(bits int) (int64, bool) {
	s.space()
	start := s.at
	for s.at < len(s.text) && (s.text[s.at] == '-' || s.text[s.at] >= '0' && s.text[s.at] <= '9') {
		s.at++
	}
	digits := s.text[start:s.at]
	unsigned := bytes.TrimPrefix(digits, []byte("-"))
	if len(unsigned) > 1 && unsigned[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 10, bits)
	return n, err == nil
}

// scanned is a key or value, given in one way.
type scanned struct {
	b     []byte
	given bool
	null  bool
}

// bytes reads a field of key or value. again is what was read of it before.
func (s *scanner) bytes(form string, again *scanned) bool {
	if form == "" && s.null() {
		ok := !again.given && !again.null
		again.null = true
		return ok
	}
	text, ok := s.str()
	if !ok || again.given {
		return false
	}
	again.given = true
	var err error
	switch form {
	case "":
		if again.null {
			return false
		}
		again.b = text
	case "Base64":
		again.b, err = base64.StdEncoding.AppendDecode([]byte{}, text)
	case "Hex":
		again.b, err = hex.AppendDecode([]byte{}, text)
	}
	return err == nil
}

// members calls f with each name of an object, which must be known to it.
func (s *scanner) members(f func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		name, escaped, ok := s.quoted()
		if !ok || escaped || !s.take(':') || !f(name) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// scan reads a whole line; not ok means only that the long way has to.
func scan(line []byte, r *Record) (g Given, ok bool) {
	s := scanner{text: line}
	var key, value scanned
	var topic, headers bool
	read := *r
	read.Headers = nil
	ok = s.members(func(name []byte) bool {
		switch string(name) {
		case "topic":
			text, ok := s.str()
			ok = ok && !topic
			topic, g.Topic, read.Topic = true, true, string(text)
			return ok
		case "partition":
			n, ok := s.integer(32)
			ok = ok && !g.Partition && n >= 0
			g.Partition, read.Partition = true, int32(n)
			return ok
		case "offset":
			_, ok := s.integer(64)
			return ok
		case "timestamp":
			ok := !g.Timestamp
			g.Timestamp = true
			return ok && s.timestamp(&read.TimestampMs)
		case "key", "keyBase64", "keyHex":
			return s.bytes(string(name[3:]), &key)
		case "value", "valueBase64", "valueHex":
			return s.bytes(string(name[5:]), &value)
		case "headers":
			ok := !headers
			headers = true
			return ok && s.headers(&read.Headers)
		}
		return false
	})
	s.space()
	if !ok || s.at != len(line) || !value.given && !value.null {
		return Given{}, false
	}
	g.Key = key.given || key.null
	read.Key, read.Value = key.b, value.b
	*r = read
	return g, true
}

func (s *scanner) timestamp(ms *int64) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] != '"' {
		n, ok := s.integer(64)
		*ms = n
		return ok
	}
	text, escaped, ok := s.quoted()
	if !ok || escaped {
		return false
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	*ms = t.UnixMilli()
	return err == nil
}

func (s *scanner) headers(list *[]Header) bool {
	if !s.take('[') {
		return false
	}
	*list = []Header{}
	if s.take(']') {
		return true
	}
	for {
		var key, value scanned
		ok := s.members(func(name []byte) bool {
			switch string(name) {
			case "key", "keyBase64", "keyHex":
				return s.bytes(string(name[3:]), &key)
			case "value", "valueBase64", "valueHex":
				return s.bytes(string(name[5:]), &value)
			}
			return false
		})
		if !ok || key.b == nil {
			return false
		}
		*list = append(*list, Header{key.b, value.b})
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}
