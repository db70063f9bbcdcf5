// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"strconv"
	"strings"

	"gregor/base/kafka"
)

// Suffixes of the files in a partition's folder, as Kafka names them.
const (
	LogSuffix       = ".log"
	IndexSuffix     = ".index"
	TimeIndexSuffix = ".timeindex"
	TxnIndexSuffix  = ".txnindex"
	SnapshotSuffix  = ".snapshot"
	DeletedSuffix   = ".deleted" // behind another suffix: to be removed
	CleanedSuffix   = ".cleaned" // behind another suffix: compaction in progress
	SwapSuffix      = ".swap"    // behind another suffix: compaction to be finished
	// CutSuffix is our own, behind .log: the copy that a truncation makes.
	// It is ended by a rename, so one that is found is of no use.
	CutSuffix = ".cut"
)

// Name is Kafka's file name: the offset in twenty digits and the suffix.
func Name(base kafka.Offset, suffix string) string {
	var digits [20]byte
	for i, v := len(digits)-1, int64(base); i >= 0; i, v = i-1, v/10 {
		digits[i] = byte('0' + v%10)
	}
	return string(digits[:]) + suffix
}

// ParseName takes a file name apart. ok is false for names that do not start
// with an offset and a dot; the suffix is not judged.
func ParseName(name string) (base kafka.Offset, suffix string, ok bool) {
	digits, _, found := strings.Cut(name, ".")
	if !found || digits == "" {
		return 0, "", false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, "", false
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, "", false
	}
	return kafka.Offset(v), name[len(digits):], true
}
