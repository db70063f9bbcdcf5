// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit bounds a broker's start and its stop. Kafka with 10,000 partitions
// takes most of a minute on two cores, and more behind a kill.
const startLimit = 4 * time.Minute

// system is a broker that can be measured.
type system interface {
	name() string
	// command prepares the process on a folder, to listen at address.
	command(ctx context.Context, dir, address string, settings map[string]string) (*exec.Cmd, error)
}

type gregorSystem struct{ o options }

func (gregorSystem) name() string { return "gregor" }

func (s gregorSystem) command(_ context.Context, dir, address string, settings map[string]string) (*exec.Cmd, error) {
	command := exec.Command(s.o.gregor, "start", "--set", "listeners=PLAINTEXT://"+address, "--set", "log.dirs="+dir,
		"--set", "gregor.admin.listener=127.0.0.1:0")
	for key, value := range settings {
		command.Args = append(command.Args, "--set", key+"="+value)
	}
	return command, nil
}

type kafkaSystem struct{ o options }

func (kafkaSystem) name() string { return "kafka" }

// command formats the folder first, unless it is, and runs Kafka with the memory and the
// collector that its own scripts set.
func (s kafkaSystem) command(ctx context.Context, dir, address string, settings map[string]string) (*exec.Cmd, error) {
	controller, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	properties := dir + ".properties"
	text := "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://" + address + ",CONTROLLER://" + controller +
		"\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@" + controller + "\nlog.dirs=" + dir +
		// A single broker can have no more; Kafka's own example of a configuration sets them likewise.
		"\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
	for key, value := range settings {
		text += key + "=" + value + "\n"
	}
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return nil, err
	}
	classes := filepath.Join(s.o.kafka, "*")
	format := exec.CommandContext(ctx, "java", "-cp", classes, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format: %w\n%s", err, out)
	}
	return exec.Command("java", "-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
		"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true", "-cp", classes, "kafka.Kafka", properties), nil
}

// process is a running broker.
type process struct {
	cmd      *exec.Cmd
	address  string
	answered time.Duration // from exec to the first answer
	exited   chan error
	output   *lockedBuffer
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// startSystem runs a broker and measures the time to its first answer.
func startSystem(ctx context.Context, s system, dir string) (*process, error) {
	return startConfigured(ctx, s, dir, nil)
}

func startConfigured(ctx context.Context, s system, dir string, settings map[string]string) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	command, err := s.command(ctx, dir, address, settings)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: command, address: address, exited: make(chan error, 1), output: &lockedBuffer{}}
	command.Stdout, command.Stderr = p.output, p.output
	began := time.Now()
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() { p.exited <- command.Wait() }()
	for {
		if err := askApiVersions(ctx, address); err == nil {
			p.answered = time.Since(began)
			return p, nil
		}
		select {
		case err := <-p.exited:
			return nil, fmt.Errorf("ended before its first answer: %w\n%s", err, p.output)
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > startLimit {
			p.stop()
			return nil, fmt.Errorf("no answer after %v\n%s", startLimit, p.output)
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(startLimit):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// askApiVersions sends ApiVersions v0 and reads the whole answer.
func askApiVersions(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	// Size, key 18, version 0, correlation id 1, null client id.
	if _, err := conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}); err != nil {
		return err
	}
	var head [10]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if size := binary.BigEndian.Uint32(head[:]); size < 6 || size > 1<<16 || binary.BigEndian.Uint16(head[8:]) != 0 {
		return errors.New("not an answer to ApiVersions")
	}
	return nil
}

var adminAddress = regexp.MustCompile(`(?m)^gregor ready in .*, admin ([^, \n]+)`)

// allocations reads the count of all allocations from the node's metrics;
// false where there are none to read.
func (p *process) allocations(ctx context.Context) (float64, bool) {
	found := adminAddress.FindStringSubmatch(p.output.String())
	if found == nil {
		return 0, false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+found[1]+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if count, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
			value, err := strconv.ParseFloat(count, 64)
			return value, err == nil
		}
	}
	return 0, false
}

func freeAddress(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// lockedBuffer takes a process's output while others look at it.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
