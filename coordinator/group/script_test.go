// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/test/script"
)

// TestScripts runs testdata/*.txt. A block is a command, then ---- and what
// comes of it: records (+) and replies (= with the number of the request).
// Commands are
//
//	options size=2 delay=0s retention=1h     starts anew; first in a script
//	join G client=c [member=c~1] [instance=i] [type=consumer] [protocols=range,sticky] [topics=t] [bytes=..] [session=10s] [rebalance=60s] [v=9]
//	sync G member=c~1 gen=1 [assign=c~1:x,c~2:y] [instance=i] [type=..] [protocol=..] [v=4]
//	heartbeat G member=c~1 gen=1 [instance=i]
//	leave G [members=a,b] [instances=i,j] [v=5]
//	commit G [member=.. gen=..] t-0=5/metadata [retention=1h] [v=9]
//	txncommit G pid=7 t-0=5 [member=.. gen=..] [v=5]
//	marker 7 commit
//	fetch G [t-0 u-1] [stable] [v=9]
//	offset-delete G t-0
//	describe G [v=6]    list [states=Stable] [types=classic]    delete G
//	topics t=3 u=2      the metadata from now on; deleted topics lose their offsets
//	at 3s               lets the time pass and does what becomes due
//	reload              a new coordinator reads the log
//	chb G member=m epoch=0 [topics=t,u] [regex=..] [owned=t-0,u-1|none] [instance=i] [rack=r] [assignor=range] [rebalance=60s] [v=1]
//	cdescribe G [v=1]   groups of the new protocol
//	state G             the group as it is
//
// A chb of epoch 0 owns nothing and names a rebalance timeout, unless it says otherwise.
//
// c~1 is a member id: the client's id and the number of the random part.
func TestScripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func([]string) string {
		w := newWorld(t, nil)
		t.Cleanup(func() {
			for _, r := range w.shown {
				if now := short(show(r.resp)); now != r.text {
					t.Errorf("a reply has changed after it was given\nfrom %s\nto   %s", r.text, now)
				}
			}
		})
		return func(commands []string) string { return w.run(t, strings.Join(commands, " ")) }
	})
}

// poison overwrites the bytes of a request, as the next one on its connection does.
func poison(req kmsg.Request) {
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		for _, p := range req.Protocols {
			clear(p.Metadata)
		}
	case *kmsg.SyncGroupRequest:
		for _, a := range req.GroupAssignment {
			clear(a.MemberAssignment)
		}
	}
}

// args are the words of a command.
type args struct {
	t     *testing.T
	named map[string]string
	plain []string
}

func (a args) text(name, or string) string {
	if v, ok := a.named[name]; ok {
		return v
	}
	return or
}

func (a args) optional(name string) *string {
	if v, ok := a.named[name]; ok {
		return &v
	}
	return nil
}

