// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"gregor/test/interop/kafka"
)

// Java is the Java client of Apache Kafka 4.4.0.
func Java(t testing.TB) *Client {
	t.Helper()
	kafka.Need(t, "java", "javac", "mvn")
	jars := kafka.Jars(t, kafka.Broker)
	source := filepath.Join(kafka.Folder(t), "java", "Client.java")
	pom := filepath.Join(kafka.Folder(t), "java", "pom-"+kafka.Broker+".xml")
	classes := kafka.Cached(t, "java-client", []string{source, pom}, func(ctx context.Context, dir string) error {
		return kafka.Run(ctx, nil, "javac", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-Werror", "-cp", jars, "-d", dir, source)
	})
	return &Client{Name: "java", command: append([]string{"java"}, kafka.JVM("-Xmx512m", "-cp", jars+string(os.PathListSeparator)+classes, "Client")...)}
}

// Python are the clients of requirements.txt.
func Python(t testing.TB) []*Client {
	t.Helper()
	interpreter, scripts := Interpreter(t), filepath.Join(kafka.Folder(t), "python")
	client := func(name, script string) *Client {
		return &Client{Name: name, LeavesSmall: true, env: []string{"PYTHONUTF8=1"}, command: []string{interpreter, "-B", filepath.Join(scripts, script)}}
	}
	return []*Client{client("confluent-kafka-python", "confluent.py"), client("kafka-python", "kafkapython.py"), client("aiokafka", "aio.py")}
}

// Interpreter is a Python that has the clients.
func Interpreter(t testing.TB) string {
	t.Helper()
	kafka.Need(t, "python3")
	requirements := filepath.Join(kafka.Folder(t), "python", "requirements.txt")
	venv := kafka.Cached(t, "python", []string{requirements}, func(ctx context.Context, dir string) error {
		if err := kafka.Run(ctx, nil, "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return kafka.Fetch(ctx, nil, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check",
			"--timeout", "20", "--retries", "1", "--requirement", requirements)
	})
	return filepath.Join(venv, "bin", "python")
}

// KafkaJS is the client of that name.
func KafkaJS(t testing.TB) *Client {
	t.Helper()
	return node(t, "kafkajs", "kafkajs.js", modules(t, "node", nil, "--ignore-scripts"))
}

// ConfluentJS is librdkafka for Node. Its package brings a binary where it
// finds one for the machine, and is built otherwise: with the system's
// libraries, and without the codecs that it lacks there.
func ConfluentJS(t testing.TB) *Client {
	t.Helper()
	kafka.Need(t, "g++", "make", "python3")
	c := node(t, "confluent-kafka-javascript", "confluent.js", modules(t, "node-librdkafka", []string{"CKJS_LINKING=dynamic"}))
	c.EmptyIsNull, c.LeavesSmall = true, true
	return c
}

// modules is where npm has put what package.json names. No lock file is kept:
// it would name the registry.
func modules(t testing.TB, name string, env []string, options ...string) string {
	t.Helper()
	kafka.Need(t, "node", "npm")
	list := filepath.Join(kafka.Folder(t), "node", "package.json")
	return kafka.Cached(t, name, []string{list}, func(ctx context.Context, dir string) error {
		text, err := os.ReadFile(list)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), text, 0o644); err != nil {
			return err
		}
		return kafka.Fetch(ctx, env, "npm", append([]string{"install", "--prefix", dir, "--no-package-lock", "--no-audit", "--no-fund",
			"--fetch-timeout=20000", "--fetch-retries=1"}, options...)...)
	})
}

func node(t testing.TB, name, script, dir string) *Client {
	t.Helper()
	return &Client{
		Name: name, command: []string{"node", filepath.Join(kafka.Folder(t), "node", script)},
		env: []string{"NODE_PATH=" + filepath.Join(dir, "node_modules")},
	}
}
