// SPDX-License-Identifier: Apache-2.0

// Package reach reads where brokers may be, and sees whether one answers there.
// It promises to end with its context.
package reach

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// errSilent says that something takes connections, or packets, and does not
// answer.
var errSilent = errors.New("nobody answers there: is it a Kafka broker, and is it well?")

// Ping asks one broker after the other. The client's own ping sees its context
// between two of them only: a port that takes connections and says nothing
// would make a signal wait. Where it fails, closing the client may wait as long.
func Ping(ctx context.Context, client *kgo.Client) error {
	answer := make(chan error, 1)
	go func() { answer <- client.Ping(ctx) }()
	select {
	case err := <-answer:
		if err == nil || ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	return errSilent
}
