// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gregor/test/interop/kafka"
)

// TestJavaClient compiles java/RoundTrip.java against the Java client of
// Apache Kafka 4.4.0 and runs it once for each codec.
func TestJavaClient(t *testing.T) {
	kafka.Need(t, "javac")
	classes := kafka.Jars(t, kafka.Broker) + string(os.PathListSeparator) + t.TempDir()
	_, built, _ := strings.Cut(classes, string(os.PathListSeparator))
	compile := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-cp", classes, "-d", built, filepath.Join("java", "RoundTrip.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			run := exec.CommandContext(t.Context(), "java", "-Xmx512m", "-cp", classes, "RoundTrip", n.Address, "java-"+codec, codec, "50000")
			out, err := run.CombinedOutput()
			if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	n.Stop(t)
}
