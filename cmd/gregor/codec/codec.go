// SPDX-License-Identifier: Apache-2.0

// Package codec finds the compression of a producer by the name that Kafka
// gives it.
package codec

import "github.com/twmb/franz-go/pkg/kgo"

// Names are all names, that of no compression first.
func Names() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// Of finds a codec by its name.
func Of(name string) (c kgo.CompressionCodec, ok bool) {
	switch name {
	case "none":
		return kgo.NoCompression(), true
	case "gzip":
		return kgo.GzipCompression(), true
	case "snappy":
		return kgo.SnappyCompression(), true
	case "lz4":
		return kgo.Lz4Compression(), true
	case "zstd":
		return kgo.ZstdCompression(), true
	}
	return c, false
}
