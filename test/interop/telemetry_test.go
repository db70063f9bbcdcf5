// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
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
	const seconds = "6"
	t.Run("java", func(t *testing.T) {
		classes := kafka.Jars(t, kafka.Broker) + string(os.PathListSeparator) + t.TempDir()
		_, built, _ := strings.Cut(classes, string(os.PathListSeparator))
		compile := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-cp", classes, "-d", built, filepath.Join("java", "Push.java"))
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
		all, err := kafka.RunWithin(exec.Command("java", "-Xmx256m", "-cp", classes, "Push", n.Address, "java-push", "telemetry", seconds), toolTimeout, "")
		said := strings.Fields(all.Out)
		if err != nil || all.Code != 0 || len(said) != 2 {
			t.Fatalf("%v, exit code %d\n%s", err, all.Code, all.Both)
		}
		sent, _ := strconv.ParseFloat(said[1], 64)
		labels := `client_id="java-push",client_instance_id="` + said[0] + `",client_software_name="apache-kafka-java",client_software_version="4.4.0"`
		got := pushedValue(t, n, `client_producer_record_send_total{`+labels+`}`)
		if got < sent/2 || got > sent { // what came behind its last push is not told
			t.Errorf("%v records were pushed, %v sent", got, sent)
		}
		if latency := pushedValue(t, n, `client_producer_node_request_latency_max{`+labels+`,node_id="node-1"}`); latency <= 0 {
			t.Errorf("a latency of %v", latency)
		}
	})
	t.Run("librdkafka", func(t *testing.T) {
		script := filepath.Join(kafka.Folder(t), "python", "push.py")
		push := exec.Command(client.Interpreter(t), "-B", script, n.Address, "python-push", "telemetry", seconds)
		if said, err := kafka.RunWithin(push, toolTimeout, ""); err != nil || said.Code != 0 {
			t.Fatalf("%v, exit code %d\n%s", err, said.Code, said.Both)
		}
		pushedValue(t, n, `client_producer_request_latency_avg{client_id="python-push",client_instance_id="*",client_software_name="confluent-kafka-python",*}`)
	})
	t.Run("franz-go", func(t *testing.T) {
		c, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ClientID("go-push"), kgo.DefaultProduceTopic("telemetry"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name := `client_producer_*{client_id="go-push",client_instance_id="*",client_software_name="kgo",*}`
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
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
