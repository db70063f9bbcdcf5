// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/ops"
	"gregor/storage/logdir"
)

// What a check can say.
const (
	checkOK   = "ok"
	checkWarn = "warn" // a node runs, but not as well as it could
	checkFail = "fail" // a node would not start, or not live long
)

// check is what was found about one thing, and the command to go on with.
type check struct {
	Name   string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

func newDoctorCommand() *cobra.Command {
	var file, output string
	var set []string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this machine suits a node",
		Long: `Looks at what a node with this configuration would need here: ports, limits, file systems, the clock. Nothing is started
and nothing stays behind. Each check says ok, warn or fail, and what to do next; with a fail the exit code is 1.`,
		Args:    cobra.NoArgs,
		Example: "  gregor doctor\n  gregor doctor -c server.properties -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			settings, warnings, err := load(file, set)
			if err != nil {
				return &failure{exitUsage, err, []string{}}
			}
			var checks []check
			for _, w := range warnings {
				checks = append(checks, check{"config " + w.Key, checkWarn, w.Message, ""})
			}
			checks = append(checks, checkPorts(c.Context(), settings)...)
			checks = append(checks, checkLimits(settings)...)
			checks = append(checks, checkDirs(settings)...)
			checks = append(checks, checkClock()...)
			return printChecks(c, output, checks)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "a server.properties")
	c.Flags().StringArrayVar(&set, "set", nil, "a configuration key, key=value; may be repeated")
	_ = c.MarkFlagFilename("config", "properties")
	outputFlag(c, &output)
	return c
}

func printChecks(c *cobra.Command, output string, checks []check) error {
	l := listing{kind: "Check", header: []string{"CHECK", "STATUS", "DETAIL"}}
	for _, k := range checks {
		l.rows = append(l.rows, []string{k.Name, k.Status, k.Detail})
		l.items = append(l.items, k)
		l.names = append(l.names, k.Name)
	}
	if err := l.print(c.OutOrStdout(), output); err != nil {
		return err
	}
	failures := 0
	for _, k := range checks {
		if k.Status == checkFail {
			failures++
		}
		if k.Next != "" && output == "table" {
			fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n  next: %s\n", k.Status, k.Name, k.Next)
		}
	}
	if failures > 0 {
		return &failure{exitFailed, fmt.Errorf("%d of %d checks failed", failures, len(checks)), nil}
	}
	return nil
}

// checkPorts tries to bind what the node would bind.
func checkPorts(ctx context.Context, settings *config.Node) []check {
	var checks []check
	for _, l := range slices.Concat(settings.Listeners(), settings.ControllerListeners()) {
		checks = append(checks, checkPort(ctx, "port "+l.Name, l.Address(), kafkaAt))
	}
	if address := settings.Text(config.GregorAdminListener); address != "" {
		k := checkPort(ctx, "port admin", address, adminAt)
		if _, set := settings.IsSet(string(config.GregorAdminListener)); k.Status == checkFail && !set {
			k.Status = checkWarn // the node starts without metrics then
		}
		checks = append(checks, k)
	}
	return checks
}

// checkPort is given what finds out which node answers, "" where none does.
func checkPort(ctx context.Context, name, address string, nodeAt func(address string) string) check {
	l, err := netx.OS{}.Listen(ctx, address)
	if err == nil {
		err = l.Close()
	}
	if err == nil {
		return check{name, checkOK, address + " is free", ""}
	}
	return judgePort(name, address, err, nodeAt(address))
}

// checkLimits looks at what the system lets a process have.
func checkLimits(settings *config.Node) []check {
	var files syscall.Rlimit
	checks := []check{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		checks = append(checks, judgeOpenFiles(uint64(files.Cur)))
	}
	return append(checks, judgeMemory(groupLimitBytes(), settings.RequestMemoryBytes()))
}

// checkDirs looks at the file systems of the log directories.
func checkDirs(settings *config.Node) []check {
	var checks []check
	dirs := append(slices.Clone(settings.LogDirs()), settings.MetadataLogDir())
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		there := existing(dir)
		name := "disk " + dir
		if usage, err := (vfs.OS{}).Usage(there); err != nil {
			checks = append(checks, check{name, checkFail, err.Error(), "df -h " + there})
		} else {
			checks = append(checks, judgeSpace(name, there, usage, logdir.ReserveOf(settings.Long(config.GregorLogReserveBytes), usage.TotalBytes)))
		}
		if kind := fileSystemOf(there); kind != "" {
			checks = append(checks, judgeFileSystem(name, kind))
		}
		took, err := syncTime(there)
		checks = append(checks, judgeSync(name, there, took, err))
	}
	return checks
}

// existing is the nearest directory above path that is there.
func existing(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

const syncRounds = 5

// syncTime measures how long a small write takes to be durable: the median of
// a few.
func syncTime(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".gregor-doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var rounds []time.Duration
	for range syncRounds {
		begun := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		rounds = append(rounds, time.Since(begun))
	}
	slices.Sort(rounds)
	return rounds[syncRounds/2], nil
}

func checkClock() []check {
	source, synchronized, known := clockFacts()
	return judgeClock(time.Now(), source, synchronized, known)
}

// patience is how long whoever holds a port may take to say who it is.
const patience = 2 * time.Second

// adminAt asks as a monitor would. No proxy is asked, and no name but that of
// the address.
func adminAt(address string) string {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	answer, err := client.Get("http://admin/version")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var is ops.Build
	if json.NewDecoder(io.LimitReader(answer.Body, 4096)).Decode(&is) != nil || is.Version == "" || is.Go == "" {
		return ""
	}
	return "gregor " + is.Version
}

// kafkaAt asks what any broker answers.
func kafkaAt(address string) string {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return ""
	}
	defer conn.Close()
	// ApiVersions v0 without a client id: any version of Kafka answers it.
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(request); err != nil {
		return ""
	}
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[7] != 7 {
		return ""
	}
	return "a Kafka node"
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if _, bad := strconv.Atoi(port); err != nil || bad != nil {
		return address
	}
	return port
}
