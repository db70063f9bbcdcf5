// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/kafka"
)

// field is one value of an answer.
type field struct{ path, value string }

// list is the requests to the brokers of one configuration.
type list struct {
	*ledger
	t     *testing.T
	sites []*site // the first is right
	nodes []*kafka.Node
}

// ledger is what was found over all configurations.
type ledger struct {
	allowed []allowance
	used    []bool
	steps   int
	failed  map[string][]string // what differs: where
	order   []string            // of failed
	// passed are the faults that a site let pass, with their codecs.
	passed map[string]map[string][]string
	// patterns are the expressions of allowed, compiled.
	patterns map[string]*regexp.Regexp
}

// allowance is a difference that may be, and why. Step and path are regular
// expressions over the whole of both.
type allowance struct {
	step, path string
	// apache and gregor, where given, are expressions over the two values.
	apache, gregor string
	site           string // the only one it holds for; empty: all
	sometimes      bool   // it need not show in every run
	reason         string
}

// step is one request of the list.
type step struct {
	name string
	conn string // the connection it goes over
	// build makes the request; or raw makes the payload, with key and version
	// saying how the answer is read.
	build        func(*site) kmsg.Request
	raw          func(s *site, correlation int32) []byte
	key, version int16
	// then looks at the answer, to keep what later steps need.
	then func(*site, kmsg.Response)
	// waits, when set, is compared too: whether the answer took that long.
	waits time.Duration
	// patience is how long Kafka's answer may take, where it may never come; 0:
	// answerTimeout, which all others have.
	patience time.Duration
	// mute says that no answer is to come: a frame that is not whole, or acks 0.
	mute bool
	// parks says that the answer waits for others; a step that is late takes it.
	parks, late bool
	// verbatim says that raw gives the frame's size as well.
	verbatim bool
}

// parkedTimeout is how long an answer does not come that waits for others.
const parkedTimeout = 50 * time.Millisecond

// send runs a step everywhere and compares.
func (l *list) send(s step) {
	l.t.Helper()
	l.steps++
	if s.conn == "" {
		s.conn = "main"
	}
	seen := make([][]field, len(l.sites))
	began := time.Now()
	var all sync.WaitGroup
	for i, at := range l.sites {
		all.Go(func() { seen[i] = s.run(at) })
	}
	all.Wait()
	if took := time.Since(began); took > 2*time.Second {
		l.t.Logf("%s took %v", s.name, took.Round(time.Millisecond))
	}
	for i := 1; i < len(seen); i++ {
		l.compare(s.name, l.sites[i].name, seen[0], seen[i])
		l.pass(s.name, l.sites[i].name, seen[0], seen[i])
	}
}

// run sends a step to one broker and tells what came.
func (s *step) run(at *site) (seen []field) {
	w, err := at.conn(s.conn)
	if err != nil {
		return []field{{"connection", "not accepted: " + err.Error()}}
	}
	id := w.correlation
	if !s.late {
		id = w.next()
	}
	frame, key, version := []byte(nil), s.key, s.version
	mute := s.mute
	var joins *kmsg.JoinGroupRequest
	var before kmsg.DescribeGroupsResponseGroup
	if s.build != nil {
		req := s.build(at)
		if joins, _ = req.(*kmsg.JoinGroupRequest); s.parks && joins != nil {
			before = at.group(joins.Group)
		}
		key, version = req.Key(), req.GetVersion()
		asked.Store(versioned{key, version}, true)
		frame = payload(id, req)
		if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
			mute = true
		}
	} else {
		frame = s.raw(at, id)
	}
	began := time.Now()
	switch {
	case s.late:
	case s.verbatim:
		_, err = w.c.Write(frame)
	default:
		err = w.send(frame)
	}
	if err != nil {
		at.drop(s.conn)
		return []field{{"connection", "closed"}}
	}
	if s.parks {
		if _, _, err := w.receive(parkedTimeout); !errors.Is(err, errSilence) {
			return []field{{"connection", fmt.Sprintf("no wait: %v", err)}}
		}
		at.taken(joins, before)
		return []field{{"connection", "open, waits"}}
	}
	if mute {
		if !w.alive() {
			at.drop(s.conn)
			return []field{{"connection", "closed"}}
		}
		return []field{{"connection", "open, no answer"}}
	}
	patience := answerTimeout
	if s.patience > 0 && at.name == apache {
		patience = s.patience
	}
	got, body, err := w.receive(patience)
	if err != nil {
		at.drop(s.conn)
		if errors.Is(err, io.EOF) {
			return []field{{"connection", "closed"}}
		}
		return []field{{"connection", err.Error()}}
	}
	if s.waits > 0 {
		seen = append(seen, field{"waited", fmt.Sprint(time.Since(began) >= s.waits)})
	}
	if got != id {
		seen = append(seen, field{"correlation", "not the request's"})
	}
	seen = append(seen, s.read(at, key, version, body)...)
	if !w.alive() {
		at.drop(s.conn)
		return append(seen, field{"connection", "closed after the answer"})
	}
	return append(seen, field{"connection", "open"})
}

// takenTimeout bounds the wait for what shows that a request was taken.
const takenTimeout = 30 * time.Second

