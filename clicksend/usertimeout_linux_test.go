package clicksend

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheKernelIsToldWhenARequestDies(t *testing.T) {
	t.Parallel()
	c := serve(t, &provider{body: answerBody}, func(cfg *Config) { cfg.Timeout = 7 * time.Second })
	dial := c.transport.DialContext
	var last atomic.Pointer[wireConn]
	c.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			last.Store(conn.(*wireConn))
		}
		return conn, err
	}
	userTimeout := func() (ms int) {
		raw, err := last.Load().Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	if err := sendOne(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if ms := userTimeout(); ms <= 0 || ms > 7000 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms of a request of 7 s", ms)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	first := last.Load()
	if err := sendOne(ctx, c); err != nil {
		t.Fatal(err)
	}
	if ms := userTimeout(); ms <= 0 || ms > 3000 || last.Load() != first {
		t.Errorf("TCP_USER_TIMEOUT is %d ms of a request of 3 s on the same connection", ms)
	}
}
