package clicksend

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestTheGuardIsAskedOnceRightBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) {
		for c.request() {
			c.answer()
		}
	})
	c := clientOf(t, s.url())
	for i := range 3 { // the first on a fresh connection, the rest on a reused one
		before := s.received()
		asked, atGuard := 0, int64(-1)
		ctx := WithGuard(t.Context(), func() error {
			asked++
			atGuard = s.received()
			return nil
		})
		messages := []SMSMessage{{To: "+61411111111", Body: strings.Repeat("x", 300_000), CustomString: "g"}}
		if _, err := c.SMS.Send(ctx, messages); err != nil {
			t.Fatal(err)
		}
		if asked != 1 || atGuard != before {
			t.Errorf("request %d: the guard was asked %d times, %d bytes after the request began", i, asked, atGuard-before)
		}
	}
}

func TestARefusingGuardLetsNothingBeWritten(t *testing.T) {
	t.Parallel()
	refusal := errors.New("the campaign is paused")
	s := newRawServer(t, func(c *rawConn) {
		for c.request() {
			c.answer()
		}
	})
	c := clientOf(t, s.url())
	for _, reused := range []bool{false, true} {
		if reused {
			if err := sendOne(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		before := s.received()
		err := sendOne(WithGuard(t.Context(), func() error { return refusal }), c)
		if KindOf(err) != NotSent || !errors.Is(err, refusal) {
			t.Errorf("reused=%v: %v", reused, err)
		}
		if n := s.received() - before; n != 0 {
			t.Errorf("reused=%v: %d bytes were written", reused, n)
		}
	}
	// A request without a body is one that net/http would try again.
	if err := sendOne(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	asked := 0
	err := c.SMS.Cancel(WithGuard(t.Context(), func() error { asked++; return refusal }), "A1")
	if KindOf(err) != NotSent || !errors.Is(err, refusal) || asked != 1 {
		t.Errorf("cancel: %v after %d questions", err, asked)
	}
	s.stop()
	if got := s.seen()["PUT /v3/sms/A1/cancel"]; got != 0 {
		t.Errorf("the cancel arrived %d times", got)
	}
}

func TestTheGuardHoldsBeneathTLS(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	c, _ := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, answerBody)
	})
	refusal := errors.New("no")
	for i := range 3 {
		asked := 0
		err := sendOne(WithGuard(t.Context(), func() error { asked++; return refusal }), c)
		if KindOf(err) != NotSent || !errors.Is(err, refusal) || asked != 1 {
			t.Errorf("refused %d: %v after %d questions", i, err, asked)
		}
		if n := requests.Load(); int(n) != i {
			t.Errorf("the server saw %d requests, want %d", n, i)
		}
		asked = 0
		if err := sendOne(WithGuard(t.Context(), func() error { asked++; return nil }), c); err != nil || asked != 1 {
			t.Errorf("allowed %d: %v after %d questions", i, err, asked)
		}
	}
	if err := sendOne(stopped{t.Context()}, c); KindOf(err) != NotSent || !errors.Is(err, errLate) {
		t.Errorf("late: %v", err)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("the server saw %d requests, want 3", n)
	}
}

func TestAGuardThatOutlastsTheContextLetsNothingBeWritten(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var requests atomic.Int32
		h := func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			_, _ = io.WriteString(w, answerBody)
		}
		var c *Client
		if secure {
			c, _ = serveTLS(t, h)
		} else {
			c = serve(t, http.HandlerFunc(h))
		}
		ctx, cancel := context.WithCancel(t.Context())
		release, returned := make(chan struct{}), make(chan struct{})
		guarded := WithGuard(ctx, func() error {
			cancel()
			<-release // the call fails meanwhile
			close(returned)
			return nil
		})
		err := sendOne(guarded, c)
		if KindOf(err) != NotSent || !errors.Is(err, context.Canceled) {
			t.Errorf("tls=%v: %v", secure, err)
		}
		close(release)
		<-returned
		// Whatever the guard set free has had its chance once another request
		// is through.
		if err := sendOne(t.Context(), c); err != nil {
			t.Error(err)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("tls=%v: the server saw %d requests, want 1", secure, n)
		}
	}
}

func TestAGuardThatUsesUpTheTimeLetsNothingBeWritten(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) { c.request() })
	c := clientOf(t, s.url())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := sendOne(WithGuard(ctx, func() error { <-ctx.Done(); return nil }), c)
	if KindOf(err) != NotSent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send: %v", err)
	}
	s.stop()
	if n := s.received(); n != 0 {
		t.Errorf("%d bytes were written", n)
	}
}

func TestAnAnswerToARequestThatWasNeverWrittenIsNotItsAnswer(t *testing.T) {
	t.Parallel()
	asked, over := make(chan struct{}), make(chan struct{})
	s := newRawServer(t, func(c *rawConn) {
		<-asked
		c.answer()
		c.request()
	})
	c := clientOf(t, s.url())
	err := sendOne(WithGuard(t.Context(), func() error {
		close(asked)
		<-over
		return nil
	}), c)
	close(over)
	if KindOf(err) != NotSent {
		t.Errorf("send: %v", err)
	}
	c.Close()
	s.stop()
	if n := s.received(); n != 0 {
		t.Errorf("%d bytes were written", n)
	}
}