func (a args) number(name string, or int) int {
	n, err := strconv.Atoi(a.text(name, strconv.Itoa(or)))
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func (a args) ms(name string, or time.Duration) int64 {
	d, err := time.ParseDuration(a.text(name, or.String()))
	if err != nil {
		a.t.Fatal(err)
	}
	return d.Milliseconds()
}

func (a args) list(name string) []string {
	if v := a.named[name]; v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

func (w *world) run(t *testing.T, command string) string {
	a := args{t: t, named: map[string]string{}}
	words := strings.Fields(long(command))
	for _, word := range words[1:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			a.named[name] = value
		} else {
			a.plain = append(a.plain, word)
		}
	}
	if req := w.request(words[0], a); req != nil {
		by := Caller{ClientID: a.text("client", ""), ClientHost: "/192.0.2.1"}
		to := w.ask(func(to Token, out *Out) { w.send(by, req, to, out) })
		poison(req)
		return fmt.Sprintf("#%d\n", to) + w.outcome()
	}
	switch words[0] {
	case "options":
		*w = *newWorld(t, func(o *Options) {
			o.GroupMaxSize = int32(a.number("size", 0))
			o.GroupInitialRebalanceDelayMs = int32(a.ms("delay", 3*time.Second))
			o.OffsetsRetentionMs = a.ms("retention", 0)
			o.OffsetsRetentionCheckIntervalMs = a.ms("check", 0)
			o.OffsetMetadataMaxBytes = int32(a.number("metadata", 0))
			o.RecordsBytesMax = int32(a.number("batch", 0))
			o.ConsumerMaxSize = int32(a.number("csize", 0))
			o.ConsumerSessionTimeoutMs = int32(a.ms("csession", 0))
			o.ConsumerAssignmentIntervalMs = int32(a.ms("interval", 0))
			o.ConsumerRegexBytesMax = int32(a.number("regexmax", 0))
			o.ConsumerMigration = map[string]Migration{"upgrade": MigrateUpgrade, "downgrade": MigrateDowngrade, "disabled": MigrateDisabled}[a.text("migrate", "")]
			if s := a.list("assignors"); s != nil {
				o.ConsumerAssignors = s
			}
		})
		return ""
	case "marker":
		pid, _ := strconv.Atoi(a.plain[0])
		w.marker(kafka.ProducerID(pid), a.plain[1] == "commit")
		return ""
	case "topics":
		return w.change(a)
	case "at":
		d, err := time.ParseDuration(a.plain[0])
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		w.until(startMs+d.Milliseconds(), func() {
			if text := w.outcome(); text != "" {
				fmt.Fprintf(&b, "%v\n%s", time.Duration(w.nowMs-startMs)*time.Millisecond, text)
			}
		})
		return b.String()
	case "reload":
		w.reload()
		return w.outcome()
	case "state":
		return w.state(a.plain[0])
	}
	t.Fatalf("no command %q", command)
	return ""
}

func (w *world) change(a args) string {
	topics := topicSet{}
	for name, n := range a.named {
		partitions, _ := strconv.Atoi(n)
		topics[name] = int32(partitions)
	}
	var deleted []DeletedTopic
	for _, name := range sortedKeys(w.topics) {
		if _, ok := topics[name]; !ok {
			deleted = append(deleted, DeletedTopic{Name: name, ID: topicID(name)})
		}
	}
	w.setTopics(topics, deleted)
	return w.outcome()
}

func (w *world) setTopics(topics topicSet, deleted []DeletedTopic) {
	change := TopicsChange{Names: []string{}, Deleted: deleted}
	for name, n := range topics {
		had, ok := w.topics[name]
		again := slices.ContainsFunc(deleted, func(d DeletedTopic) bool { return d.Name == name })
		change.Created = change.Created || !ok || again
		if n != had || again {
			change.Names = append(change.Names, name)
		}
	}
	for name := range w.topics {
		if _, ok := topics[name]; !ok {
			change.Names = append(change.Names, name)
		}
	}
	w.topics, w.version = topics, w.version+1
	view := w.view()
	if w.beside != nil {
		w.beside.topics(w)
	}
	w.do(func(out *Out) { w.g.MetadataChanged(w.nowMs, view, change, out) })
	w.twin.topics = view
	w.same()
}

// send hands a request to the coordinator.
func (w *world) send(by Caller, req kmsg.Request, to Token, out *Out) {
	if w.beside != nil {
		w.beside.sent(w, to, by, req)
	}
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		w.g.JoinGroup(w.nowMs, by, req, to, out)
	case *kmsg.SyncGroupRequest:
		w.g.SyncGroup(w.nowMs, by, req, to, out)
	case *kmsg.HeartbeatRequest:
		w.g.Heartbeat(w.nowMs, by, req, to, out)
	case *kmsg.LeaveGroupRequest:
		w.g.LeaveGroup(w.nowMs, by, req, to, out)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		w.g.ConsumerGroupHeartbeat(w.nowMs, by, req, to, out)
	case *kmsg.ConsumerGroupDescribeRequest:
		w.g.ConsumerGroupDescribe(w.nowMs, by, req, to, out)
	case *kmsg.OffsetCommitRequest:
		w.g.OffsetCommit(w.nowMs, by, req, to, out)
	case *kmsg.TxnOffsetCommitRequest:
		w.g.TxnOffsetCommit(w.nowMs, by, req, to, out)
	case *kmsg.OffsetFetchRequest:
		w.g.OffsetFetch(w.nowMs, by, req, to, out)
	case *kmsg.OffsetDeleteRequest:
		w.g.OffsetDelete(w.nowMs, by, req, to, out)
	case *kmsg.DescribeGroupsRequest:
		w.g.DescribeGroups(w.nowMs, by, req, to, out)
	case *kmsg.ListGroupsRequest:
		w.g.ListGroups(w.nowMs, by, req, to, out)
	case *kmsg.DeleteGroupsRequest:
		w.g.DeleteGroups(w.nowMs, by, req, to, out)
	default:
		w.t.Fatalf("no such request: %T", req)
	}
}

