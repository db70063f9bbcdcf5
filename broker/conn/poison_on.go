// SPDX-License-Identifier: Apache-2.0

//go:build invariants

package conn

// poisonByte fills memory that was given back. As an offset, a length, a count
// or a letter of a name it is nonsense.
const poisonByte = 0xdb

// poison overwrites memory that nobody may look at any more, so that whoever
// kept a piece of it sends or stores nonsense, which tests notice.
func poison(b []byte) {
	for i := range b {
		b[i] = poisonByte
	}
}
