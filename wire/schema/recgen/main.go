// SPDX-License-Identifier: Apache-2.0

// Recgen turns definitions of versioned Kafka records into Go codecs.
//
//	recgen [-o records_gen.go] file.recs
//
// # The notation
//
// A file names its Go package, imports, records and structs. A # starts a
// comment; comments above a record, struct or field become its Go comment.
//
//	package metarec
//	import gregor/base/kafka
//
//	record RegisterBroker key 0 versions 0-4 written 1@7 2@8 3@17 4@30 {
//	    BrokerID   int32(kafka.NodeID)
//	    EndPoints  []Endpoint
//	    Rack       string?
//	    Fenced     bool                       = true
//	    Migrating  bool                       2+
//	    LogDirs    []uuid(kafka.DirectoryID)  3+ tag 0
//	}
//	struct Endpoint {
//	    Port uint16
//	}
//	control LeaderChange type 2 versions 0-1 written 0 { … }
//
//	key OffsetCommitKey type 1 { … }
//	value OffsetCommitValue type 1 versions 0-4 flexible 4+ written 3 { … }
//
// A record has an api key; a control record has a type, and its value starts
// with its version. Records of a coordinator's topic are pairs of a key, which
// starts with its type, and a value, which starts with its version; of these
// the generated Append and Decode include the prefix. "written" says at which version it is written: a number;
// v@l, "version v from metadata.version level l on"; or lowest, the lowest
// version that can carry what differs from the defaults. Without it there is
// only version 0.
//
// A field has a name and a type: int8 int16 uint16 int32 int64 float64 bool
// string bytes uuid or a struct, [] before it for an array, (a Go type) behind
// it to be read into, ? at the end for nullable. After them, in this order and
// all optional: the versions that have it (2+ or 0-2), "tag n" for a tagged
// field, and "= value" for its default. Null is nil in Go, a nullable string a
// *string, a nullable struct a pointer. A tagged field that equals its default is not written. The default
// of a nullable field is null, unless it is "= empty": then null is written, and
// an empty array or struct is not.
//
// Every version is flexible, but of keys none is and of values and structs only
// what "flexible" says. Fields that a version lacks are not written, and
// have their defaults when read. Unknown tagged fields are kept in Unknown.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "records_gen.go", "file to write")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: recgen [-o records_gen.go] file.recs")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "recgen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	text, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	code, err := compile(filepath.Base(in), text)
	if err != nil {
		return err
	}
	return os.WriteFile(out, code, 0o644)
}

// compile is the whole of the generator: notation to gofmt-ed Go.
func compile(name string, text []byte) ([]byte, error) {
	f, err := parse(name, string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	generate(&b, name, f)
	code, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("generated code: %w\n%s", err, b.Bytes())
	}
	return code, nil
}