// request makes a request of a command, nil if it is none.
func (w *world) request(verb string, a args) kmsg.Request {
	first := ""
	if len(a.plain) != 0 {
		first = a.plain[0]
	}
	switch verb {
	case "join":
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number("v", 9)), first, a.text("member", ""), a.optional("instance")
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(a.ms("session", 10*time.Second)), int32(a.ms("rebalance", time.Minute))
		req.ProtocolType = a.text("type", "consumer")
		metadata := []byte(a.text("bytes", ""))
		if len(metadata) == 0 {
			metadata = subscription(strings.Split(a.text("topics", "t"), ",")...)
		}
		req.Protocols = protocols(a.text("protocols", "range"), metadata)
		return req
	case "sync":
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number("v", 4)), first, a.text("member", ""), a.optional("instance")
		req.Generation, req.ProtocolType, req.Protocol = int32(a.number("gen", 1)), a.optional("type"), a.optional("protocol")
		for _, s := range a.list("assign") {
			member, text, _ := strings.Cut(s, ":")
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: member, MemberAssignment: []byte(text)})
		}
		return req
	case "heartbeat":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number("v", 4)), first, a.text("member", ""), a.optional("instance")
		req.Generation = int32(a.number("gen", 1))
		return req
	case "leave":
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = int16(a.number("v", 5)), first
		members, instances := a.list("members"), a.list("instances")
		if req.Version < 3 {
			req.MemberID = members[0]
			return req
		}
		for i := range max(len(members), len(instances)) {
			var m kmsg.LeaveGroupRequestMember
			if i < len(members) {
				m.MemberID = members[i]
			}
			if i < len(instances) {
				m.InstanceID = &instances[i]
			}
			req.Members = append(req.Members, m)
		}
		return req
	}
	if req := consumerRequest(verb, first, a); req != nil {
		return req
	}
	return w.offsetRequest(verb, first, a)
}

func consumerRequest(verb, first string, a args) kmsg.Request {
	switch verb {
	case "chb":
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.MemberEpoch = int16(a.number("v", 1)), first, a.text("member", ""), int32(a.number("epoch", 0))
		req.InstanceID, req.RackID, req.ServerAssignor, req.SubscribedTopicRegex = a.optional("instance"), a.optional("rack"), a.optional("assignor"), a.optional("regex")
		req.SubscribedTopicNames = a.list("topics")
		if req.RebalanceTimeoutMillis = -1; (req.MemberEpoch == 0 || a.text("rebalance", "") != "") && a.text("rebalance", "") != "none" {
			req.RebalanceTimeoutMillis = int32(a.ms("rebalance", time.Minute))
		}
		if list := a.list("owned"); list != nil || req.MemberEpoch == 0 {
			req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			if a.text("owned", "none") == "null" {
				req.Topics = nil
			}
			for _, tp := range list {
				if topic, p := topicPartition(tp); tp != "none" && tp != "null" {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topicID(topic), Partitions: []int32{p}})
				}
			}
		}
		return req
	case "cdescribe":
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = int16(a.number("v", 1)), a.plain
		return req
	}
	return nil
}

