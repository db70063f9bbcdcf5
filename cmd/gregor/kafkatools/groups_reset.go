// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/groups"
)

func (t *groupTool) reset() error {
	if !t.has("execute") && !t.has("dry-run") {
		fmt.Fprintln(t.talk, "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run or --execute to be specified. "+
			"You should add the --dry-run option explicitly if you are scripting this command and want to keep the current default behavior without prompting.")
	}
	names, list, err := t.described()
	if err != nil {
		return err
	}
	plans := map[string][]target{}
	for i := range list {
		g := &list[i]
		if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
			return errors.New(exception(g.Err, ""))
		}
		if g.Err == nil && g.State != groups.Empty && g.State != groups.Dead {
			fmt.Fprintf(t.out, "\nError: Assignments can only be reset if the group '%s' is inactive, but the current state is %s.\n", g.Name, g.State)
			continue
		}
		plan, err := t.plan(g)
		if err != nil {
			return err
		}
		if t.has("execute") {
			if err := t.commit(g.Name, plan); err != nil {
				return err
			}
		}
		plans[g.Name] = plan
	}
	if t.has("export") {
		return t.export(names, plans)
	}
	var rows [][]string
	for _, name := range names {
		for _, p := range plans[name] {
			rows = append(rows, []string{name, p.topic, strconv.Itoa(int(p.partition)), strconv.FormatInt(p.offset, 10)})
		}
	}
	t.table([]column{{"GROUP", 15}, {"TOPIC", 15}, {"PARTITION", 10}, {"NEW-OFFSET", 10}}, rows, false)
	return nil
}

func (t *groupTool) commit(group string, plan []target) error {
	offsets := make([]kadm.Offset, 0, len(plan))
	for _, p := range plan {
		offsets = append(offsets, kadm.Offset{Topic: p.topic, Partition: p.partition, At: p.offset, LeaderEpoch: -1})
	}
	answers, err := groups.Commit(t.ctx, t.admin, group, offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return errors.New(exception(err, ""))
	}
	return nil
}

