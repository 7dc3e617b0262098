package clicksend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stages are the moments at which a server may lose a connection on which it
// should answer a request. Whatever the moment, no request may come twice.
var stages = map[string]func(*rawConn){
	"before reading, reset":  func(c *rawConn) { c.reset() },
	"before reading, closed": func(c *rawConn) { c.Close() },
	"after one byte":         func(c *rawConn) { _, _ = c.reader.ReadByte(); c.reset() },
	"after the head":         func(c *rawConn) { _, _ = c.reader.Peek(100); c.reset() },
	"after the request":      func(c *rawConn) { c.request(); c.Close() },
	"after it, reset":        func(c *rawConn) { c.request(); c.reset() },
	"within the status line": func(c *rawConn) { c.request(); c.write(wholeAnswer[:10]) },
	"within the headers":     func(c *rawConn) { c.request(); c.write(wholeAnswer[:40]) },
	"after the headers":      func(c *rawConn) { c.request(); c.write(wholeAnswer[:strings.Index(wholeAnswer, "\r\n\r\n")+4]) },
	"within the body":        func(c *rawConn) { c.request(); c.write(wholeAnswer[:len(wholeAnswer)-1]) },
	"within an unsized body": func(c *rawConn) {
		c.request()
		c.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + answerBody[:len(answerBody)-3])
	},
	"within a chunk": func(c *rawConn) {
		c.request()
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + answerBody[:20])
	},
	"before the last chunk": func(c *rawConn) {
		c.request()
		c.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(answerBody), answerBody))
	},
	"with an empty 200": func(c *rawConn) { c.request(); c.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") },
	"with a 503": func(c *rawConn) {
		c.request()
		c.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	},
	"with a 307": func(c *rawConn) {
		c.request()
		c.write("HTTP/1.1 307 Temporary Redirect\r\nLocation: /v3/sms/send\r\nContent-Length: 0\r\n\r\n")
	},
}

func TestALostConnectionLeavesASendUnknownAndIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	for _, reused := range []bool{false, true} {
		for name, stage := range stages {
			t.Run(fmt.Sprintf("reused=%v/%s", reused, name), func(t *testing.T) {
				t.Parallel()
				s := newRawServer(t, func(c *rawConn) {
					if reused && c.number == 1 {
						if !c.request() {
							return
						}
						c.answer()
						// Wait for the next request before losing it, so that
						// the client has surely begun.
						if _, err := c.reader.Peek(1); err != nil {
							return
						}
					}
					stage(c)
				})
				c := clientOf(t, s.url())
				if reused {
					if _, err := c.SMS.Send(t.Context(), []SMSMessage{{To: "+61411111111", Body: "first", CustomString: "first"}}); err != nil {
						t.Fatal(err)
					}
				}
				err := sendOne(t.Context(), c)
				// A connection that ends before it is written to proves that
				// nothing was sent; it can end so early only when it is fresh.
				early := !reused && strings.HasPrefix(name, "before") && KindOf(err) == NotSent
				if KindOf(err) != UnknownOutcome && !early {
					t.Errorf("send: %v", err)
				}
				s.stop()
				if early && s.received() != 0 {
					t.Error("the server received what was not sent")
				}
				if n := s.seen()["ref1"]; n > 1 {
					t.Errorf("the request arrived %d times", n)
				}
				if n := s.connections(); n != 1 {
					t.Errorf("the client made %d connections", n)
				}
			})
		}
	}
}

func TestALostConnectionLeavesAReadUnansweredAndIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	for _, lose := range []func(*rawConn){(*rawConn).reset, func(c *rawConn) { c.Close() }} {
		s := newRawServer(t, func(c *rawConn) {
			for n := 1; c.request(); n++ {
				if n == 2 {
					lose(c)
					return
				}
				c.answer()
			}
		})
		c := clientOf(t, s.url())
		if err := sendOne(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		// A GET on a reused connection is what net/http would make again.
		if _, err := c.Account.Get(t.Context()); KindOf(err) != Unanswered {
			t.Errorf("read: %v", err)
		}
		s.stop()
		if n := s.seen()["GET /v3/account"]; n != 1 {
			t.Errorf("the read was made %d times", n)
		}
	}
}

func TestACancelOnADeadConnectionIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) {
		for n := 1; c.request(); n++ {
			if n == 2 {
				c.reset()
				return
			}
			c.answer()
		}
	})
	c := clientOf(t, s.url())
	if err := sendOne(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// It has no body, which net/http takes as leave to repeat it.
	if err := c.SMS.Cancel(t.Context(), "A1"); KindOf(err) != UnknownOutcome {
		t.Errorf("cancel: %v", err)
	}
	s.stop()
	if n := s.seen()["PUT /v3/sms/A1/cancel"]; n != 1 {
		t.Errorf("the cancel was made %d times", n)
	}
}

// TestNoRequestComesTwiceWhileTheServerClosesIdleConnections lets the server
// close each kept connection right after an answer, so that closing races with
// the next request in every way it can.
func TestNoRequestComesTwiceWhileTheServerClosesIdleConnections(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) {
		for n := 0; c.request(); n++ {
			c.answer()
			if n%2 == c.number%2 {
				if c.number%3 == 0 {
					c.reset()
				}
				return
			}
		}
	})
	c := clientOf(t, s.url())
	kinds := sync.Map{}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 150 {
				ref := fmt.Sprintf("r%d-%d", g, i)
				_, err := c.SMS.Send(context.Background(), []SMSMessage{{To: "+61411111111", Body: "x", CustomString: ref}})
				kinds.Store(ref, KindOf(err))
			}
		})
	}
	wg.Wait()
	s.stop()
	seen := s.seen()
	answered := 0
	kinds.Range(func(ref, kind any) bool {
		switch n := seen[ref.(string)]; kind {
		case Kind(""):
			answered++
			if n != 1 {
				t.Errorf("%v was answered and arrived %d times", ref, n)
			}
		case NotSent:
			if n != 0 {
				t.Errorf("%v was not sent and arrived %d times", ref, n)
			}
		case UnknownOutcome:
			if n > 1 {
				t.Errorf("%v arrived %d times", ref, n)
			}
		default:
			t.Errorf("%v failed with kind %v", ref, kind)
		}
		return true
	})
	if answered < 100 {
		t.Errorf("only %d of 600 requests were answered: the test proves little", answered)
	}
}

func TestNetHTTPIsGivenNoMeansToRepeatASend(t *testing.T) {
	t.Parallel()
	c := clientOf(t, "http://127.0.0.1:1/v3")
	req, err := c.build(t.Context(), operation{name: "POST /sms/send", effect: true, payload: oneSMS()})
	if err != nil {
		t.Fatal(err)
	}
	if req.GetBody != nil || req.Body == nil || req.ContentLength <= 0 {
		t.Errorf("GetBody %v, Body %v, ContentLength %d", req.GetBody != nil, req.Body, req.ContentLength)
	}
}

func TestAWriteOfWhichTheKernelTookNothingIsNotSent(t *testing.T) {
	t.Parallel()
	a := newAttempt(t.Context())
	for range 2 {
		if n, err := a.step(func() (int, error) { return 0, syscall.EPIPE }); n != 0 || err != syscall.EPIPE {
			t.Errorf("step gives %d, %v", n, err)
		}
	}
	if wrote, _ := a.finish(false); wrote {
		t.Error("a failed write counts as written")
	}
	if _, err := a.step(func() (int, error) { t.Error("written after the end"); return 1, nil }); err == nil {
		t.Error("a step after the end gives no error")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) {
		for c.request() {
			c.answer()
		}
	})
	c := clientOf(t, s.url())
	for range 20 {
		if err := sendOne(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.connections(); n != 1 {
		t.Errorf("20 requests took %d connections", n)
	}
}

func TestNotSentWhenNoConnectionCanBeMade(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	plain := newRawServer(t, func(c *rawConn) { c.write("HTTP/1.1 400 Bad Request\r\n\r\n") })
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = quiet()
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	var proxied atomic.Int32
	refusing := newRawServer(t, func(c *rawConn) {
		_, _ = http.ReadRequest(c.reader)
		proxied.Add(1)
		c.write("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
	})
	throughProxy := func(addr string) func(*Client) {
		return func(c *Client) {
			c.transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: addr, User: url.UserPassword("p", testKey)})
		}
	}
	for name, c := range map[string]struct {
		base   string
		change func(*Client)
	}{
		"refused":              {"http://" + closed + "/v3", nil},
		"no TLS there":         {"https://" + plain.listener.Addr().String() + "/v3", nil},
		"untrusted":            {untrusted.URL + "/v3", nil},
		"proxy refused":        {"https://example.test/v3", throughProxy(closed)},
		"proxy says no":        {"https://example.test/v3", throughProxy(refusing.listener.Addr().String())},
		"plain, proxy refused": {"http://example.test/v3", throughProxy(closed)},
	} {
		client := clientOf(t, c.base)
		if c.change != nil {
			c.change(client)
		}
		err := sendOne(t.Context(), client)
		if KindOf(err) != NotSent {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), testKey) {
			t.Errorf("%s: a secret is in %v", name, err)
		}
	}
	if proxied.Load() != 1 {
		t.Errorf("the proxy was asked %d times", proxied.Load())
	}
}

