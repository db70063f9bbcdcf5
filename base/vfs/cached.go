// SPDX-License-Identifier: Apache-2.0

package vfs

// Cached reports whether a range of a file is in the page cache, so that whoever
// reads much that nobody else wants leaves there what he found, and no more. It
// looks at samples, and says yes where it cannot know.
func Cached(f File, off, lengthBytes int64) bool {
	if c, ok := f.(interface {
		cached(off, lengthBytes int64) bool
	}); ok {
		return c.cached(off, lengthBytes)
	}
	return true
}

// cachedStepBytes is the distance of the samples: readahead brings in less.
const cachedStepBytes = 64 << 10