func (t *groupTool) export(names []string, plans map[string][]target) error {
	out := csv.NewWriter(t.out)
	for _, name := range names {
		for _, p := range plans[name] {
			row := []string{p.topic, strconv.Itoa(int(p.partition)), strconv.FormatInt(p.offset, 10)}
			if len(t.given.list("group")) != 1 {
				row = append([]string{name}, row...)
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
	}
	out.Flush()
	fmt.Fprintln(t.out)
	return out.Error()
}

// plan finds the new offsets of one group.
func (t *groupTool) plan(g *groups.Group) ([]target, error) {
	committed := map[place]int64{}
	positions, err := groups.Positions(t.ctx, t.admin, g)
	if err != nil {
		return nil, err
	}
	for _, p := range positions {
		if p.Committed >= 0 {
			committed[place{p.Topic, p.Partition}] = p.Committed
		}
	}
	places, err := t.scope(committed)
	if err != nil {
		return nil, err
	}
	if t.has("from-file") {
		plan, err := t.planOfFile(g.Name)
		if err != nil {
			return nil, err
		}
		for _, p := range plan {
			places = append(places, p.place)
		}
		return t.within(plan, places)
	}
	slices.SortFunc(places, byPlace)
	plan, err := t.scenario(slices.Compact(places), committed)
	if err != nil {
		return nil, err
	}
	return t.within(plan, places)
}

// scope lists the partitions that are to be moved.
func (t *groupTool) scope(committed map[place]int64) ([]place, error) {
	switch {
	case t.has("all-topics"):
		var all []place
		for p := range committed {
			all = append(all, p)
		}
		return all, nil
	case t.has("topic"):
		whole, places, err := t.parsePlaces()
		if err != nil {
			return nil, err
		}
		more, unknown, err := t.partitionsOf(whole)
		if err == nil && len(unknown) > 0 {
			err = failure(kerr.UnknownTopicOrPartition, "")
		}
		return append(places, more...), err
	case t.has("from-file"):
		return nil, nil
	}
	return nil, misuse("One of the reset scopes should be defined: --all-topics, --topic.")
}

// scenario finds where each partition goes to.
func (t *groupTool) scenario(places []place, committed map[place]int64) ([]target, error) {
	to := make([]target, 0, len(places))
	each := func(offset func(place) (int64, error)) ([]target, error) {
		for _, p := range places {
			n, err := offset(p)
			if err != nil {
				return nil, err
			}
			to = append(to, target{p, n})
		}
		return to, nil
	}
	listed := func(list func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)) ([]target, error) {
		offsets, err := t.listed(places, list)
		if err != nil {
			return nil, err
		}
		return each(func(p place) (int64, error) { return offsets[p], nil })
	}
	switch {
	case t.has("to-offset"):
		n, err := strconv.ParseInt(t.text("to-offset"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("Cannot parse argument '%s' of option to-offset", t.text("to-offset"))
		}
		return each(func(place) (int64, error) { return n, nil })
	case t.has("to-earliest"):
		return listed(t.admin.ListStartOffsets)
	case t.has("to-latest"):
		return listed(t.admin.ListEndOffsets)
	case t.has("shift-by"):
		n, err := strconv.ParseInt(t.text("shift-by"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("Cannot parse argument '%s' of option shift-by", t.text("shift-by"))
		}
		return each(func(p place) (int64, error) {
			at, ok := committed[p]
			if !ok {
				return 0, misuse("Cannot shift offset for partition %s since there is no current committed offset", p)
			}
			return groups.Moved(at, n), nil
		})
	case t.has("to-datetime"):
		at, err := parseDateTime(t.text("to-datetime"))
		if err != nil {
			return nil, fmt.Errorf("java.text.ParseException: %w", err)
		}
		return t.byTime(places, at)
	case t.has("by-duration"):
		d, err := parseDuration(t.text("by-duration"))
		if err != nil {
			return nil, err
		}
		return t.byTime(places, time.Now().Add(-d))
	case t.has("to-current"):
		ends, err := t.listed(places, t.admin.ListEndOffsets)
		if err != nil {
			return nil, err
		}
		return each(func(p place) (int64, error) {
			if at, ok := committed[p]; ok {
				return at, nil
			}
			return ends[p], nil
		})
	}
	return nil, misuse("Option '[reset-offsets]' requires one of the following scenarios: [[by-duration], [to-latest], [to-current], [to-earliest], [to-offset], [shift-by], [from-file], [to-datetime]]")
}

// byTime says so where no record is that new.
func (t *groupTool) byTime(places []place, at time.Time) ([]target, error) {
	found := map[place]bool{}
	offsets, err := t.listed(places, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		list, err := t.admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...)
		list.Each(func(o kadm.ListedOffset) { found[place{o.Topic, o.Partition}] = o.Timestamp >= 0 })
		return list, err
	})
	if err != nil {
		return nil, err
	}
	var to []target
	for _, p := range places {
		if !found[p] {
			fmt.Fprintf(t.out, "\nWarn: Partition %d from topic %s is empty. Falling back to latest known offset.\n", p.partition, p.topic)
		}
		to = append(to, target{p, offsets[p]})
	}
	return to, nil
}

func (t *groupTool) listed(places []place, list func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)) (map[place]int64, error) {
	var topics []string
	for _, p := range places {
		if !slices.Contains(topics, p.topic) {
			topics = append(topics, p.topic)
		}
	}
	offsets := map[place]int64{}
	if len(topics) == 0 {
		return offsets, nil
	}
	all, err := list(t.ctx, topics...)
	if err != nil {
		return nil, err
	}
	var absent []string
	for _, p := range places {
		o, ok := all.Lookup(p.topic, p.partition)
		switch {
		case !ok, errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			absent = append(absent, p.String())
		case o.Err != nil:
			return nil, failure(o.Err, "")
		}
		offsets[p] = o.Offset
	}
	if len(absent) > 0 {
		return nil, fmt.Errorf("The partitions \"%s\" do not exist", strings.Join(absent, ","))
	}
	return offsets, nil
}

// within brings offsets into their partitions.
func (t *groupTool) within(plan []target, places []place) ([]target, error) {
	starts, err := t.listed(places, t.admin.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	ends, err := t.listed(places, t.admin.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	for i, p := range plan {
		plan[i].offset = max(starts[p.place], min(p.offset, ends[p.place]))
	}
	slices.SortFunc(plan, func(a, b target) int { return byPlace(a.place, b.place) })
	return plan, nil
}
