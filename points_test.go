// SPDX-License-Identifier: Apache-2.0

package gregor_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The 68 points are what brokers that speak Kafka's protocol get wrong most
// often. Each has tests that are named TestPointNN…, or others that stand here,
// or a reason why it waits.
const pointsTotal = 68

// otherNames are tests of points that do not bear the point's number.
var otherNames = map[int][]string{
	65: {"TestBootstrapOfBuiltFeatures", "TestELRFixesMinISR"},
	67: {"TestFindCoordinatorCreatesTheTopic", "TestFindCoordinatorOthers"},
}

// waiting are the points of what is not built.
var waiting = map[int]string{
	9:  "there is no SASL yet",
	31: "a single node has no followers to fetch from",
	47: "there are no share groups yet",
	48: "there are no transactions yet",
	49: "there are no transactions yet",
	50: "there are no transactions yet",
	51: "there are no transactions yet",
	53: "there are no transactions yet",
	54: "there are no transactions yet",
	55: "there are no transactions yet",
	66: "there are no ACLs yet",
}

var (
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	pointName = regexp.MustCompile(`^TestPoint(\d\d)`)
)

func TestPointsHaveTests(t *testing.T) {
	var names []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != "." { // git's own files come and go
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		text, err := os.ReadFile(p)
		for _, found := range testFunc.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, name := range names {
		if found := pointName.FindStringSubmatch(name); found != nil {
			tested[found[1]] = true
		}
	}
	for point := 1; point <= pointsTotal; point++ {
		named := tested[fmt.Sprintf("%02d", point)]
		for _, name := range otherNames[point] {
			if !slices.Contains(names, name) {
				t.Errorf("point %d: there is no test %s", point, name)
			}
		}
		switch reason, waits := waiting[point]; {
		case waits && (named || otherNames[point] != nil):
			t.Errorf("point %d is tested, and said to wait: %s", point, reason)
		case !waits && !named && otherNames[point] == nil:
			t.Errorf("point %d has neither a test nor a reason to wait", point)
		}
	}
}
