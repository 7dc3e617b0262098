package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a run of the program.
type process struct {
	t              testing.TB
	line           string // of the shell, for messages
	stdout, stderr *output
	pid            int
	exited         chan struct{} // closed when it has ended; code stands then
	code           int           // -1 when a signal ended it
}

// start runs a command line in a folder with an environment. The process is
// killed when the test ends, or the test program dies.
func start(t testing.TB, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C at the terminal is the test program's
	dieWithParent(cmd.SysProcAttr)
	p := &process{t: t, line: "postrider " + strings.Join(args, " "), stdout: &output{}, stderr: &output{}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that forked it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		// The exit code says what there is to say.
		_ = cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", p.line, err)
	}
	t.Cleanup(func() {
		p.kill()
		looked := p.code == 0 && strings.Contains(p.line, " campaign status ")
		if t.Failed() && !looked {
			t.Logf("%s (exit code %d)\nstdout:\n%s\nstderr:\n%s", p.line, p.code, tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

// tail is the end of a long text.
func tail(s string) string {
	const most = 6000
	if len(s) > most {
		return "... " + s[len(s)-most:]
	}
	return s
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process as kill -9 does, and returns when it is gone.
func (p *process) kill() {
	if p.running() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may end meanwhile
	}
	<-p.exited
}

// signal sends what Ctrl-C or an init system sends.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid, s.(syscall.Signal)); err != nil {
		p.t.Fatalf("%s: signal %v: %v", p.line, s, err)
	}
}

// await waits until the process has written the words.
func (p *process) await(words string) {
	p.t.Helper()
	eventually(p.t, time.Minute, fmt.Sprintf("%s: %q", p.line, words), func() bool {
		if strings.Contains(p.stderr.String(), words) || strings.Contains(p.stdout.String(), words) {
			return true
		}
		if !p.running() {
			p.t.Fatalf("%s ended with exit code %d before it said %q", p.line, p.code, words)
		}
		return false
	})
}

// wait returns the exit code.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(within):
		_ = syscall.Kill(p.pid, syscall.SIGQUIT) // its goroutines go to stderr
		select {
		case <-p.exited:
		case <-time.After(5 * time.Second):
		}
		p.t.Fatalf("%s has not ended within %s", p.line, within)
	}
	return p.code
}

// stop ends a role in good order.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(2 * time.Minute); code != 0 {
		p.t.Errorf("%s: exit code %d after SIGTERM, want 0", p.line, code)
	}
}

// interrupt is Ctrl-C.
const interrupt = syscall.SIGINT