func TestNotSentWhenTheContextEndedFirst(t *testing.T) {
	t.Parallel()
	p := &provider{body: answerBody}
	c := serve(t, p)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: expired} {
		if err := sendOne(ctx, c); KindOf(err) != NotSent || !errors.Is(err, want) {
			t.Errorf("%v: %v", want, err)
		}
	}
	if p.count() != 0 {
		t.Error("something was sent")
	}
}

// stopped is the context of a process that was stopped: its deadline is past,
// and its timer has not run.
type stopped struct{ context.Context }

func (stopped) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestNothingIsWrittenAfterTheDeadlineEvenIfItsTimerHasNotRun(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) { c.request() })
	err := sendOne(stopped{t.Context()}, clientOf(t, s.url()))
	if KindOf(err) != NotSent || !errors.Is(err, errLate) {
		t.Errorf("send: %v", err)
	}
	s.stop()
	if n := s.received(); n != 0 {
		t.Errorf("the server received %d bytes", n)
	}
}

// latecomer is a context whose deadline passes after some questions.
type latecomer struct {
	context.Context
	asked atomic.Int32
	after int32
}

func (l *latecomer) Deadline() (time.Time, bool) {
	if l.asked.Add(1) > l.after {
		return time.Now().Add(-time.Millisecond), true
	}
	return time.Now().Add(time.Hour), true
}

func TestAWriteThatWouldGoOnAfterTheDeadlineIsCutOff(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) { c.request() })
	c := clientOf(t, s.url(), func(cfg *Config) { cfg.Timeout = 2 * time.Hour })
	big := strings.Repeat("x", 1<<20)
	ctx := &latecomer{Context: t.Context(), after: 12}
	_, err := c.SMS.Send(ctx, []SMSMessage{{To: "+61411111111", Body: big, CustomString: "late"}})
	if KindOf(err) != UnknownOutcome || !errors.Is(err, errLate) {
		t.Errorf("send: %v", err)
	}
	s.stop()
	if n := s.received(); n >= 1<<20 || s.seen()["late"] != 0 {
		t.Errorf("the server received %d bytes", n)
	}
}

func TestATimeoutAfterTheRequestWasWrittenLeavesItUnknownAndResetsTheConnection(t *testing.T) {
	t.Parallel()
	broken := make(chan error, 1)
	s := newRawServer(t, func(c *rawConn) {
		c.request()
		_, err := c.reader.ReadByte()
		broken <- err
	})
	c := clientOf(t, s.url(), func(cfg *Config) { cfg.Timeout = 50 * time.Millisecond })
	err := sendOne(t.Context(), c)
	if KindOf(err) != UnknownOutcome || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send: %v", err)
	}
	if err := <-broken; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
}

func TestACancelledContextEndsAReadWithinItsBody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newRawServer(t, func(c *rawConn) {
		c.request()
		c.write(wholeAnswer[:len(wholeAnswer)-5])
		cancel()
		_, _ = c.reader.ReadByte()
	})
	if _, err := clientOf(t, s.url()).Account.Get(ctx); KindOf(err) != Unanswered || !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
}

