// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/node"
)

// stopTimeout bounds a clean stop. What has not ended by then is cut, as a
// crash would cut it.
const stopTimeout = 30 * time.Second

func newStartCommand(execAt time.Time) *cobra.Command {
	var file string
	var set []string
	c := &cobra.Command{
		Use:   "start",
		Short: "Run a node in the foreground",
		Long: `Runs a node until SIGTERM, SIGINT or SIGHUP, which stop it cleanly; a second one kills it. When the node serves, one line on
stdout says where; logs go to stderr.

Configuration goes by Kafka's own keys: --set wins over KAFKA_* in the environment, that over the file, that over the
defaults. Without any, the node is broker, controller and only voter of its own cluster on 127.0.0.1:9092, data under ./data;
metrics and health are at 127.0.0.1:9644.`,
		Args: cobra.NoArgs,
		Example: `  gregor start
  gregor start -c server.properties
  gregor start --set listeners=PLAINTEXT://127.0.0.1:0 --set log.dirs=/var/lib/gregor`,
		RunE: func(c *cobra.Command, _ []string) error {
			return start(c, file, set, execAt)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "a server.properties")
	c.Flags().StringArrayVar(&set, "set", nil, "a configuration key, key=value; may be repeated")
	_ = c.MarkFlagFilename("config", "properties")
	return c
}

func start(c *cobra.Command, file string, set []string, execAt time.Time) error {
	settings, warnings, err := load(file, set)
	if err != nil {
		return &failure{exitUsage, err, []string{}}
	}
	limitMemory(settings.Long(config.GregorMemoryLimitBytes))
	logger, level := newLogger(c.ErrOrStderr(), settings.Text(config.GregorLogLevel))
	for _, w := range warnings {
		logger.Warn("configuration", "key", w.Key, "warning", w.Message)
	}
	logger.Info("starting", "version", build().Version, "log_dirs", strings.Join(absolute(settings.LogDirs()), ","))
	hostname, err := os.Hostname()
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("find the host's name: %w", err), nil}
	}
	n := node.New(node.Options{
		Config:       settings,
		OpenFilesMax: openFilesMax(),
		FS:           vfs.OS{},
		Net:          netx.OS{},
		Now:          time.Now,
		Random:       rand.Reader,
		Logger:       logger,
		LogLevel:     level,
		Build:        build(),
		Hostname:     hostname,
	})
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, nodeStopSignals()...)
	defer signal.Stop(caught)
	listening, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = live(c, n, logger, wishes(listening, caught), execAt)
	var f *failure
	if errors.As(err, &f) && f.code == exitFailed {
		f.next = []string{doctorLine(file, set)}
	}
	return err
}

// sameWish is how long after a signal others count as the same one. Who ends a
// group of processes often sends two: timeout(1) does, and a script that passes
// on what the terminal has sent to the node already.
const sameWish = 500 * time.Millisecond

// wishes gives of signals that come together the first one.
func wishes(ctx context.Context, caught <-chan os.Signal) <-chan os.Signal {
	out := make(chan os.Signal, 2)
	go func() {
		var last time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-caught:
				now := time.Now()
				if now.Sub(last) < sameWish {
					continue
				}
				last = now
				select {
				case out <- s:
				default: // two are on their way, and a third says no more
				}
			}
		}
	}()
	return out
}

// absolute says where directories are, wherever the reader of a log is.
func absolute(dirs []string) []string {
	all := slices.Clone(dirs)
	for i, dir := range dirs {
		if path, err := filepath.Abs(dir); err == nil {
			all[i] = path
		}
	}
	return all
}

// doctorLine has the doctor look at what a node was to start with.
func doctorLine(file string, set []string) string {
	line := "gregor doctor"
	if file != "" {
		line += " -c " + file
	}
	for _, s := range set {
		line += " --set " + s
	}
	return line
}

// load reads the configuration from where a process finds it.
func load(file string, set []string) (*config.Node, []config.Warning, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, nil, fmt.Errorf("find the host's name: %w", err)
	}
	return config.Load(config.Sources{File: file, Read: os.ReadFile, Set: set, Environ: os.Environ(), Hostname: hostname})
}

func newLogger(w io.Writer, text string) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(text)); err != nil {
		level.Set(slog.LevelInfo) // package config has checked it
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), level
}

// runnable is what live needs of a node.
type runnable interface {
	Start(ctx context.Context) error
	Close(ctx context.Context) error
	Kill()
	Failed() <-chan error
	Addresses() (kafka, others []node.Address)
}

// live runs a node from its start to its end: by a signal, or by a failure
// after which it must not go on.
func live(c *cobra.Command, n runnable, logger *slog.Logger, signals <-chan os.Signal, execAt time.Time) error {
	starting, cancel := context.WithCancel(c.Context())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- n.Start(starting) }()
	select {
	case err := <-started:
		if err != nil {
			return &failure{exitFailed, err, nil}
		}
	case s := <-signals:
		logger.Info("stopping before the start was done", "signal", s.String())
		cancel()
		select {
		case err := <-started:
			if err != nil { // a start that fails leaves nothing running
				logger.Info("stopped", "reason", err.Error())
				return nil
			}
			return stop(n, logger, signals)
		case s := <-signals: // a recovery may take its time
			return killed(logger, s)
		}
	}
	if _, err := fmt.Fprintln(c.OutOrStdout(), readyLine(time.Since(execAt), n)); err != nil {
		logger.Warn("nobody reads the ready line", "error", err)
	}
	select {
	case s := <-signals:
		logger.Info("stopping", "signal", s.String())
		return stop(n, logger, signals)
	case err := <-n.Failed():
		giveUp(n, signals)
		return &failure{exitFailed, fmt.Errorf("the node cannot go on: %w", err), nil}
	}
}

// giveUp ends a node that cannot go on. One of its disks may hang: the process
// waits for it no longer than for a stop, nor behind a signal.
func giveUp(n runnable, signals <-chan os.Signal) {
	killed := make(chan struct{})
	go func() { n.Kill(); close(killed) }()
	select {
	case <-killed:
	case <-signals:
	case <-time.After(stopTimeout):
	}
}

// stop ends a node cleanly, unless a second signal or the timeout comes first.
func stop(n runnable, logger *slog.Logger, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- n.Close(ctx) }()
	select {
	case err := <-closed:
		if err != nil {
			return &failure{exitFailed, fmt.Errorf("stop: %w", err), nil}
		}
		logger.Info("stopped")
		return nil
	case s := <-signals:
		return killed(logger, s)
	}
}

// killed ends the process by a second signal. What the first one has begun is
// left where it is: that is what a crash does, and it needs no help.
func killed(logger *slog.Logger, s os.Signal) error {
	logger.Warn("killed by a second signal", "signal", s.String())
	return &failure{code: exitInterrupted, err: context.Canceled}
}

// readyLine is the one line on stdout: Kafka listeners first, then each other
// open port by its name.
func readyLine(took time.Duration, n runnable) string {
	kafka, others := n.Addresses()
	var open []string
	for _, a := range kafka {
		open = append(open, a.Addr)
	}
	for _, a := range others {
		open = append(open, strings.ToLower(a.Name)+" "+a.Addr)
	}
	return fmt.Sprintf("gregor ready in %d ms: kafka %s", took.Milliseconds(), strings.Join(open, ", "))
}
