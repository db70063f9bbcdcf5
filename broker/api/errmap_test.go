// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/active"
	"gregor/config"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/index"
	"gregor/storage/logdir"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// verdicts say for every exported error of the packages below what a client
// would be told.
var verdicts = map[string]struct {
	err  error
	want kafka.Code
}{
	"replica.ErrDeleted":              {replica.ErrDeleted, kafka.UnknownTopicOrPartition},
	"active.ErrNotActive":             {active.ErrNotActive, kafka.NotController},
	"active.ErrStopped":               {active.ErrStopped, kafka.NotController},
	"logdir.ErrClosed":                {logdir.ErrClosed, kafka.KafkaStorageError},
	"logdir.ErrOpen":                  {logdir.ErrOpen, kafka.KafkaStorageError},
	"logdir.FullError":                {&logdir.FullError{}, kafka.KafkaStorageError},
	"logdir.OfflineError":             {&logdir.OfflineError{Err: syscall.EIO}, kafka.KafkaStorageError},
	"commitlog.CorruptError":          {&commitlog.CorruptError{}, kafka.CorruptMessage},
	"commitlog.ErrClosed":             {commitlog.ErrClosed, kafka.KafkaStorageError},
	"commitlog.ErrFailed":             {commitlog.ErrFailed, kafka.KafkaStorageError},
	"commitlog.OffsetOutOfRangeError": {&commitlog.OffsetOutOfRangeError{}, kafka.OffsetOutOfRange},
	"commitlog.OldFormatError":        {&commitlog.OldFormatError{}, kafka.KafkaStorageError},
	"commitlog.TopicIDError":          {&commitlog.TopicIDError{}, kafka.InconsistentTopicID},
	"segment.CorruptError":            {&segment.CorruptError{}, kafka.CorruptMessage},
	"segment.ErrClosed":               {segment.ErrClosed, kafka.KafkaStorageError},
	"prodstate.ErrCorrupt":            {prodstate.ErrCorrupt, kafka.KafkaStorageError},
	"index.ErrCorrupt":                {index.ErrCorrupt, kafka.KafkaStorageError},
	"batch.CorruptError":              {&batch.CorruptError{}, kafka.CorruptMessage},
	"batch.Error":                     {&batch.Error{Code: kafka.InvalidRecord}, kafka.InvalidRecord},
	"compress.ErrCodec":               {compress.ErrCodec, kafka.UnsupportedCompressionType},
	"compress.ErrCorrupt":             {compress.ErrCorrupt, kafka.CorruptMessage},
	"compress.ErrTooLarge":            {compress.ErrTooLarge, kafka.InvalidRecord},
	"frame.MalformedError":            {&frame.MalformedError{}, kafka.InvalidRequest},
	"config.InvalidTopicError":        {&config.InvalidTopicError{}, kafka.InvalidConfig},
	"config.InvalidBrokerError":       {&config.InvalidBrokerError{}, kafka.InvalidRequest},
	"config.InvalidSubscriptionError": {&config.InvalidSubscriptionError{Code: kafka.InvalidConfig}, kafka.InvalidConfig},
	"config.InvalidGroupConfigError":  {&config.InvalidGroupConfigError{}, kafka.InvalidConfig},
	"a full disk":                     {&fs.PathError{Err: syscall.ENOSPC}, kafka.KafkaStorageError},
	"a missing file":                  {&fs.PathError{Err: syscall.ENOENT}, kafka.KafkaStorageError},
}

// startOnly are errors that stop a start, or the publisher, and no request.
var startOnly = []string{
	"logdir.CheckpointError", "logdir.ForeignFolderError", "logdir.InUseError", "logdir.ManifestError", "logdir.MismatchError", "logdir.UnformattedError",
	"config.KeyError", "config.SyntaxError", "config.ValueError",
}

// ofBackground are errors of work that no request waits for.
var ofBackground = []string{"commitlog.ErrScrubEnds"}

// A new error below must say here what clients are told.
func TestEveryErrorHasACode(t *testing.T) {
	for _, dir := range below {
		for _, name := range exportedErrors(t, dir) {
			if _, ok := verdicts[name]; !ok && !slices.Contains(slices.Concat(startOnly, ofBackground), name) {
				t.Errorf("%s has no place in errmap.go, or in its test", name)
			}
		}
	}
	for name, v := range verdicts {
		for _, err := range []error{v.err, fmt.Errorf("wrapped: %w", v.err), errors.Join(errors.New("other"), v.err)} {
			if got, ok := codeOf(err); !ok || got != v.want {
				t.Errorf("%s: %v, %v; want %v", name, got, ok, v.want)
			}
		}
	}
	if got, ok := codeOf(errors.New("nobody knows")); ok || got != kafka.UnknownServerError {
		t.Errorf("an error that nobody knows: %v, %v", got, ok)
	}
	if got, ok := codeOf(nil); !ok || got != kafka.None {
		t.Errorf("no error: %v, %v", got, ok)
	}
}

// below lists the packages whose errors can reach a handler.
var below = []string{
	"replica", "replica/isr", "replica/assign", "cluster/link", "cluster/active", "cluster/controller", "cluster/image",
	"storage/logdir", "storage/commitlog", "storage/segment", "storage/prodstate", "storage/index",
	"wire/batch", "wire/compress", "wire/frame", "wire/produce", "wire/fetch", "config",
}

// exportedErrors finds the exported errors of a package: variables Err… and types
// …Error.
func exportedErrors(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %d files", dir, err, len(files))
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range decl.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if decl.Tok == token.VAR && strings.HasPrefix(n.Name, "Err") {
							names = append(names, file.Name.Name+"."+n.Name)
						}
					}
				case *ast.TypeSpec:
					if s.Name.IsExported() && strings.HasSuffix(s.Name.Name, "Error") && s.Name.Name != "RecordError" {
						names = append(names, file.Name.Name+"."+s.Name.Name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
