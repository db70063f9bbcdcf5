// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"math"
	"unicode/utf8"
)

// Message cuts a text to what a string of the protocol can carry: one that
// quotes what a peer sent may be longer.
func Message(text string) string {
	if len(text) <= math.MaxInt16 {
		return text
	}
	end := math.MaxInt16
	for end > math.MaxInt16-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Ids are text in JSON, as Kafka writes them everywhere else.

// MarshalText gives the id as String does.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText gives the id as String does.
func (t TopicID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText gives the id as String does.
func (d DirectoryID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
