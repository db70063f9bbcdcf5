// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/groups"
)

// place is one partition.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return p.topic + "-" + strconv.Itoa(int(p.partition)) }

func byPlace(a, b place) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// target is where one partition of a group is to be moved.
type target struct {
	place
	offset int64
}

// parsePlaces reads --topic: whole topics, and partitions that are named.
func (t *groupTool) parsePlaces() (whole []string, places []place, err error) {
	for _, text := range t.given.list("topic") {
		topic, list, some := strings.Cut(text, ":")
		switch {
		case !some:
			whole = append(whole, topic)
			continue
		case list == "" || strings.Contains(list, ":"):
			return nil, nil, misuse("Invalid topic arg '%s', expected topic name and partitions", text)
		}
		for _, id := range strings.Split(list, ",") {
			n, err := strconv.ParseInt(id, 10, 32)
			if err != nil {
				return nil, nil, misuse("Invalid partition '%s' specified in topic arg '%s''", id, text)
			}
			places = append(places, place{topic, int32(n)})
		}
	}
	return whole, places, nil
}

// partitionsOf lists the partitions of whole topics. unknown are the ones that
// do not exist.
func (t *groupTool) partitionsOf(topics []string) (places []place, unknown []string, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	details, err := t.admin.ListTopicsWithInternal(t.ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range details.Sorted() {
		if d.Err != nil {
			unknown = append(unknown, d.Topic)
			continue
		}
		for _, p := range d.Partitions.Sorted() {
			places = append(places, place{d.Topic, p.Partition})
		}
	}
	return places, unknown, nil
}

func (t *groupTool) deleteOffsets() error {
	whole, places, err := t.parsePlaces()
	if err != nil {
		return err
	}
	more, unknown, err := t.partitionsOf(whole)
	if err != nil {
		return err
	}
	places = append(places, more...)
	slices.SortFunc(places, byPlace)
	places = slices.Compact(places)
	group := t.text("group")
	named := make([]groups.Place, 0, len(places))
	for _, p := range places {
		named = append(named, groups.Place{Topic: p.topic, Partition: p.partition})
	}
	var rows [][]string
	answers, refused := groups.Delete(t.ctx, t.admin, group, named)
	single := false
	for _, p := range places {
		status := "Successful"
		answer, ok := answers.Lookup(p.topic, p.partition)
		if !ok {
			answer = refused
		}
		switch {
		case answer != nil:
			status, single = "Error: "+exception(answer, ""), true
		case !ok:
			status, single = "Error: the broker did not answer for it", true
		}
		rows = append(rows, []string{p.topic, strconv.Itoa(int(p.partition)), status})
	}
	for _, topic := range unknown {
		rows = append(rows, []string{topic, missing, "Error: " + exception(kerr.UnknownTopicOrPartition, "")})
	}
	switch {
	case refused != nil:
		fmt.Fprintf(t.out, "\nError: %v\n", failure(refused, ""))
	case single:
		fmt.Fprintln(t.out, "\nError: Encountered some partition-level error, see the follow-up details.")
	default:
		fmt.Fprintf(t.out, "Request succeeded for deleting offsets from group %s.\n", group)
	}
	t.table([]column{{"TOPIC", 15}, {"PARTITION", 10}, {"STATUS         ", 15}}, padded(rows, 2, 15), false)
	return nil
}

// padded fills up a column that is the last one, so that it ends as in Kafka's
// tool: at least so wide, and no wider than its text.
func padded(rows [][]string, column, width int) [][]string {
	for _, row := range rows {
		row[column] = fmt.Sprintf("%-*s", width, row[column])
	}
	return rows
}
