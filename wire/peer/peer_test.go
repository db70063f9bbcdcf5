// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"gregor/base/netx"
	"gregor/wire/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const addr = "server:9092"

// request is what the far side has received.
type request struct {
	header frame.RequestHeader
	body   []byte
}

// far is the far side of connections, as raw as the test wants it.
type far struct {
	t *testing.T
	net.Conn
}

// serve runs a bubble with a memory network whose server gives each connection
// to handle.
func serve(t *testing.T, handle func(f far), test func(t *testing.T, m *netx.Memory, o Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := netx.NewMemory()
		l, err := m.Host("server").Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer conn.Close()
					handle(far{t, conn})
				})
			}
		})
		test(t, m, Options{Net: m.Host("client"), Addr: addr, ClientID: "me", Now: time.Now, Timeout: 10 * time.Second})
		l.Close()
		wg.Wait()
	})
}

func dial(t *testing.T, o Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// next reads one request; ok is false at the end of the stream.
func (f far) next() (q request, ok bool) {
	var prefix [4]byte
	if _, err := io.ReadFull(f, prefix[:]); err != nil {
		return request{}, false
	}
	payload := make([]byte, frame.Size(prefix[:]))
	if _, err := io.ReadFull(f, payload); err != nil {
		return request{}, false
	}
	h, body, err := frame.ParseRequest(payload, flexibleKey(payload))
	if err != nil {
		f.t.Error(err)
		return request{}, false
	}
	return request{h, body}, true
}

// flexibleKey: tests send keys from 1000 on with flexible headers.
func flexibleKey(payload []byte) bool {
	h, err := frame.Peek(payload)
	return err == nil && (h.Key >= 1000 || h.Key == 18 && h.Version >= 3)
}

func (f far) answer(q request, body []byte) {
	a := frame.Appender{}
	a.Int32(0)
	a.ResponseHeader(q.header.CorrelationID, q.header.Key >= 1000)
	a.Raw(body)
	a.PutInt32(0, int32(len(a.B)-4))
	f.Write(a.B)
}

// echo answers every request with its own body.
func echo(f far) {
	for q, ok := f.next(); ok; q, ok = f.next() {
		f.answer(q, q.body)
	}
}

func TestPipelineKeepsOrderAndRepliesTheirCalls(t *testing.T) {
	serve(t, echo, func(t *testing.T, m *netx.Memory, o Options) {
		m.Delay("client", "server", 3*time.Millisecond)
		c := dial(t, o)
		defer c.Close()
		var wg sync.WaitGroup
		for g := range 20 {
			wg.Go(func() {
				var call Call
				for i := range 30 {
					size := []int{0, 1, 100, 50_000, 200_000}[(g+i)%5]
					body := bytes.Repeat([]byte{byte(g*31 + i)}, size)
					call.Key, call.Flexible, call.Body = int16(g%2)*1000, g%2 == 1, body
					if err := c.Do(t.Context(), &call); err != nil {
						t.Errorf("%d/%d: %v", g, i, err)
						return
					}
					if !bytes.Equal(call.Reply, body) {
						t.Errorf("%d/%d: got %d bytes of another call", g, i, len(call.Reply))
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestPipelineDoesNotWaitForReplies(t *testing.T) {
	const calls = 10
	together := func(f far) {
		var all []request
		for range calls {
			q, ok := f.next()
			if !ok {
				t.Error("the next request waits for a reply")
				return
			}
			all = append(all, q)
		}
		for _, q := range all {
			f.answer(q, q.body)
		}
		f.next()
	}
	serve(t, together, func(t *testing.T, _ *netx.Memory, o Options) {
		c := dial(t, o)
		defer c.Close()
		var wg sync.WaitGroup
		for i := range calls {
			wg.Go(func() {
				call := Call{Body: []byte{byte(i)}}
				if err := c.Do(t.Context(), &call); err != nil || !bytes.Equal(call.Reply, []byte{byte(i)}) {
					t.Error(err, call.Reply)
				}
			})
		}
		wg.Wait()
	})
}

func TestInFlightMaxHoldsRequestsBack(t *testing.T) {
	seen := make(chan int16, 10)
	serve(t, func(f far) {
		for q, ok := f.next(); ok; q, ok = f.next() {
			seen <- q.header.Key
			time.Sleep(time.Second)
			f.answer(q, nil)
		}
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		seen = make(chan int16, 10)
		o.InFlightMax = 1
		c := dial(t, o)
		defer c.Close()
		go c.Do(t.Context(), &Call{})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		err := c.Do(ctx, &Call{Key: 1})
		var e *Error
		if !errors.As(err, &e) || e.Sent || !errors.Is(err, context.DeadlineExceeded) || len(seen) != 1 {
			t.Fatalf("%v, %d sent", err, len(seen))
		}
		if err := c.Do(t.Context(), &Call{Key: 2}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKmsgRequest(t *testing.T) {
	serve(t, func(f far) {
		q, _ := f.next()
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = q.header.Version
		if err := req.ReadFrom(q.body); err != nil || q.header.Key != 18 || string(q.header.ClientID) != "me" || req.ClientSoftwareName != "gregor" {
			f.t.Error(err, q.header, req)
		}
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.Version = q.header.Version
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MaxVersion: 4}}
		f.answer(q, resp.AppendTo(nil)) // ApiVersions: the header is not flexible, the body is
		f.next()
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		c := dial(t, o)
		defer c.Close()
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName = 3, "gregor"
		resp, err := c.Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if keys := resp.(*kmsg.ApiVersionsResponse).ApiKeys; len(keys) != 1 || keys[0].MaxVersion != 4 {
			t.Fatal(keys)
		}
	})
}

func TestHandshakeComesFirstAndMayRefuse(t *testing.T) {
	serve(t, echo, func(t *testing.T, _ *netx.Memory, o Options) {
		wrapped := false
		o.Wrap = func(_ context.Context, conn net.Conn) (net.Conn, error) {
			wrapped = true
			return conn, nil
		}
		var first []byte
		o.Handshake = func(ctx context.Context, c *Conn) error {
			call := Call{Body: []byte("token")}
			err := c.Do(ctx, &call)
			first = call.Reply
			return err
		}
		c := dial(t, o)
		if string(first) != "token" || !wrapped {
			t.Fatal(first, wrapped)
		}
		c.Close()
		refused := errors.New("refused")
		o.Handshake = func(context.Context, *Conn) error { return refused }
		if _, err := Dial(t.Context(), o); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		o.Wrap = func(context.Context, net.Conn) (net.Conn, error) { return nil, refused }
		if _, err := Dial(t.Context(), o); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		o.Addr = "server:1"
		if _, err := Dial(t.Context(), o); err == nil {
			t.Fatal("dialled a port where nobody listens")
		}
	})
}

// TestLateReplyEndsTheConnection: the link is cut, as by a firewall.
func TestLateReplyEndsTheConnection(t *testing.T) {
	serve(t, echo, func(t *testing.T, m *netx.Memory, o Options) {
		c := dial(t, o)
		defer c.Close()
		if err := c.Do(t.Context(), &Call{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // being idle is no fault
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		m.Cut("server", "client")
		start := time.Now()
		err := c.Do(t.Context(), &Call{})
		var e *Error
		if !errors.As(err, &e) || !e.Sent || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		<-c.Done()
		if err := c.Do(t.Context(), &Call{}); !errors.As(err, &e) || e.Sent {
			t.Errorf("on a connection that has ended: %v", err)
		}
		m.Heal("server", "client")
	})
}

func TestLongPollHasItsOwnTimeout(t *testing.T) {
	serve(t, func(f far) {
		for q, ok := f.next(); ok; q, ok = f.next() {
			time.Sleep(time.Minute)
			f.answer(q, nil)
		}
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		o.Timeout = 61 * time.Second
		c := dial(t, o)
		defer c.Close()
		var wg sync.WaitGroup
		// Each is answered a minute after the one before: none is late, as the
		// time counts from when it is the oldest.
		for i := range 5 {
			wg.Go(func() {
				call := Call{}
				if i == 0 {
					call.Timeout = 2 * time.Minute
				}
				if err := c.Do(t.Context(), &call); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		o.Timeout = time.Second
		short := dial(t, o)
		defer short.Close()
		if err := short.Do(t.Context(), &Call{Timeout: 61 * time.Second}); err != nil {
			t.Error(err)
		}
	})
}

func TestAbandonedCallLeavesTheConnectionUsable(t *testing.T) {
	serve(t, func(f far) {
		for q, ok := f.next(); ok; q, ok = f.next() {
			if string(q.body) == "slow" {
				time.Sleep(5 * time.Second)
			}
			f.answer(q, q.body)
		}
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		o.InFlightMax = 2
		c := dial(t, o)
		defer c.Close()
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := c.Do(ctx, &Call{Body: []byte("slow")})
			cancel()
			var e *Error
			if !errors.As(err, &e) || !e.Sent || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			call := Call{Body: []byte("quick")}
			if err := c.Do(t.Context(), &call); err != nil || string(call.Reply) != "quick" {
				t.Fatal(err, string(call.Reply))
			}
		}
		if len(c.slots) != 0 {
			t.Errorf("%d slots are lost", len(c.slots))
		}
	})
}

func TestFarSideClosesWithCallsPending(t *testing.T) {
	serve(t, func(f far) {
		f.next()
		f.next()
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		c := dial(t, o)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				var e *Error
				if err := c.Do(t.Context(), &Call{}); !errors.As(err, &e) || !e.Sent || !errors.Is(err, io.EOF) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		<-c.Done()
	})
}

func TestCloseFailsWhatWaits(t *testing.T) {
	serve(t, func(f far) {
		for _, ok := f.next(); ok; _, ok = f.next() {
		}
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		c := dial(t, o)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Do(t.Context(), &Call{}); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
		synctest.Wait()
		c.Close()
		c.Close()
		wg.Wait()
		if err := c.Do(t.Context(), &Call{}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// TestRepliesThatEndTheConnection sends what no sound peer sends.
func TestRepliesThatEndTheConnection(t *testing.T) {
	prefixed := func(size uint32, b ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, size), b...) }
	for name, reply := range map[string][]byte{
		"another correlation id": prefixed(4, 0, 0, 0, 99),
		"a negative size":        prefixed(0xffffffff),
		"a size of 2 GiB":        prefixed(0x7fffffff, 0, 0, 0, 1),
		"a size above the limit": prefixed(1001, 0, 0, 0, 1),
		"no room for a header":   prefixed(3, 0, 0, 0),
		"a tag section cut":      prefixed(5, 0, 0, 0, 1, 1),
		"two replies to one":     append(prefixed(5, 0, 0, 0, 1, 0), prefixed(5, 0, 0, 0, 1, 0)...),
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, func(f far) {
				f.next()
				f.Write(reply)
				f.next()
			}, func(t *testing.T, _ *netx.Memory, o Options) {
				o.ResponseBytesMax = 1000
				c := dial(t, o)
				defer c.Close()
				err := c.Do(t.Context(), &Call{Key: 1000, Flexible: true})
				if name == "two replies to one" {
					if err != nil {
						t.Error(err)
					}
					<-c.Done()
					err = c.Err()
				}
				var malformed *frame.MalformedError
				if !errors.As(err, &malformed) {
					t.Error(err)
				}
			})
		})
	}
}

func TestResponseMemoryGrowsWithWhatArrives(t *testing.T) {
	near, other := net.Pipe()
	defer near.Close()
	go func() {
		other.Write([]byte{0x05, 0, 0, 0})
		other.Write(make([]byte, 100_000))
		other.Close()
	}()
	c := &Conn{conn: near, o: Options{ResponseBytesMax: 100 << 20}}
	buffer, err := c.readFrame(nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(buffer) != 100_000 || cap(buffer) > 300_000 {
		t.Fatalf("room for %d bytes after %d of 84 MB: %v", cap(buffer), len(buffer), err)
	}
}

func TestCallWithoutReply(t *testing.T) {
	serve(t, func(f far) {
		q, _ := f.next()
		if q.header.Key != 7 {
			f.t.Error(q)
		}
		echo(f)
	}, func(t *testing.T, _ *netx.Memory, o Options) {
		c := dial(t, o)
		defer c.Close()
		if err := c.Do(t.Context(), &Call{Key: 7, NoReply: true}); err != nil {
			t.Fatal(err)
		}
		call := Call{Body: []byte("x")}
		if err := c.Do(t.Context(), &call); err != nil || string(call.Reply) != "x" {
			t.Fatal(err)
		}
	})
}

// TestOnRealTCP runs a few hundred calls over loopback.
func TestOnRealTCP(t *testing.T) {
	l, err := netx.OS{}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		echo(far{t, conn})
	})
	c := dial(t, Options{Net: netx.OS{}, Addr: l.Addr().String(), Now: time.Now})
	var calls sync.WaitGroup
	for g := range 8 {
		calls.Go(func() {
			var call Call
			for i := range 50 {
				call.Body = fmt.Appendf(call.Body[:0], "%d/%d", g, i)
				if err := c.Do(t.Context(), &call); err != nil || !bytes.Equal(call.Reply, call.Body) {
					t.Error(err, string(call.Reply))
					return
				}
			}
		})
	}
	calls.Wait()
	c.Close()
	l.Close()
	wg.Wait()
}
