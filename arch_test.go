// SPDX-License-Identifier: Apache-2.0

// Package gregor_test checks the shape of the house itself: who may import
// whom, who may touch the clock and the operating system, and that every file
// and package says what it is.
package gregor_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// order lists the folders from the top of the house to the ground: a package
// may import only what stands after it. A package that is not listed counts as
// part of the nearest folder above it that is.
var order = []string{
	"cmd/gregor",
	"node",
	"gateway/registry", "gateway/rest", "gateway/console", "gateway",
	"ops",
	"broker/conn", "broker/api", "broker/forward", "broker/fetchsession", "broker/telemetry", "broker/call",
	"coordinator/shard", "coordinator/group", "coordinator/share", "coordinator/txn", "coordinator/assignor", "coordinator/grouprec",
	"replica/assign", "replica/fetcher", "replica", "replica/isr",
	"cluster/active", "cluster/raftnode", "cluster/link", "cluster/controller", "cluster/metalog", "cluster/image", "cluster/metarec",
	"security/tlsconf", "security/sasl", "security/acl", "security",
	"quota",
	"storage/logdir", "storage/commitlog", "storage/compact", "storage/retention", "storage/scrub", "storage/tier",
	"storage/prodstate", "storage/index", "storage/segment",
	"wire/peer", "wire/reply", "wire/produce", "wire/fetch", "wire/batch", "wire/compress", "wire/frame", "wire/schema",
	"config",
	"base/kafka", "base/vfs", "base/netx", "base/park", "base/lane",
}

// free folders may import everything: they look at the product from outside.
var free = []string{"node/nodetest", "test", "examples"}

// ownModules are not part of the product's module.
var ownModules = []string{"test/clients", "tools", "dlq"}

// only names packages with few importers, and the reason.
var only = map[string]struct {
	importers []string
	why       string
}{
	"gregor/config": {[]string{"cmd/gregor", "node", "broker/api", "replica/assign", "cluster/controller"},
		"everything else takes an Options struct"},
	"go.etcd.io/raft/v3":                      {[]string{"cluster/raftnode"}, "consensus has one face"},
	"github.com/prometheus/client_golang":     {[]string{"ops"}, "counters are plain fields, read at scrape time"},
	"github.com/spf13/cobra":                  {[]string{"cmd/gregor"}, "the command line is the outermost shell"},
	"github.com/twmb/franz-go/pkg/kgo":        {[]string{"cmd/gregor"}, "the product speaks its own protocol"},
	"github.com/twmb/franz-go/pkg/kadm":       {[]string{"cmd/gregor"}, "the product speaks its own protocol"},
	"google.golang.org/protobuf":              {[]string{"broker/telemetry", "cluster/raftnode"}, "the protocol is Kafka's"},
	"golang.org/x/sys":                        {[]string{"base/vfs", "base/netx", "broker/conn", "cmd/gregor"}, "system calls stay behind the seams"},
	"math/rand":                               {nil, "randomness is passed in"},
	"math/rand/v2":                            {[]string{"base/vfs"}, "randomness is passed in; the twins of vfs draw from a seed"},
	"reflect":                                 {[]string{"config"}, "no reflection near records"},
	"log":                                     {nil, "slog is passed in"},
	"testing":                                 {nil, "tests only"},
	"github.com/HdrHistogram/hdrhistogram-go": {[]string{"cmd/gregor"}, "measuring is done from outside"},
}

// banned calls, outside the folders that are allowed to make them.
var banned = []struct {
	pkg, name string
	allowed   []string
	why       string
}{
	{"time", "Now", []string{"base", "node", "cluster/raftnode", "cmd"}, "take now as an argument"},
	{"time", "Since", []string{"base", "node", "cluster/raftnode", "cmd"}, "take now as an argument"},
	{"os", "Open", []string{"base", "cmd"}, "use vfs.FS"},
	{"os", "OpenFile", []string{"base", "cmd"}, "use vfs.FS"},
	{"os", "Create", []string{"base", "cmd"}, "use vfs.FS"},
	{"os", "ReadFile", []string{"base", "cmd", "wire/schema"}, "use vfs.FS"},
	{"os", "WriteFile", []string{"base", "cmd", "wire/schema"}, "use vfs.FS"},
	{"os", "Exit", []string{"cmd/gregor/main.go", "wire/schema"}, "main.go has the only one"},
	{"net", "Listen", []string{"base"}, "use netx.Net"},
	{"net", "Dial", []string{"base"}, "use netx.Net"},
	{"fmt", "Println", []string{"cmd", "wire/schema"}, "use slog"},
	{"fmt", "Printf", []string{"cmd", "wire/schema"}, "use slog"},
}

func within(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

func rank(dir string) (int, bool) {
	for d := dir; d != "."; d = path.Dir(d) {
		if i := slices.Index(order, d); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

type source struct {
	path, dir string
	file      *ast.File
	text      string
	test      bool
}

func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var all []source
	err := filepath.WalkDir(".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		if e.IsDir() {
			if name := e.Name(); p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "data") || slices.Contains(ownModules, p) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{p, path.Dir(p), f, string(text), strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found only %d files: the walk is wrong", len(all))
	}
	return fset, all
}

func TestImportsPointDown(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if s.test || within(s.dir, free...) {
			continue
		}
		from, ok := rank(s.dir)
		if !ok {
			t.Errorf("%s: folder %s has no place in the order of arch_test.go", s.path, s.dir)
			continue
		}
		for _, im := range s.file.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			if dir, ours := strings.CutPrefix(p, "gregor/"); ours {
				to, ok := rank(dir)
				switch {
				case within(dir, free...):
					t.Errorf("%s: imports %s, which is for tests", fset.Position(im.Pos()), p)
				case !ok:
					t.Errorf("%s: %s has no place in the order", fset.Position(im.Pos()), p)
				case to < from, to == from && !within(dir, order[from]):
					t.Errorf("%s: %s may not import %s, which stands above it", fset.Position(im.Pos()), s.dir, dir)
				}
			}
			for name, rule := range only {
				if (p == name || strings.HasPrefix(p, name+"/") && name != "math/rand" && name != "log") && !within(s.dir, rule.importers...) {
					t.Errorf("%s: %s may not import %s: %s", fset.Position(im.Pos()), s.dir, p, rule.why)
				}
			}
		}
	}
}

func TestBannedCalls(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if s.test || within(s.dir, free...) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok || x.Obj != nil {
				return true
			}
			for _, b := range banned {
				if x.Name == b.pkg && sel.Sel.Name == b.name && !within(s.dir, b.allowed...) && !slices.Contains(b.allowed, s.path) {
					t.Errorf("%s: %s.%s: %s", fset.Position(n.Pos()), b.pkg, b.name, b.why)
				}
			}
			return true
		})
	}
}

func TestEveryFileHasItsLicenceAndEveryPackageItsPromise(t *testing.T) {
	_, all := sources(t)
	said := map[string]bool{}
	for _, s := range all {
		if !strings.Contains(s.text[:min(len(s.text), 400)], "SPDX-License-Identifier: Apache-2.0") {
			t.Errorf("%s: no SPDX line", s.path)
		}
		if _, seen := said[s.dir]; !seen {
			said[s.dir] = false
		}
		if s.file.Doc != nil && len(s.file.Doc.Text()) > 40 {
			said[s.dir] = true
		}
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no file has a package comment that says what the package promises", dir)
		}
	}
}