// taken waits until the broker has taken a request that waits there: silence
// alone does not say so where the broker is slow. Of a JoinGroup its group
// shows it. Anything else has been read before a request that is sent later
// over another connection is answered.
func (s *site) taken(joins *kmsg.JoinGroupRequest, before kmsg.DescribeGroupsResponseGroup) {
	for range 3 {
		if w, err := s.conn("setup"); err != nil || !w.alive() {
			s.drop("setup")
		}
	}
	if joins == nil {
		return
	}
	known := func(g kmsg.DescribeGroupsResponseGroup, id string) bool {
		return slices.ContainsFunc(g.Members, func(m kmsg.DescribeGroupsResponseGroupMember) bool { return m.MemberID == id })
	}
	for deadline := time.Now().Add(takenTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		now := s.group(joins.Group)
		came := slices.ContainsFunc(now.Members, func(m kmsg.DescribeGroupsResponseGroupMember) bool { return !known(before, m.MemberID) })
		rejoins := joins.MemberID != "" && known(before, joins.MemberID)
		if now.State == "PreparingRebalance" && (came || rejoins) {
			return
		}
	}
}

// group describes a classic group; another one is Dead.
func (s *site) group(id string) (g kmsg.DescribeGroupsResponseGroup) {
	ask := step{conn: "setup", build: func(*site) kmsg.Request {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = 5, []string{id}
		return req
	}, then: func(_ *site, r kmsg.Response) { g = r.(*kmsg.DescribeGroupsResponse).Groups[0] }}
	ask.run(s)
	return g
}

// read makes fields of an answer.
func (s *step) read(at *site, key, version int16, body []byte) []field {
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if key == keyApiVersions && version > served[key][1] {
		resp.SetVersion(0) // what is unknown is answered in the oldest layout
	}
	if resp.IsFlexible() && key != keyApiVersions {
		if len(body) == 0 || body[0] != 0 {
			return []field{{"header", fmt.Sprintf("no empty tags: %x", body[:min(len(body), 8)])}}
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return []field{{"body", fmt.Sprintf("unreadable: %v: %x", err, body[:min(len(body), 200)])}}
	}
	var seen []field
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		seen = append(seen, field{"encoding", fmt.Sprintf("%d bytes, written again %d", len(body), len(again))})
	}
	if s.then != nil {
		s.then(at, resp)
	}
	return append(seen, flatten(at, resp)...)
}

// compare reports what differs and is not allowed.
func (l *list) compare(name, siteName string, want, got []field) {
	for _, d := range differences(want, got) {
		if !l.allow(name, siteName, d) {
			base, version := name, ""
			if at := strings.LastIndex(name, "/v"); at >= 0 {
				base, version = name[:at], name[at+1:]
			}
			what := fmt.Sprintf("%s: %s\n\tApache Kafka: %s\n\tgregor:       %s", base, d.path, d.want, d.got)
			if _, known := l.failed[what]; !known {
				l.order = append(l.order, what)
			}
			l.failed[what] = append(l.failed[what], strings.TrimSpace(siteName+" "+version))
		}
	}
}

type difference struct{ path, want, got string }

const absent = "(absent)"

func differences(want, got []field) (out []difference) {
	index := make(map[string]string, len(got))
	for _, f := range got {
		index[f.path] = f.value
	}
	for _, f := range want {
		value, ok := index[f.path]
		if !ok {
			value = absent
		}
		if value != f.value {
			out = append(out, difference{f.path, f.value, value})
		}
		delete(index, f.path)
	}
	for _, f := range got {
		if _, left := index[f.path]; left {
			out = append(out, difference{f.path, absent, f.value})
		}
	}
	return out
}

func (l *ledger) allow(name, siteName string, d difference) bool {
	if strings.HasSuffix(d.path, "ErrorMessage") && d.got == "null" && d.want != absent {
		return false // words may be others, but not none
	}
	for i, a := range l.allowed {
		if (a.site == "" || a.site == siteName) && l.matches(a.step, name) && l.matches(a.path, d.path) &&
			(a.apache == "" || l.matches(a.apache, d.want)) && (a.gregor == "" || l.matches(a.gregor, d.got)) {
			l.used[i] = true
			return true
		}
	}
	return false
}

func (l *ledger) matches(pattern, s string) bool {
	compiled := l.patterns[pattern]
	if compiled == nil {
		if l.patterns == nil {
			l.patterns = map[string]*regexp.Regexp{}
		}
		compiled = regexp.MustCompile(`(?s)^(?:` + pattern + `)$`)
		l.patterns[pattern] = compiled
	}
	return compiled.MatchString(s)
}

// finish tells the differences, fails for allowances that nothing needs, and names those that were
// needed.
func (l *ledger) finish(t *testing.T) {
	t.Helper()
	for _, what := range l.order {
		t.Errorf("%s\n\t%s", what, strings.Join(l.failed[what], ", "))
	}
	var reasons []string
	for i, a := range l.allowed {
		if !l.used[i] && a.sometimes {
			continue
		}
		if !l.used[i] {
			t.Errorf("nothing differs any more at %s: %s", a.step, a.path)
		} else {
			reasons = append(reasons, fmt.Sprintf("  %s: %s: %s", a.step, a.path, a.reason))
		}
	}
	t.Logf("%d requests compared; allowed differences:\n%s", l.steps, strings.Join(reasons, "\n"))
}
