package clicksend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVariable names the base URL to which a child process sends.
const childVariable = "CLICKSEND_TEST_CHILD"

// childLife is how long the child's request may take.
const childLife = 300 * time.Millisecond

// child is a worker that is stopped between its guard's yes and its first
// byte, for longer than its request may take.
func child() bool {
	base := os.Getenv(childVariable)
	if base == "" {
		return false
	}
	c, err := New(Config{BaseURL: base, Username: testUser, APIKey: testKey, Timeout: childLife})
	if err != nil {
		fmt.Println(err)
		return true
	}
	ctx := WithGuard(context.Background(), func() error {
		// Sent to this very thread, the signal stops the process before the
		// guard can answer; sent to the process, another thread may take it
		// while this one goes on to write.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
	})
	fmt.Println(KindOf(sendOne(ctx, c)))
	return true
}

func TestAProcessThatWasStoppedSendsNothingWhenItWakes(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(c *rawConn) {
		if c.request() {
			c.answer()
		}
	})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+s.url())
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the child did not stop but %v, %v: %s", status, err, out.String())
	}
	// Nothing but time itself can make the child late.
	time.Sleep(childLife + 100*time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	s.stop()
	if got := strings.TrimSpace(out.String()); got != string(NotSent) || s.received() != 0 {
		t.Errorf("the child says %q, and the server received %d bytes", got, s.received())
	}
}
