// SPDX-License-Identifier: Apache-2.0

// Package kafka runs Apache Kafka and gregor as processes for tests that hold
// the two against each other. The jars come through mvn, once, into a cache
// beside the poms that name them.
package kafka

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The sets of jars, each named by its pom under test/interop/java.
const (
	Tools  = "tools"  // kafka-tools 4.3.1 with its own jars
	Broker = "broker" // Apache Kafka 4.4.0
)

// Need stops a test that lacks a program, naming it.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test needs %s", program)
		}
	}
}

// Jars returns the class path of a set of jars and fetches them when they are
// not here yet.
func Jars(t testing.TB, name string) string {
	t.Helper()
	Need(t, "java", "mvn")
	interop := filepath.Join(root(t), "test", "interop")
	cache := filepath.Join(interop, ".cache", name)
	complete := filepath.Join(cache, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return filepath.Join(cache, "*")
	}
	maven := exec.CommandContext(t.Context(), "mvn", "-q", "-B", "-f", filepath.Join(interop, "java", "pom-"+name+".xml"),
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+cache)
	if out, err := maven.CombinedOutput(); err != nil {
		t.Fatalf("mvn could not fetch the jars of pom-%s.xml: %v\n%s", name, err, out)
	}
	if err := os.WriteFile(complete, nil, 0o644); err != nil {
		t.Fatal(err)
	}
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