func TestAServerThatStopsReadingDoesNotHoldASendBeyondItsDeadline(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	var total int64
	s := newRawServer(t, func(c *rawConn) {
		_ = c.SetReadBuffer(4096)
		<-ended
		// What the kernel held back when the request died must not come now.
		total, _ = io.Copy(io.Discard, c.reader)
	})
	c := clientOf(t, s.url(), func(cfg *Config) { cfg.Timeout = 6 * time.Second })
	messages := make([]SMSMessage, MaxMessages)
	for i := range messages {
		messages[i] = SMSMessage{To: "+61411111111", Body: strings.Repeat("x", 12_000)}
	}
	start := time.Now()
	_, err := c.SMS.Send(t.Context(), messages)
	if KindOf(err) != UnknownOutcome || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send: %v", err)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("the send took %s", d)
	}
	close(ended)
	c.Close()
	s.listener.Close()
	s.done.Wait()
	if total >= 12_000_000 {
		t.Errorf("the server received all of the request: %d bytes", total)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := &provider{status: status, header: map[string]string{"Location": "/v3/sms/send"}}
		c := serve(t, p)
		if err := sendOne(t.Context(), c); KindOf(err) != UnknownOutcome {
			t.Errorf("%d: send gives %v", status, err)
		}
		p.only(t)
	}
}

func TestOnlyHTTP1IsSpoken(t *testing.T) {
	t.Parallel()
	var proto atomic.Value
	c, _ := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		_, _ = io.WriteString(w, answerBody)
	})
	if err := sendOne(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if proto.Load() != "HTTP/1.1" {
		t.Errorf("the client spoke %v", proto.Load())
	}
}

func TestAnAnswerBeyondTheBoundIsAnError(t *testing.T) {
	t.Parallel()
	big := `{"http_code":200,"response_code":"SUCCESS","data":{"messages":[],"x":"` + strings.Repeat("y", 5000) + `"}}`
	for _, chunked := range []bool{false, true} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if chunked {
				w.(http.Flusher).Flush()
			}
			_, _ = io.WriteString(w, big)
		})
		bounded := func(n int64) *Client {
			return serve(t, h, func(cfg *Config) { cfg.MaxBody = n })
		}
		if err := sendOne(t.Context(), bounded(4096)); KindOf(err) != UnknownOutcome {
			t.Errorf("chunked=%v: send gives %v", chunked, err)
		}
		if _, err := bounded(4096).SMS.Price(t.Context(), oneSMS()); KindOf(err) != Unreadable || !strings.Contains(err.Error(), "longer than 4096 bytes") {
			t.Errorf("chunked=%v: price gives %v", chunked, err)
		}
		if err := sendOne(t.Context(), bounded(int64(len(big)))); err != nil {
			t.Errorf("chunked=%v: an answer of just the bound gives %v", chunked, err)
		}
	}
}

func TestTheRateHeadersArePassedOn(t *testing.T) {
	t.Parallel()
	type seen struct {
		endpoint string
		info     RateInfo
	}
	var got []seen
	p := &provider{body: answerBody}
	c := serve(t, p, func(cfg *Config) {
		cfg.OnRate = func(endpoint string, r RateInfo) { got = append(got, seen{endpoint, r}) }
	})
	call := func(status int, header map[string]string) {
		p.answers(status, header, answerBody)
		_ = sendOne(t.Context(), c)
	}
	call(200, nil)
	call(500, nil)
	if len(got) != 0 {
		t.Errorf("%v was passed on for answers that say nothing of rates", got)
	}
	call(200, map[string]string{"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "57"})
	call(429, map[string]string{"Retry-After": "3"})
	call(429, nil)
	want := []seen{
		{"POST /sms/send", RateInfo{HTTPStatus: 200, Limit: 20, Remaining: 0, Reset: 57 * time.Second, RetryAfter: -1}},
		{"POST /sms/send", RateInfo{HTTPStatus: 429, Limit: -1, Remaining: -1, Reset: -1, RetryAfter: 3 * time.Second}},
		{"POST /sms/send", RateInfo{HTTPStatus: 429, Limit: -1, Remaining: -1, Reset: -1, RetryAfter: -1}},
	}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, wait := range []time.Duration{57 * time.Second, 3 * time.Second, 0} {
		if got[i].info.Wait() != wait {
			t.Errorf("Wait of %+v is %s, want %s", got[i].info, got[i].info.Wait(), wait)
		}
	}
}

// serveTLS starts a server that offers HTTP/2 and a client that trusts it. The
// counter is of bytes of HTTP that the server saw.
func serveTLS(t *testing.T, h http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	c := clientOf(t, server.URL+"/v3")
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	c.transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return c, server
}
