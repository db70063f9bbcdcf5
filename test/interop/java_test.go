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
// Apache Kafka 4.4.0 and runs it.
func TestJavaClient(t *testing.T) {
	kafka.Need(t, "javac")
	classes := kafka.Jars(t, kafka.Broker) + string(os.PathListSeparator) + t.TempDir()
	_, built, _ := strings.Cut(classes, string(os.PathListSeparator))
	compile := exec.CommandContext(t.Context(), "javac", "-encoding", "UTF-8", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-cp", classes, "-d", built, filepath.Join("java", "RoundTrip.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	run := exec.Command("java", kafka.JVM(append([]string{"-Xmx512m", "-cp", classes, "RoundTrip", n.Address, "50000"}, codecs...)...)...)
	said, err := kafka.RunWithin(run, 2*toolTimeout, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range codecs {
		if !strings.Contains(said.Out, codec+" is done\n") {
			t.Fatalf("%s is not done: exit code %d\n%s", codec, said.Code, head(said.Both))
		}
	}
	n.Stop(t)
}
