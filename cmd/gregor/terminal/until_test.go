// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestUntilReadsAll(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), blockBytes/5)
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(text), "byte by byte": iotest.OneByteReader(bytes.NewReader(text[:1000])),
		"the end with the data": iotest.DataErrReader(bytes.NewReader(text)),
	} {
		want := text
		if name == "byte by byte" {
			want = text[:1000]
		}
		if got, err := io.ReadAll(Until(t.Context(), in)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
	broken := errors.New("broken")
	got, err := io.ReadAll(Until(t.Context(), io.MultiReader(bytes.NewReader(text[:10]), iotest.ErrReader(broken))))
	if len(got) != 10 || !errors.Is(err, broken) {
		t.Errorf("before an error: %d bytes, %v", len(got), err)
	}
}

// A read that waits ends with its context, and so does each after it.
func TestUntilEnds(t *testing.T) {
	in, other := io.Pipe()
	defer other.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	reader := Until(ctx, in)
	go func() {
		_, _ = other.Write([]byte("one"))
		_, _ = other.Write(nil) // taken by the read after the one that gave it
		cancel(errors.New("enough"))
	}()
	got, err := io.ReadAll(reader)
	if string(got) != "one" || err == nil || err.Error() != "enough" {
		t.Errorf("read %q, %v", got, err)
	}
	if n, err := reader.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "enough" {
		t.Errorf("after that %d bytes, %v", n, err)
	}
}
