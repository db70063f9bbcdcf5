// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/groups"
)

func groupsTool() tool {
	return tool{
		name: "kafka-consumer-groups",
		example: `  gregor kafka-consumer-groups --bootstrap-server localhost:9092 --list --state
  gregor kafka-consumer-groups --bootstrap-server localhost:9092 --describe --all-groups
  gregor kafka-consumer-groups --bootstrap-server localhost:9092 --group audit --topic orders --reset-offsets --to-earliest --dry-run`,
		about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
		run:   runGroups,
		options: slices.Concat(connecting, []option{
			{name: "list", help: "List all groups."},
			{name: "describe", help: "Show a group's offsets and lag."},
			{name: "delete", help: "Delete groups."},
			{name: "delete-offsets", help: "Delete offsets of one group, of topics or of some of their partitions."},
			{name: "reset-offsets", help: "Move groups without members to other offsets. --dry-run only shows the plan, --execute carries it out, --export writes it as CSV."},
			{name: "validate-regex", arg: "REGEX", help: "Say whether this is a regular expression that a consumer group can subscribe to."},
			{name: "group", arg: "GROUP", help: "The group; may be repeated."},
			{name: "all-groups", help: "All groups."},
			{name: "topic", arg: "TOPIC", help: "A topic, or TOPIC:0,1 for some partitions; may be repeated."},
			{name: "all-topics", help: "All topics for which the group has committed."},
			{name: "offsets", help: "With --describe: offsets, which is what it shows anyway."},
			{name: "members", help: "With --describe: members."},
			{name: "state", arg: "STATE,...", optional: true, help: "With --describe: the state of the group. With --list: the states, or only groups in these states."},
			{name: "type", arg: "TYPE,...", optional: true, help: "With --list: the types, or only groups of these types."},
			{name: "verbose", help: "With --describe: more columns."},
			{name: "to-offset", arg: "OFFSET", help: "Move to this offset."},
			{name: "to-datetime", arg: "TIME", help: "Move to the first record at or after YYYY-MM-DDThh:mm:ss.sss."},
			{name: "by-duration", arg: "PnDTnHnMnS", help: "Move to the first record that is not older than this."},
			{name: "to-earliest", help: "Move to the start."},
			{name: "to-latest", help: "Move to the end."},
			{name: "to-current", help: "Move to where the group is."},
			{name: "shift-by", arg: "N", help: "Move by so many records, back with a minus."},
			{name: "from-file", arg: "FILE", help: "Move to the offsets of a CSV file."},
			{name: "dry-run", help: "Only show what would be done."},
			{name: "execute", help: "Do it."},
			{name: "export", help: "Write the plan as CSV."},
			{name: "timeout", arg: "MS", fallback: "30000", help: "How long to wait for the brokers."},
		}),
	}
}

// groupActions are what the tool does, one at a time.
var groupActions = []string{"list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"}

// scenarios are the ways to say where offsets are reset to.
var scenarios = []string{"to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file"}

func checkGroups(o *given) error {
	if err := o.checkGroupAction(); err != nil {
		return err
	}
	if !o.has("bootstrap-server") && !o.has("validate-regex") {
		return o.required("bootstrap-server")
	}
	if err := errors.Join(o.excludes("group", "all-groups", "list"), o.excludes("topic", "list", "describe")); err != nil {
		return firstOf(err)
	}
	for i, s := range scenarios {
		others := slices.Concat(scenarios[:i], scenarios[i+1:])
		if err := o.excludes(s, others...); err != nil {
			return err
		}
	}
	_, err := o.onlyOneAction()
	return err
}

// firstOf gives the first of joined errors, since one is enough.
func firstOf(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()[0]
	}
	return err
}

func (o *given) onlyOneAction() (string, error) {
	var found []string
	for _, a := range groupActions {
		if o.has(a) {
			found = append(found, a)
		}
	}
	if len(found) != 1 {
		return "", misuse("Command must include exactly one action: --%s", strings.Join(groupActions, ", --"))
	}
	return found[0], nil
}

