// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/client"
	"gregor/test/interop/kafka"
)

// TestClientTelemetry subscribes to metrics with Kafka's tool, lets producers of
// three clients push without being told of it, and finds at /metrics what they
// have sent.
func TestClientTelemetry(t *testing.T) {
	kafka.Need(t, "java", "javac", "mvn")
	if os.Getenv("INTEROP_ORACLE") != "" {
		t.Skip("Apache Kafka has no /metrics")
	}
	n := startWith(t, filepath.Join(t.TempDir(), "data"), "gregor.admin.listener=127.0.0.1:0")
	runTools(t, n, []toolStep{
		{class: "ClientMetricsCommand", options: "--alter --name all --metrics org.apache.kafka.producer. --interval 1000", says: `Altered client metrics config for all\.`},
		{class: "ClientMetricsCommand", options: "--alter --name others --metrics org.apache.kafka.consumer. --interval 100 --match client_id=other", says: `Altered client metrics config for others\.`},
	})
	t.Run("java", func(t *testing.T) {
		classes := kafka.Jars(t, kafka.Broker) + string(os.PathListSeparator) + t.TempDir()
		_, built, _ := strings.Cut(classes, string(os.PathListSeparator))
		compile := exec.CommandContext(t.Context(), "javac", "-encoding", "UTF-8", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-cp", classes, "-d", built, filepath.Join("java", "Push.java"))
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
		series := func(name, id, more string) string {
			return name + `{client_id="java-push",client_instance_id="` + id + `",client_software_name="apache-kafka-java",client_software_version="4.4.0"` + more + `}`
		}
		const total, latency = `client_producer_record_send_total`, `client_producer_node_request_latency_max`
		var before float64
		push := exec.Command("java", kafka.JVM("-Xmx256m", "-cp", classes, "Push", n.Address, "java-push", "telemetry")...)
		said := strings.Fields(pushes(t, push, func() bool { // two times at least, and the second tells of more
			_, timed := pushed(t, n, series(latency, "*", `,node_id="node-1"`))
			got, ok := pushed(t, n, series(total, "*", ""))
			grew := ok && before > 0 && got > before
			before = max(before, got)
			return grew && timed
		}))
		if len(said) != 2 {
			t.Fatalf("it said %q", said)
		}
		sent, _ := strconv.ParseFloat(said[1], 64)
		// What came behind its last push is not told.
		if got := pushedValue(t, n, series(total, said[0], "")); got < before || got > sent {
			t.Errorf("%v records were pushed, %v before, %v sent", got, before, sent)
		}
		if took := pushedValue(t, n, series(latency, said[0], `,node_id="node-1"`)); took <= 0 {
			t.Errorf("a latency of %v", took)
		}
	})
	t.Run("librdkafka", func(t *testing.T) {
		script := filepath.Join(kafka.Folder(t), "python", "push.py")
		push := exec.Command(client.Interpreter(t), "-B", script, n.Address, "python-push", "telemetry")
		pushes(t, push, func() bool {
			_, ok := pushed(t, n, `client_producer_request_latency_avg{client_id="python-push",client_instance_id="*",client_software_name="confluent-kafka-python",*}`)
			return ok
		})
	})
	t.Run("franz-go", func(t *testing.T) {
		c, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ClientID("go-push"), kgo.DefaultProduceTopic("telemetry"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name := `client_producer_*{client_id="go-push",client_instance_id="*",client_software_name="kgo",*}`
		for deadline := time.Now().Add(toolTimeout); ; time.Sleep(100 * time.Millisecond) {
			if err := c.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if _, ok := pushed(t, n, name); ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("nothing was pushed")
			}
		}
	})
	n.Stop(t)
}

// pushes runs a producer until what is wanted of its metrics was pushed, ends it
// by the end of its stdin, and returns what it said.
func pushes(t *testing.T, command *exec.Cmd, wanted func() bool) string {
	t.Helper()
	var said, errs bytes.Buffer
	command.Stdout, command.Stderr = &said, &errs
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watch := time.AfterFunc(2*toolTimeout, func() { _ = command.Process.Kill() })
	defer watch.Stop()
	missing := false
	for deadline := time.Now().Add(toolTimeout); !missing && !wanted(); time.Sleep(100 * time.Millisecond) {
		missing = time.Now().After(deadline)
	}
	_ = stdin.Close()
	if err := command.Wait(); err != nil || missing {
		t.Fatalf("%v, nothing was pushed: %t\n%s%s", err, missing, said.String(), errs.String())
	}
	return said.String()
}

// pushed reads a series of /metrics; * stands for anything in its name.
func pushed(t *testing.T, n *kafka.Node, name string) (float64, bool) {
	t.Helper()
	resp, err := http.Get("http://" + n.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(name), `\*`, `[^ ]*`)
	found := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v, true
}

func pushedValue(t *testing.T, n *kafka.Node, name string) float64 {
	t.Helper()
	v, ok := pushed(t, n, name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	return v
}
