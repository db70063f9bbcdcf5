// SPDX-License-Identifier: Apache-2.0

package config

import "strings"

// keyBytesMax is longer than any key: what exceeds it is not a misspelt one.
const keyBytesMax = 100

// nearest gives the broker key that is spelt most like key, or "" when none is
// near enough to be meant.
func nearest(key string) string { return nearestOf(key, Definitions()) }

func nearestOf(key string, known []*Definition) string {
	key = strings.ToLower(strings.TrimSpace(key))
	if len(key) > keyBytesMax {
		return ""
	}
	best, bestDistance := "", len(key)/3+1
	for _, d := range known {
		tooLong := max(len(key)-len(d.Name), len(d.Name)-len(key)) >= bestDistance
		if d.Hidden || tooLong {
			continue
		}
		if n := editDistance(key, d.Name); n < bestDistance {
			best, bestDistance = d.Name, n
		}
	}
	return best
}

// editDistance counts the letters to insert, delete, replace or swap with
// their neighbour to make b of a.
func editDistance(a, b string) int {
	before, previous, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(previous[j]+1, row[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, previous, row = previous, row, before
	}
	return previous[len(b)]
}