// checkGroupAction looks at what each action needs.
func (o *given) checkGroupAction() error {
	for _, action := range []string{"describe", "delete", "delete-offsets", "reset-offsets"} {
		if !o.has(action) {
			continue
		}
		named := o.has("group") || o.has("all-groups")
		switch {
		case action == "delete-offsets" && !(o.has("group") && o.has("topic")):
			return misuse("Option [delete-offsets] takes the following options: [topic], [group]")
		case action == "reset-offsets" && o.has("dry-run") && o.has("execute"):
			return misuse("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
		case action != "delete-offsets" && !named:
			return misuse("Option [%s] takes one of these options: [all-groups], [group]", action)
		case action == "describe" && o.count("members", "offsets", "state") > 1:
			return misuse("Option [describe] takes at most one of these options: [members], [offsets], [state]")
		case action == "describe" && o.text("state") != "":
			return misuse("Option [describe] does not take a value for [state]")
		case action == "delete" && o.has("topic"):
			return misuse("The consumer does not support topic-specific offset deletion from a consumer group.")
		}
	}
	for option, actions := range map[string][]string{"members": {"describe"}, "offsets": {"describe"}, "verbose": {"describe"}, "state": {"describe", "list"}, "type": {"list"}} {
		if o.has(option) && o.count(actions...) == 0 {
			return misuse("Option(s) [%s] are unavailable given other options on the command line", option)
		}
	}
	return nil
}

func (o *given) count(names ...string) (n int) {
	for _, name := range names {
		if o.has(name) {
			n++
		}
	}
	return n
}

// groupTool is one run of kafka-consumer-groups.
type groupTool struct {
	*given
	ctx    context.Context
	client *kgo.Client
	admin  *kadm.Client
	out    io.Writer
	talk   io.Writer
}

// runGroups carries one action out. What a broker refuses is told on stdout,
// and the exit code is 0 nevertheless: that is how Kafka's tool is.
func runGroups(ctx context.Context, o *given, s Streams) error {
	if err := checkGroups(o); err != nil {
		return err
	}
	action, err := o.onlyOneAction()
	if err != nil {
		return err
	}
	if action == "validate-regex" {
		validateRegex(o.text("validate-regex"), s.Out)
		return nil
	}
	timeoutMs, err := o.number("timeout", 0, 0)
	if err != nil {
		return groupFailed(s, fmt.Errorf("Cannot parse argument '%s' of option timeout", o.text("timeout")))
	}
	p, err := o.clientProperties([]string{"command-config"}, nil)
	if err != nil {
		return groupFailed(s, err)
	}
	client, err := o.dial(ctx, p)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeoutMs)*time.Millisecond)
	defer cancel()
	t := &groupTool{o, ctx, client, kadm.NewClient(client), s.Out, s.Err}
	t.admin.SetTimeoutMillis(int32(timeoutMs))
	switch action {
	case "list":
		err = t.list()
	case "describe":
		err = t.describe()
	case "delete":
		err = t.delete()
	case "delete-offsets":
		err = t.deleteOffsets()
	case "reset-offsets":
		err = t.reset()
	}
	var wrong *usageError
	if err == nil || errors.As(err, &wrong) {
		return err
	}
	return groupFailed(s, err)
}

func groupFailed(s Streams, err error) error {
	fmt.Fprintf(s.Out, "\nError: Executing consumer group command failed due to %v\n", err)
	return nil
}

func validateRegex(text string, out io.Writer) {
	_, err := regexp.Compile(text)
	var broken *syntax.Error
	if errors.As(err, &broken) {
		fmt.Fprintf(out, "The regular expression `%s` is invalid: %s.\n", text, broken.Code)
		return
	}
	fmt.Fprintf(out, "The regular expression `%s` is valid.\n", text)
}

// names are the groups that are meant, each once, sorted.
func (t *groupTool) names() ([]string, error) {
	if !t.has("all-groups") {
		return slices.Compact(slices.Sorted(slices.Values(t.given.list("group")))), nil
	}
	all, err := groups.List(t.ctx, t.client, nil, nil)
	var names []string
	for _, g := range all {
		if isConsumers(&g) {
			names = append(names, g.Name)
		}
	}
	return names, err
}

// isConsumers leaves out groups of other programs, as Kafka's tool does.
func isConsumers(g *groups.Listed) bool {
	return g.Kind == groups.Consumer || g.ProtocolType == "consumer" || g.ProtocolType == ""
}

