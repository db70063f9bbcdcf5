// SPDX-License-Identifier: Apache-2.0

package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type keyConstant struct{ name, typ, key string }

// keyConstants reads keys.go, since Go cannot list constants.
func keyConstants(t *testing.T) []keyConstant {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []keyConstant
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		key, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, keyConstant{v.Names[0].Name, v.Type.(*ast.Ident).Name, key})
		return true
	})
	return out
}

// readNames collects the names that product code outside this package reads
// as config.Name, and all selectors in files that import this package; and the
// names that this package reads itself.
func readNames(t *testing.T) (outside, selectors, inside map[string]bool) {
	t.Helper()
	outside, selectors, inside = map[string]bool{}, map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "test" || name == "tools" || name == "testdata" || strings.HasPrefix(name, ".") && name != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		own := filepath.Base(filepath.Dir(path)) == "config"
		if own && filepath.Base(path) == "keys.go" {
			return nil
		}
		imports := slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"gregor/config"` })
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if imports {
					selectors[n.Sel.Name] = true
				}
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "config" && !own {
					outside[n.Sel.Name] = true
				}
			case *ast.Ident:
				if own {
					inside[n.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return outside, selectors, inside
}

// topicFields gives the field of Topic that each topic key fills, from the
// source of resolver.topic.
func topicFields(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("topic_resolve.go")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{
		"internal.segment.bytes":    "SegmentBytes",
		"gregor.produce.validation": "ProduceValidation",
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\t(\w+):\s+.*r\.\w+\("([a-z0-9.]+)"\)`).FindAllStringSubmatch(string(source), -1) {
		fields[m[2]] = m[1]
	}
	return fields
}

// A key is said to work if and only if something reads it: the table must not
// promise what nobody does, nor hide what is done.
func TestKeysThatWorkAreRead(t *testing.T) {
	outside, selectors, inside := readNames(t)
	constants := map[string]string{}
	for _, c := range keyConstants(t) {
		constants[c.key] = c.name
	}
	fields := topicFields(t)
	topicRead := func(key string) bool { return selectors[fields[key]] }
	twinRead := map[string]bool{}
	for key, list := range twins {
		for _, tw := range list {
			twinRead[tw.key] = twinRead[tw.key] || topicRead(key)
		}
	}
	for _, d := range Definitions() {
		name := constants[d.Name]
		read := name != "" && (outside[name] || inside[name]) || twinRead[d.Name]
		if works := d.Effect == Works; works != read {
			t.Errorf("%s: the table says %s, and it is read: %v", d.Name, d.Effect, read)
		}
	}
	for _, d := range TopicDefinitions() {
		if works := d.Effect == Works; works != topicRead(d.Name) {
			t.Errorf("topic key %s: the table says %s, and Topic.%s is read: %v", d.Name, d.Effect, fields[d.Name], topicRead(d.Name))
		}
	}
}
