// SPDX-License-Identifier: Apache-2.0

package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
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