func (t *groupTool) list() error {
	states, err := words(t.text("state"), groups.States, "Invalid state list '%s'. Valid states are: %s", strings.Join(
		[]string{groups.Reconciling, groups.Stable, groups.Assigning, groups.Empty, groups.Preparing, groups.Dead, groups.Completing}, ", "))
	if err != nil {
		return err
	}
	kinds, err := words(t.text("type"), []string{groups.Classic, groups.Consumer}, "Invalid types list '%s'. Valid types are: %s", "Consumer, Classic")
	if err != nil {
		return err
	}
	list, err := groups.List(t.ctx, t.client, states, kinds)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(g groups.Listed) bool { return !isConsumers(&g) })
	if !t.has("state") && !t.has("type") {
		for _, g := range list {
			fmt.Fprintln(t.out, g.Name)
		}
		return nil
	}
	width := 25
	for _, g := range list {
		width = max(width, len(g.Name))
	}
	row := func(name, kind, state string) {
		fmt.Fprintf(t.out, "%-*s", width, name)
		if t.has("type") {
			fmt.Fprintf(t.out, " %-20s", kind)
		}
		if t.has("state") {
			fmt.Fprintf(t.out, " %-20s", state)
		}
		fmt.Fprintln(t.out)
	}
	row("GROUP", "TYPE", "STATE")
	for _, g := range list {
		row(g.Name, strings.ToUpper(g.Kind[:1])+g.Kind[1:], g.State)
	}
	return nil
}

// words reads a list of names, whatever their case.
func words(text string, allowed []string, format, valid string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var all []string
	for _, word := range strings.Split(text, ",") {
		at := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, strings.TrimSpace(word)) })
		if at < 0 {
			return nil, misuse(format, text, valid)
		}
		all = append(all, allowed[at])
	}
	return all, nil
}

// described gives the groups that the options name.
func (t *groupTool) described() (names []string, list []groups.Group, err error) {
	if names, err = t.names(); err != nil {
		return nil, nil, err
	}
	list, err = groups.Describe(t.ctx, t.client, names...)
	return names, list, err
}

func (t *groupTool) delete() error {
	names, err := t.names()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		fmt.Fprintln(t.out, "Deletion of requested consumer groups () was successful.")
		return nil
	}
	answers, err := t.admin.DeleteGroups(t.ctx, names...)
	if err != nil {
		return err
	}
	var good, bad []string
	for _, a := range answers.Sorted() {
		if a.Err == nil {
			good = append(good, "'"+a.Group+"'")
			continue
		}
		bad = append(bad, fmt.Sprintf("* Group '%s' could not be deleted due to: %s", a.Group, exception(a.Err, a.ErrMessage)))
	}
	if len(bad) == 0 {
		fmt.Fprintf(t.out, "Deletion of requested consumer groups (%s) was successful.\n", strings.Join(good, ", "))
		return nil
	}
	fmt.Fprintf(t.out, "\nError: Deletion of some consumer groups failed:\n%s\n", strings.Join(bad, "\n"))
	if len(good) > 0 {
		fmt.Fprintf(t.out, "\nThese consumer groups were deleted successfully: %s\n", strings.Join(good, ", "))
	}
	return nil
}

// exceptions are the names under which Kafka's clients tell of errors.
var exceptions = map[*kerr.Error]string{
	kerr.GroupIDNotFound: "GroupIdNotFoundException", kerr.NonEmptyGroup: "GroupNotEmptyException", kerr.GroupSubscribedToTopic: "GroupSubscribedToTopicException",
	kerr.UnknownTopicOrPartition: "UnknownTopicOrPartitionException", kerr.GroupAuthorizationFailed: "GroupAuthorizationException",
	kerr.TopicAuthorizationFailed: "TopicAuthorizationException", kerr.InvalidGroupID: "InvalidGroupIdException", kerr.UnknownMemberID: "UnknownMemberIdException",
	kerr.CoordinatorNotAvailable: "CoordinatorNotAvailableException", kerr.NotCoordinator: "NotCoordinatorException", kerr.CoordinatorLoadInProgress: "CoordinatorLoadInProgressException",
}

// exception is an error in the words of Kafka's clients.
func exception(err error, message string) string {
	var e *kerr.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if message == "" {
		message = e.Description
	}
	if name, ok := exceptions[e]; ok {
		return "org.apache.kafka.common.errors." + name + ": " + message
	}
	return message
}