func (w *world) offsetRequest(verb, first string, a args) kmsg.Request {
	switch verb {
	case "commit":
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number("v", 9)), first, a.text("member", ""), a.optional("instance")
		req.Generation = int32(a.number("gen", -1))
		if _, ok := a.named["retention"]; ok {
			req.RetentionTimeMillis = a.ms("retention", 0)
		}
		for _, o := range offsetsOf(a) {
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: o.topic, TopicID: topicID(o.topic), Partitions: []kmsg.OffsetCommitRequestTopicPartition{
				{Partition: o.partition, Offset: o.offset, LeaderEpoch: -1, Metadata: &o.metadata}}})
		}
		return req
	case "txncommit":
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number("v", 5)), first, a.text("member", ""), a.optional("instance")
		req.Generation, req.ProducerID = int32(a.number("gen", -1)), int64(a.number("pid", 1))
		for _, o := range offsetsOf(a) {
			req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: o.topic, TopicID: topicID(o.topic), Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{
				{Partition: o.partition, Offset: o.offset, LeaderEpoch: -1, Metadata: &o.metadata}}})
		}
		return req
	case "fetch":
		return fetchRequest(first, a)
	case "offset-delete":
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = first
		for _, tp := range a.plain[min(1, len(a.plain)):] {
			topic, p := topicPartition(tp)
			req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: p}}})
		}
		return req
	case "describe":
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = int16(a.number("v", 6)), a.plain
		return req
	case "list":
		req := kmsg.NewPtrListGroupsRequest()
		req.Version, req.StatesFilter, req.TypesFilter = int16(a.number("v", 5)), a.list("states"), a.list("types")
		return req
	case "delete":
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = 2, a.plain
		return req
	}
	return nil
}

func fetchRequest(group string, a args) kmsg.Request {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = int16(a.number("v", 9)), group
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = group
	for _, word := range a.plain[min(1, len(a.plain)):] {
		if word == "stable" {
			req.RequireStable = true
			continue
		}
		topic, p := topicPartition(word)
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, TopicID: topicID(topic), Partitions: []int32{p}})
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: topic, Partitions: []int32{p}})
	}
	req.Groups = append(req.Groups, asked)
	return req
}

type offsetOf struct {
	topic     string
	partition int32
	offset    int64
	metadata  string
}

func offsetsOf(a args) []*offsetOf {
	var all []*offsetOf
	for _, name := range sortedKeys(a.named) {
		if !strings.Contains(name, "-") {
			continue
		}
		o := &offsetOf{}
		o.topic, o.partition = topicPartition(name)
		offset, metadata, _ := strings.Cut(a.named[name], "/")
		o.offset, _ = strconv.ParseInt(offset, 10, 64)
		o.metadata = metadata
		all = append(all, o)
	}
	return all
}

func topicPartition(s string) (string, int32) {
	topic, p, _ := strings.Cut(s, "-")
	n, _ := strconv.Atoi(p)
	return topic, int32(n)
}

// outcome is what the last event gave.
func (w *world) outcome() string {
	var b strings.Builder
	for _, rec := range w.records {
		fmt.Fprintf(&b, "+ %s\n", showRecord(w.t, rec))
	}
	if w.out.Transaction != nil && len(w.records) != 0 {
		fmt.Fprintf(&b, "  of producer %d\n", w.out.Transaction.ProducerID)
	}
	for _, r := range w.replies {
		fmt.Fprintf(&b, "= #%d %s\n", r.To, show(r.Response))
		w.shown = append(w.shown, shownReply{r.Response, short(show(r.Response))})
	}
	return short(b.String())
}

func (w *world) consumerState(c *consumerGroup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch %d assigned %d\n", c.stateName(), c.epoch, c.assignmentEpoch)
	for _, id := range c.memberIDs() {
		m := c.members[id]
		fmt.Fprintf(&b, "%s", m.id)
		if m.instance != nil {
			fmt.Fprintf(&b, " (%s)", *m.instance)
		}
		fmt.Fprintf(&b, " %s at %d after %d has %s", map[memberState]string{memberStable: "stable", memberUnrevoked: "unrevoked", memberUnreleased: "unreleased", memberUnknown: "unknown"}[m.state],
			m.epoch, m.previousEpoch, ownedText(m.assigned))
		if len(m.revoking) != 0 {
			fmt.Fprintf(&b, " gives up %s", ownedText(m.revoking))
		}
		fmt.Fprintf(&b, " shall have %s", ownedText(ownedSince(c.targets[id], -1)))
		for _, t := range []struct {
			name string
			*timer
		}{{"session", &m.session}, {"rebalance", &m.rebalance}, {"join", &m.join}, {"sync", &m.sync}} {
			if t.running() {
				fmt.Fprintf(&b, " %s until %v", t.name, time.Duration(t.dueMs-startMs)*time.Millisecond)
			}
		}
		b.WriteString("\n")
	}
	return short(b.String())
}

