// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func deleteRecordsTool() tool {
	return tool{
		name:    "kafka-delete-records",
		example: `  gregor kafka-delete-records --bootstrap-server localhost:9092 --offset-json-file offsets.json`,
		about:   "Deletes the records below an offset of each partition that a file names.",
		run:     runDeleteRecords,
		options: slices.Concat(connecting, []option{
			{name: "offset-json-file", arg: "FILE", help: `REQUIRED: {"partitions": [{"topic": "t", "partition": 0, "offset": 10}], "version": 1}; offset -1 is the high watermark.`},
		}),
	}
}

func runDeleteRecords(ctx context.Context, o *given, s Streams) error {
	if err := o.required("bootstrap-server", "offset-json-file"); err != nil {
		return err
	}
	path := o.text("offset-json-file")
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("Unable to read file %s", path)
	}
	offsets, err := parseOffsets(b)
	if err != nil {
		return err
	}
	return o.withAdmin(ctx, func(admin *kadm.Client, _ *kgo.Client) error {
		fmt.Fprintln(s.Out, "Executing records delete operation")
		deleted, err := admin.DeleteRecords(ctx, offsets)
		if err != nil {
			return err
		}
		fmt.Fprintln(s.Out, "Records delete operation completed:")
		var all []kadm.DeleteRecordsResponse
		deleted.Each(func(d kadm.DeleteRecordsResponse) { all = append(all, d) })
		slices.SortFunc(all, func(a, b kadm.DeleteRecordsResponse) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
		for _, d := range all {
			if d.Err != nil {
				fmt.Fprintf(s.Out, "partition: %s-%d\terror: %v\n", d.Topic, d.Partition, failure(d.Err, ""))
			} else {
				fmt.Fprintf(s.Out, "partition: %s-%d\tlow_watermark: %d\n", d.Topic, d.Partition, d.LowWatermark)
			}
		}
		return nil
	})
}

// parseOffsets reads the file of --offset-json-file.
func parseOffsets(b []byte) (kadm.Offsets, error) {
	var file struct {
		Version    *int `json:"version"`
		Partitions *[]struct {
			Topic     *string `json:"topic"`
			Partition *int32  `json:"partition"`
			Offset    *int64  `json:"offset"`
		} `json:"partitions"`
	}
	if !json.Valid(b) {
		return nil, errors.New("The input string is not a valid JSON")
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	if file.Version != nil && *file.Version != 1 {
		return nil, fmt.Errorf("Not supported version field value %d", *file.Version)
	}
	if file.Partitions == nil {
		return nil, errors.New("Missing partitions field")
	}
	offsets := kadm.Offsets{}
	for _, p := range *file.Partitions {
		for name, there := range map[string]bool{"topic": p.Topic != nil, "partition": p.Partition != nil, "offset": p.Offset != nil} {
			if !there {
				return nil, fmt.Errorf("No such field exists: `%s`", name)
			}
		}
		if _, again := offsets.Lookup(*p.Topic, *p.Partition); again {
			return nil, fmt.Errorf("Offset json file contains duplicate topic partitions: %s-%d", *p.Topic, *p.Partition)
		}
		offsets.AddOffset(*p.Topic, *p.Partition, *p.Offset, -1)
	}
	return offsets, nil
}
