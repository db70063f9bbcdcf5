// SPDX-License-Identifier: Apache-2.0

package main

import "unicode/utf8"

// headerJSON is a header in the JSON of commands that look at files.
type headerJSON struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

// textOrBytes gives b as text where it is text; both are nil for null.
func textOrBytes(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
