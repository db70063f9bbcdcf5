// SPDX-License-Identifier: Apache-2.0

// Package kafka runs Apache Kafka and gregor as processes for tests that hold
// the two against each other. The jars come through mvn, once, into a cache
// beside the poms that name them.
package kafka

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// The sets of jars, each named by its pom under test/interop/java.
const (
	Tools  = "tools"  // kafka-tools 4.3.1 with its own jars
	Broker = "broker" // Apache Kafka 4.4.0
)

// maven lets one mvn run at a time: they share a folder.
var maven sync.Mutex

// Jars returns the class path of a set of jars and fetches them when they are
// not here yet.
func Jars(t testing.TB, name string) string {
	t.Helper()
	Need(t, "java", "mvn")
	pom := filepath.Join(Folder(t), "java", "pom-"+name+".xml")
	cache := Cached(t, name, []string{pom}, func(ctx context.Context, dir string) error {
		maven.Lock()
		defer maven.Unlock()
		return Fetch(ctx, nil, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	})
	return filepath.Join(cache, "*")
}

// root is the folder of the module that the test belongs to.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}
