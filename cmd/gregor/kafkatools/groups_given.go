// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// planOfFile reads topic,partition,offset, or with the group in front.
func (t *groupTool) planOfFile(group string) ([]target, error) {
	path := t.text("from-file")
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("java.io.IOException: Unable to read file %s", path)
	}
	defer f.Close()
	in := csv.NewReader(io.LimitReader(f, 256<<20))
	in.FieldsPerRecord, in.TrimLeadingSpace = -1, true
	rows, err := in.ReadAll()
	if err != nil {
		return nil, err
	}
	var plan []target
	for _, row := range rows {
		if len(row) == 4 {
			if row[0] != group {
				continue
			}
			row = row[1:]
		}
		if len(row) != 3 {
			return nil, fmt.Errorf("%s: a line is topic,partition,offset or group,topic,partition,offset", path)
		}
		partition, errPartition := strconv.ParseInt(row[1], 10, 32)
		offset, errOffset := strconv.ParseInt(row[2], 10, 64)
		if err := cmp.Or(errPartition, errOffset); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		plan = append(plan, target{place{row[0], int32(partition)}, offset})
	}
	if len(plan) == 0 {
		fmt.Fprintf(t.out, "\nError: No reset plan for group %s found\n", group)
	}
	return plan, nil
}

// parseDateTime reads the times of --to-datetime, which are in UTC unless they
// name a zone.
func parseDateTime(text string) (time.Time, error) {
	_, clock, ok := strings.Cut(text, "T")
	if !ok {
		return time.Time{}, errors.New("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
	}
	if !strings.ContainsAny(clock, "+-Z") {
		text += "Z"
	}
	for _, layout := range []string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("Unparseable date: %q", strings.TrimSuffix(text, "Z"))
}

var durationForm = regexp.MustCompile(`^(?i)([-+]?)P(?:([-+]?\d+)D)?(?:T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+(?:[.,]\d{0,9})?)S)?)?$`)

// parseDuration reads the durations of ISO 8601, as far as Java does.
func parseDuration(text string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(text)
	if m == nil || m[2]+m[3]+m[4]+m[5] == "" || strings.HasSuffix(strings.ToUpper(text), "T") {
		return 0, errors.New("Text cannot be parsed to a Duration")
	}
	var sum float64
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+2] == "" {
			continue
		}
		n, err := strconv.ParseFloat(strings.Replace(m[i+2], ",", ".", 1), 64)
		if err != nil {
			return 0, errors.New("Text cannot be parsed to a Duration")
		}
		sum += n * float64(unit)
	}
	if sum > float64(1<<62) || sum < -float64(1<<62) {
		return 0, errors.New("Text cannot be parsed to a Duration")
	}
	if m[1] == "-" {
		sum = -sum
	}
	return time.Duration(sum), nil
}
