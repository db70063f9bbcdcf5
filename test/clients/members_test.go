// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// A member of a group is a process of its own, this test's binary again, so
// that it can be killed. It says on stdout what it is given and what it reads,
// a line of JSON each, and does what stdin says.

// memberVariable holds the task of a member, in JSON.
const memberVariable = "GREGOR_TEST_MEMBER"

// task is what a member has to do.
type task struct {
	Client, Bootstrap, Group, Topic, Instance string
	Cooperative                               bool
	// Auto commits by itself, and often; otherwise a member commits when it is told.
	Auto      bool
	SessionMs int
}

// said is a line of a member.
type said struct {
	Holds     *[]int32 `json:",omitempty"`
	Partition int32
	Offset    *int64 `json:",omitempty"`
	Committed bool   `json:",omitempty"`
	Left      bool   `json:",omitempty"`
	Error     string `json:",omitempty"`
}

// voice is the member's side of stdin and stdout.
type voice struct {
	mu       sync.Mutex
	out      *json.Encoder
	holds    map[int32]bool
	told     bool
	commands chan string
}

func (v *voice) say(s said) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.out.Encode(s)
}

func (v *voice) read(partition int32, offset int64) {
	v.say(said{Partition: partition, Offset: &offset})
}

// has tells the partitions that a member holds now, if they changed.
func (v *voice) has(partitions []int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := map[int32]bool{}
	for _, p := range partitions {
		now[p] = true
	}
	if v.told && maps.Equal(now, v.holds) {
		return
	}
	v.holds, v.told = now, true
	list := slices.Sorted(maps.Keys(now))
	_ = v.out.Encode(said{Holds: &list})
}

// gains and loses are for clients that tell changes.
func (v *voice) gains(partitions []int32) { v.has(slices.Concat(v.held(), partitions)) }
func (v *voice) loses(partitions []int32) {
	v.has(slices.DeleteFunc(v.held(), func(p int32) bool { return slices.Contains(partitions, p) }))
}

func (v *voice) held() []int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Keys(v.holds))
}

// groupClient is a client library that can be a member.
type groupClient interface {
	name() string
	// member runs until the command "leave"; it answers each "commit".
	member(t task, v *voice) error
	cooperates() bool
	isStatic() bool
}

func groupClients() []groupClient {
	return []groupClient{franz{}, saramaClient{}, segmentio{}, librdkafka{}}
}

// beMember is main of a member's process.
func beMember(told string) int {
	var t task
	if err := json.Unmarshal([]byte(told), &t); err != nil {
		return 2
	}
	v := &voice{out: json.NewEncoder(os.Stdout), commands: make(chan string, 1)}
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			v.commands <- lines.Text()
		}
		os.Exit(3) // the test is gone
	}()
	for _, c := range groupClients() {
		if c.name() == t.Client {
			if err := c.member(t, v); err != nil {
				v.say(said{Error: err.Error()})
				return 1
			}
			v.say(said{Left: true})
			return 0
		}
	}
	return 2
}

// member is the test's side.
type member struct {
	name    string
	command *exec.Cmd
	in      *json.Encoder
	write   func(string) error
	ended   chan struct{}

	mu        sync.Mutex // guards what follows
	holds     []int32
	changes   int // how often holds was told
	seen      map[int32][]int64
	committed int
	left      bool
	failed    string
}

func startMember(t *testing.T, name string, of task) *member {
	t.Helper()
	told, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &member{name: name, command: exec.Command(self), ended: make(chan struct{}), seen: map[int32][]int64{}}
	m.command.Env = append(os.Environ(), memberVariable+"="+string(told))
	m.command.Stderr = os.Stderr
	in, err := m.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.command.Start(); err != nil {
		t.Fatal(err)
	}
	m.write = func(line string) error { _, err := fmt.Fprintln(in, line); return err }
	go func() {
		defer close(m.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var s said
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				m.hear(s)
			}
		}
		_ = m.command.Wait()
	}()
	t.Cleanup(m.kill)
	return m
}

func (m *member) hear(s said) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case s.Error != "":
		m.failed = s.Error
	case s.Holds != nil:
		m.holds = *s.Holds
		m.changes++
	case s.Offset != nil:
		m.seen[s.Partition] = append(m.seen[s.Partition], *s.Offset)
	case s.Committed:
		m.committed++
	case s.Left:
		m.left = true
	}
}

// kill is SIGKILL: the group learns of it by its session alone.
func (m *member) kill() {
	_ = m.command.Process.Kill()
	<-m.ended
}

// memberTimeout bounds what a test waits for: a session and a rebalance.
const memberTimeout = 3 * time.Minute

func (m *member) until(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(memberTimeout); ; time.Sleep(10 * time.Millisecond) {
		m.mu.Lock()
		ok, failed := good(), m.failed
		m.mu.Unlock()
		switch {
		case ok:
			return
		case failed != "":
			t.Fatalf("%s failed: %s", m.name, failed)
		case time.Now().After(deadline):
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Fatalf("%s does not come to %s: it holds %v and has read %v", m.name, what, m.holds, counts(m.seen))
		}
	}
}

func counts(seen map[int32][]int64) map[int32]int {
	n := map[int32]int{}
	for p, offsets := range seen {
		n[p] = len(offsets)
	}
	return n
}

func (m *member) untilHolds(t *testing.T, n int) {
	t.Helper()
	m.until(t, fmt.Sprintf("%d partitions", n), func() bool { return len(m.holds) == n })
}

func (m *member) holding() ([]int32, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.holds), m.changes
}

func (m *member) commit(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	before := m.committed
	m.mu.Unlock()
	if err := m.write("commit"); err != nil {
		t.Fatal(err)
	}
	m.until(t, "a commit", func() bool { return m.committed > before })
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	if err := m.write("leave"); err != nil {
		t.Fatal(err)
	}
	m.until(t, "its end", func() bool { return m.left })
	<-m.ended
}

// reached is the first offset behind what a member has read, of each partition.
type reached struct {
	mu sync.Mutex
	at map[int32]int64
}

func (r *reached) read(partition int32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[int32]int64{}
	}
	r.at[partition] = offset + 1
}

func (r *reached) all() map[int32]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.at)
}

func (r *reached) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = nil
}

var errEnded = errors.New("ended without being asked")

// obey runs what stdin says until "leave".
func (v *voice) obey(ctx context.Context, commit func() error) error {
	for {
		select {
		case command := <-v.commands:
			if command == "leave" {
				return nil
			}
			if err := commit(); err != nil {
				return fmt.Errorf("commit: %w", err)
			}
			v.say(said{Committed: true})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
