package clicksend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// Why a request was not written, or not to its end.
var (
	errLate   = fmt.Errorf("the request came too late to be written: %w", context.DeadlineExceeded)
	errReplay = errors.New("the connection was lost before an answer came, and the request is not made twice")
	errEnded  = errors.New("the request has ended")
)

// newTransport makes a transport that speaks HTTP/1.1 only, over connections
// that write on behalf of one request at a time and know which (wireConn).
func newTransport(timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: min(timeout, 10*time.Second), KeepAlive: 15 * time.Second}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:     http.ProxyFromEnvironment,
		Protocols: &protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &wireConn{Conn: conn}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         32 << 10,
	}
}

// attempt is one request on its way to the socket. It decides, for each piece
// that is about to be written, whether it may still go, and knows whether
// anything ever did.
type attempt struct {
	ctx   context.Context
	guard func() error // nil when there is none
	asked sync.Once    // the guard

	mu      sync.Mutex
	conns   int   // connections the request was given; a second one would be a replay
	wrote   bool  // the operating system took at least one byte
	ended   bool  // nothing more may be written
	clean   bool  // ended with a complete answer
	refusal error // why something was not written
}

func newAttempt(ctx context.Context) *attempt {
	guard, _ := ctx.Value(guardKey{}).(func() error)
	return &attempt{ctx: ctx, guard: guard}
}

// trace is how net/http tells which connection the request is about to use.
func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: a.gotConn}
}

// gotConn claims the connection: from now on it writes for this attempt.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	conn := wireOf(info.Conn)
	a.mu.Lock()
	a.conns++
	switch {
	case conn == nil:
		a.end(errors.New("the connection is not one of ours"))
	case a.conns > 1:
		// net/http makes a request again by itself when a pooled connection
		// turns out to be dead.
		a.end(errReplay)
	}
	a.mu.Unlock()
	if conn == nil {
		info.Conn.Close()
		return
	}
	conn.owner.Store(a)
}

// admit asks the guard, once. A guard that does not answer before the context
// ends is waited for no longer: net/http would let it hold the whole call.
func (a *attempt) admit() error {
	a.asked.Do(func() {
		if a.guard == nil {
			return
		}
		answer := make(chan error, 1)
		go func() { answer <- a.guard() }()
		var err error
		select {
		case err = <-answer:
		case <-a.ctx.Done():
			err = a.ctx.Err()
		}
		if err != nil {
			a.mu.Lock()
			a.end(err)
			a.mu.Unlock()
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.allowed()
}

// step makes one call of write, if the request may still be written. Nothing
// comes between the question and the call.
func (a *attempt) step(write func() (int, error)) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.allowed(); err != nil {
		return 0, err
	}
	n, err := write()
	if n > 0 {
		a.wrote = true
	}
	return n, err
}

// allowed says why nothing may be written now, if so. It goes by the clock and
// not by the context's timer alone: in a process that was stopped the timer
// has not run yet. Both clocks count, the monotonic one, and the wall clock
// because the other stands still while a machine sleeps.
func (a *attempt) allowed() error {
	if a.ended {
		if a.refusal != nil {
			return a.refusal
		}
		return errEnded
	}
	if err := a.ctx.Err(); err != nil {
		a.end(err)
		return err
	}
	if deadline, ok := a.ctx.Deadline(); ok {
		now := time.Now()
		if !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0)) {
			a.end(errLate)
			return errLate
		}
	}
	return nil
}

// end lets nothing more be written. The caller holds mu.
func (a *attempt) end(why error) {
	if !a.ended {
		a.ended, a.refusal = true, why
	}
}

// finish ends the attempt and reports whether anything was written and, if
// something was refused, why. clean says that its answer was read to the end.
// After finish nothing more can be written, so that wrote is the last word.
func (a *attempt) finish(clean bool) (wrote bool, refusal error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	refusal = a.refusal
	a.ended, a.clean = true, clean
	return a.wrote, refusal
}

// cleanly reports whether the attempt ended with a complete answer.
func (a *attempt) cleanly() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clean
}

// wireConn is a TCP connection that, once it has carried a request, writes
// only for the request that owns it. TLS and proxy handshakes come before the
// first owner and pass freely.
type wireConn struct {
	net.Conn
	owner atomic.Pointer[attempt]
}

// wireOf finds the wireConn beneath any number of TLS layers.
func wireOf(conn net.Conn) *wireConn {
	for {
		switch c := conn.(type) {
		case *wireConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// Write writes p for the owner, asking before each system call whether that is
// still allowed. What is refused ends the connection.
func (c *wireConn) Write(p []byte) (int, error) {
	a := c.owner.Load()
	if a == nil {
		return c.Conn.Write(p)
	}
	if err := a.admit(); err != nil {
		c.Close()
		return 0, err
	}
	if deadline, ok := a.ctx.Deadline(); ok {
		// What the kernel holds unacknowledged dies at the deadline as well,
		// even if this process is stopped by then.
		setUserTimeout(c.Conn, time.Until(deadline))
	}
	n, err := writeSteps(c.Conn, p, a.step)
	if err != nil {
		c.Close()
	}
	return n, err
}

// Close closes the connection. One whose request did not end with a complete
// answer is reset, so that the kernel drops what it has not sent yet.
func (c *wireConn) Close() error {
	if a := c.owner.Load(); a != nil && !a.cleanly() {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			// An error here means that the socket is closed already.
			_ = tcp.SetLinger(0)
		}
	}
	return c.Conn.Close()
}
