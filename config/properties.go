// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// property is one entry of a properties file.
type property struct {
	key, value string
	line       int // where the key stands, from 1
}

// SyntaxError reports a properties file that cannot be read.
type SyntaxError struct {
	File    string
	Line    int
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// parseProperties reads the syntax of java.util.Properties, which
// server.properties is written in: comments after # or !, a key that ends at
// the first unescaped =, : or white space, lines that go on after a backslash
// at their end, and the escapes \t \n \r \f \uXXXX; before any other character
// a backslash falls away. Unlike Java, which reads Latin-1 from a stream,
// bytes are UTF-8, as Kafka's own loader takes them.
func parseProperties(file, text string) ([]property, error) {
	var out []property
	lines := splitLines(text)
	for i := 0; i < len(lines); i++ {
		first := i
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continues(line) && i+1 < len(lines) {
			i++
			line = line[:len(line)-1] + strings.TrimLeft(lines[i], " \t\f")
		}
		if continues(line) {
			line = line[:len(line)-1] // a backslash at the end of the file
		}
		rawKey, rawValue := splitProperty(line)
		key, err := unescape(rawKey)
		if err != nil {
			return nil, &SyntaxError{file, first + 1, err.Error()}
		}
		value, err := unescape(rawValue)
		if err != nil {
			return nil, &SyntaxError{file, first + 1, err.Error()}
		}
		out = append(out, property{key, value, first + 1})
	}
	return out, nil
}

// splitLines cuts text after \n, \r and \r\n.
func splitLines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
}

// continues reports whether line ends in an unescaped backslash.
func continues(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// splitProperty cuts a logical line into its escaped key and value.
func splitProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return line[:end], rest
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	var high rune // first half of a surrogate pair that waits for its second
	for i := 0; i < len(s); i++ {
		r, size := utf8.DecodeRuneInString(s[i:])
		escapedUnit := false
		if s[i] == '\\' && i+1 < len(s) {
			i++
			r, size = utf8.DecodeRuneInString(s[i:])
			switch s[i] {
			case 't':
				r = '\t'
			case 'n':
				r = '\n'
			case 'r':
				r = '\r'
			case 'f':
				r = '\f'
			case 'u':
				if i+5 > len(s) {
					return "", fmt.Errorf(`\u needs four hexadecimal digits`)
				}
				u, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
				if err != nil {
					return "", fmt.Errorf(`\u needs four hexadecimal digits, not %q`, s[i+1:i+5])
				}
				r, size, escapedUnit = rune(u), 5, true
			}
		}
		if high != 0 {
			pair := utf16.DecodeRune(high, r)
			if escapedUnit && pair != utf8.RuneError {
				b.WriteRune(pair)
				high = 0
				i += size - 1
				continue
			}
			b.WriteRune(utf8.RuneError)
			high = 0
		}
		if escapedUnit && r >= 0xd800 && r < 0xdc00 {
			high = r
		} else {
			b.WriteRune(r)
		}
		i += size - 1
	}
	if high != 0 {
		b.WriteRune(utf8.RuneError)
	}
	return b.String(), nil
}