func ownedText(o owned) string {
	var all []string
	for _, t := range o {
		for i, p := range t.partitions {
			text := fmt.Sprintf("%s-%d", strings.TrimRight(string(t.id[:]), "\x00"), p)
			if t.epochs[i] != -1 {
				text += fmt.Sprintf("@%d", t.epochs[i])
			}
			all = append(all, text)
		}
	}
	return fmt.Sprint(all)
}

func (w *world) state(id string) string {
	if c, ok := w.g.groups[id].(*consumerGroup); ok {
		return w.consumerState(c)
	}
	c, ok := w.g.groups[id].(*classicGroup)
	if !ok {
		return "no group\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s generation %d protocol %q leader %q\n", c.state, c.protocolType, c.generation, deref(c.protocol), c.leaderName())
	for _, m := range c.members {
		fmt.Fprintf(&b, "%s", m.id)
		if m.instance != nil {
			fmt.Fprintf(&b, " (%s)", *m.instance)
		}
		for _, flag := range []struct {
			on   bool
			name string
		}{{m.isNew, "new"}, {m.join.on, "joining"}, {m.sync.on, "syncing"}} {
			if flag.on {
				b.WriteString(" " + flag.name)
			}
		}
		if _, ok := c.pendingSync[m.id]; ok {
			b.WriteString(" not synced")
		}
		if m.session.running() {
			fmt.Fprintf(&b, " until %v", time.Duration(m.session.dueMs-startMs)*time.Millisecond)
		}
		fmt.Fprintf(&b, " has %q\n", m.assignment)
	}
	for _, pending := range sortedKeys(c.pendingJoin) {
		fmt.Fprintf(&b, "%s pending until %v\n", pending, time.Duration(c.pendingJoin[pending].timer.dueMs-startMs)*time.Millisecond)
	}
	return short(b.String())
}

func showRecord(t fataler, rec grouprec.Record) string {
	t.Helper()
	typ, err := grouprec.TypeOf(rec.Key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	key := grouprec.NewKey(typ)
	if err := key.Decode(rec.Key); err != nil {
		t.Fatalf("%v", err)
	}
	if rec.Value == nil {
		return show(key) + " deleted"
	}
	value := grouprec.NewValue(typ)
	version, err := value.Decode(rec.Value)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return fmt.Sprintf("%s v%d %s", show(key), version, showValue(reflect.ValueOf(value)))
}

// show prints the fields that are not zero.
func show(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	return strings.TrimSuffix(strings.TrimSuffix(r.Type().Name(), "Response"), "Key") + showValue(r)
}

func showValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return showValue(v.Elem())
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if f := v.Field(i); strings.HasSuffix(name, "ErrorCode") && !f.IsZero() {
				fields = append(fields, name+"="+kafka.Code(f.Int()).String())
			} else if !f.IsZero() && name != "Version" && !strings.HasPrefix(name, "Unknown") && name != "AuthorizedOperations" {
				fields = append(fields, name+"="+showValue(f))
			}
		}
		return "{" + strings.Join(fields, " ") + "}"
	case reflect.Array:
		return strings.TrimRight(arrayText(v), "\x00")
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return showBytes(v.Bytes())
		}
		var all []string
		for i := range v.Len() {
			all = append(all, showValue(v.Index(i)))
		}
		return "[" + strings.Join(all, " ") + "]"
	case reflect.String:
		return strconv.Quote(v.String())
	}
	if v.CanInt() {
		return strconv.FormatInt(v.Int(), 10)
	}
	return fmt.Sprint(v.Interface())
}

func showBytes(b []byte) string {
	if assigned, _, err := parseAssignment(b); err == nil && len(assigned) != 0 {
		return fmt.Sprintf("assignment%v", assigned)
	}
	var topics []string
	if err := subscribedTopics(b, func(topic string) { topics = append(topics, topic) }); err == nil {
		return fmt.Sprintf("subscription%v", topics)
	}
	return strconv.Quote(string(b))
}

func arrayText(v reflect.Value) string {
	id := v.Convert(reflect.TypeFor[[16]byte]()).Interface().([16]byte)
	return string(id[:])
}
