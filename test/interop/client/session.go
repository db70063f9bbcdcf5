// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

const (
	// lineTimeout is longer than the scripts' own deadline, so that they can
	// say what they wait for.
	lineTimeout = 200 * time.Second
	// lineBytesMax is above the largest record of the tests, in base64.
	lineBytesMax = 8 << 20
)

// Refusal is an error of the broker, or with a nil code of the client.
type Refusal struct {
	Code *int   `json:"code"`
	Text string `json:"text"`
}

// Place is a partition, written by the scripts as [topic, partition].
type Place struct {
	Topic     string
	Partition int32
}

// UnmarshalJSON reads a place as the scripts write it.
func (p *Place) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.Topic, &p.Partition})
}

// Line is what a script said: one of its fields.
type Line struct {
	Record    *Record          `json:"record"`
	Answer    json.RawMessage  `json:"answer"`
	Error     *Refusal         `json:"error"`
	Lacks     bool             `json:"lacks"`
	Done      bool             `json:"done"`
	Offsets   []int64          `json:"offsets"`
	Assigned  *[]Place         `json:"assigned"`
	Revoked   *[]Place         `json:"revoked"`
	Lost      *[]Place         `json:"lost"`
	Committed map[string]int64 `json:"committed"`
	Version   string           `json:"version"`
	Codecs    []string         `json:"codecs"`
	text      string
}

// Session is a running script. It ends with its test.
type Session struct {
	client  *Client
	command *exec.Cmd
	stdin   io.WriteCloser
	lines   chan Line
	exited  chan error
	stderr  *tail
}

func (c *Client) start(t testing.TB, verb string) *Session {
	t.Helper()
	s := &Session{client: c, lines: make(chan Line, 1<<14), exited: make(chan error, 1), stderr: &tail{}}
	s.command = exec.Command(c.command[0], append(c.command[1:len(c.command):len(c.command)], verb)...)
	s.command.Env = append(os.Environ(), c.env...)
	s.command.Stderr = s.stderr
	var err error
	if s.stdin, err = s.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(stdout)
	t.Cleanup(s.Kill)
	return s
}

// read passes on the lines until the script ends.
func (s *Session) read(stdout io.Reader) {
	in := bufio.NewScanner(stdout)
	in.Buffer(nil, lineBytesMax)
	for in.Scan() {
		line := Line{text: in.Text()}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			fmt.Fprintf(s.stderr, "not a line of JSON: %q: %v\n", head(in.Text()), err)
			break
		}
		s.lines <- line
	}
	if err := in.Err(); err != nil {
		fmt.Fprintf(s.stderr, "stdout: %v\n", err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	s.exited <- s.command.Wait()
	close(s.lines)
}

// Send writes a line to the script.
func (s *Session) Send(t testing.TB, request any) {
	t.Helper()
	text, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.stdin.Write(append(text, '\n')); err != nil {
		t.Fatalf("%s takes no more requests: %v\n%s", s.client.Name, err, s.stderr)
	}
}

// Next is the script's next line. A script that ends instead fails the test.
func (s *Session) Next(t testing.TB) Line {
	t.Helper()
	line, ok := s.Within(t, lineTimeout)
	if !ok {
		t.Fatalf("%s said nothing for %v\n%s", s.client.Name, lineTimeout, s.stderr)
	}
	return line
}

// Within is the script's next line, if it comes in time.
func (s *Session) Within(t testing.TB, wait time.Duration) (Line, bool) {
	t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			t.Fatalf("%s ended: %v\n%s", s.client.Name, s.command.ProcessState, s.stderr)
		}
		return line, true
	case <-time.After(wait):
		return Line{}, false
	}
}

// Call makes an admin call.
func (s *Session) Call(t testing.TB, call string, arguments map[string]any) Line {
	t.Helper()
	request := map[string]any{"call": call}
	maps.Copy(request, arguments)
	s.Send(t, request)
	return s.Next(t)
}

// Consume reads records in the order in which the client gives them.
func (s *Session) Consume(t testing.TB, request ConsumeRequest) []Record {
	t.Helper()
	s.Send(t, request)
	var records []Record
	for line := s.Next(t); !line.Done; line = s.Next(t) {
		if line.Record == nil {
			t.Fatalf("%s: a line without a record: %s", s.client.Name, line.text)
		}
		records = append(records, *line.Record)
	}
	return records
}

// Do gives a member of a group a command.
func (s *Session) Do(t testing.TB, what string) {
	t.Helper()
	s.Send(t, map[string]string{"do": what})
}

// Wait closes the script's stdin and waits for its end, which must be a good
// one.
func (s *Session) Wait(t testing.TB) {
	t.Helper()
	_ = s.stdin.Close()
	select {
	case err := <-s.exited:
		s.exited <- err
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.client.Name, err, s.stderr)
		}
	case <-time.After(lineTimeout):
		t.Fatalf("%s does not end\n%s", s.client.Name, s.stderr)
	}
}

// Stderr is the end of what the script wrote there.
func (s *Session) Stderr() string { return s.stderr.String() }

// Kill ends the script as kill -9 does.
func (s *Session) Kill() {
	_ = s.command.Process.Kill()
	for range s.lines { // until it is closed
	}
}

// tail keeps the end of what a script writes to stderr.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytesMax = 8000

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.text = b.text[max(0, len(b.text)-tailBytesMax):]
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(bytes.TrimSpace(b.text))
}

func head(s string) string { return s[:min(len(s), 300)] }
