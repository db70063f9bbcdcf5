// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
)

// raftLogger gives raft's own log lines, which are prose, to slog. What raft
// thinks worth a line is a detail to everybody else, so its Info is our Debug.
type raftLogger struct{ l *slog.Logger }

var _ raft.Logger = raftLogger{}

func (r raftLogger) log(level slog.Level, format string, v []any) {
	if !r.l.Enabled(context.Background(), level) {
		return
	}
	text := fmt.Sprint(v...)
	if format != "" {
		text = fmt.Sprintf(format, v...)
	}
	r.l.Log(context.Background(), level, "raft", "detail", text)
}

func (r raftLogger) Debug(v ...any)                   {}
func (r raftLogger) Debugf(format string, v ...any)   {}
func (r raftLogger) Info(v ...any)                    { r.log(slog.LevelDebug, "", v) }
func (r raftLogger) Infof(format string, v ...any)    { r.log(slog.LevelDebug, format, v) }
func (r raftLogger) Warning(v ...any)                 { r.log(slog.LevelWarn, "", v) }
func (r raftLogger) Warningf(format string, v ...any) { r.log(slog.LevelWarn, format, v) }
func (r raftLogger) Error(v ...any)                   { r.log(slog.LevelError, "", v) }
func (r raftLogger) Errorf(format string, v ...any)   { r.log(slog.LevelError, format, v) }

// Fatal and Panic must not return: raft's state is not to be trusted any more.
// The loop turns the panic into a failure of the node.
func (r raftLogger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (r raftLogger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (r raftLogger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (r raftLogger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
