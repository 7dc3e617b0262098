package services

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a server gets to end in good order before it is killed.
const stopPatience = 20 * time.Second

// startPatience is how long a restarted server gets until it takes connections,
// recovery after a crash included.
const startPatience = 60 * time.Second

// process is one server program: how to run it, and the run that is under way.
type process struct {
	name  string // for error messages
	path  string // the program
	args  func(port int) []string
	env   []string            // the whole environment of the program
	user  *syscall.Credential // nil: whoever runs the test
	ready string              // the words in its log that say it takes connections

	term    syscall.Signal // asks it to end in good order
	orphan  syscall.Signal // what the kernel sends it when the test program dies
	journal *journal       // the end of its log

	mu   sync.Mutex
	port int
	run  *run // nil when it is not running
}

// run is one life of a process.
type run struct {
	pid    int
	exited chan struct{} // closed when the program and all that share its log are gone
	err    error         // how it ended; read after exited
}

// startOnFreePort starts the program on a port that nobody listens on. Another
// program may take the port between the look and the bind, so it tries a few.
func (p *process) startOnFreePort(ctx context.Context) error {
	var err error
	for range 8 {
		if p.port, err = freePort(); err != nil {
			return err
		}
		if err = p.start(ctx); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

// start runs the program on p.port and returns when it takes connections.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s is already running: stop or kill it first", p.name)
	}
	isReady := p.journal.await(p.ready)
	r, err := p.launch()
	if err != nil {
		return fmt.Errorf("run %s: %w", p.path, err)
	}
	select {
	case <-isReady:
		p.run = r
		return nil
	case <-r.exited:
		err = fmt.Errorf("%s ended before it was ready (%v); its log ends:\n%s", p.name, r.err, p.journal)
		if p.journal.contains("Address already in use") {
			err = fmt.Errorf("%w: %w", syscall.EADDRINUSE, err)
		}
		return err
	case <-ctx.Done():
		signal(r.pid, syscall.SIGKILL)
		<-r.exited
		return fmt.Errorf("%s was not ready in time: %w; its log ends:\n%s", p.name, ctx.Err(), p.journal)
	}
}

// launch forks the program. The kernel sends the orphan signal when the *thread*
// that forked ends, so the goroutine that forks keeps its thread to itself for
// as long as the program lives.
func (p *process) launch() (*run, error) {
	cmd := exec.Command(p.path, p.args(p.port)...)
	cmd.Env = p.env
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = p.journal, p.journal
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true, // Ctrl-C in the terminal is for the test program
		Credential: p.user,
	}
	dieWithParent(cmd.SysProcAttr, p.orphan)

	r := &run{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			r.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			r.err = cmd.Wait()
			close(r.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

// running tells whether the program lives, and forgets a life that ended by itself,
// lest its process id be another's by now. The caller holds mu.
func (p *process) running() bool {
	if p.run == nil {
		return false
	}
	select {
	case <-p.run.exited:
		p.run = nil
		return false
	default:
		return true
	}
}

// stop ends the program in good order. A program that is not running is fine.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return nil
	}
	signal(p.run.pid, p.term)
	for _, pid := range append(childrenOf(p.run.pid), p.run.pid) {
		signal(pid, syscall.SIGCONT) // a paused program hears nothing
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-p.run.exited:
		p.run = nil
		return nil
	case <-patience.C:
		p.killLocked()
		return fmt.Errorf("%s did not end within %v and was killed; its log ends:\n%s", p.name, stopPatience, p.journal)
	}
}

// kill ends the program as a power cut would: SIGKILL, to its children as well.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s is not running: nothing to kill", p.name)
	}
	p.killLocked()
	return nil
}

func (p *process) killLocked() {
	signal(p.run.pid, syscall.SIGSTOP) // no new children while they are listed
	children := childrenOf(p.run.pid)
	signal(p.run.pid, syscall.SIGKILL)
	for _, pid := range children {
		signal(pid, syscall.SIGKILL)
	}
	<-p.run.exited
	p.run = nil
}

// restart stops the program if it runs and starts it on the same port.
func (p *process) restart() error {
	if err := p.stop(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	return p.start(ctx)
}

// pause stops the program in its tracks, and its children with it: connections
// stay open, nobody answers.
func (p *process) pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s is not running: nothing to pause", p.name)
	}
	signal(p.run.pid, syscall.SIGSTOP)
	if err := awaitStopped(p.run.pid); err != nil {
		return err
	}
	for _, pid := range childrenOf(p.run.pid) {
		signal(pid, syscall.SIGSTOP)
	}
	return nil
}

// resume lets a paused program go on.
func (p *process) resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s is not running: nothing to resume", p.name)
	}
	for _, pid := range childrenOf(p.run.pid) {
		signal(pid, syscall.SIGCONT)
	}
	signal(p.run.pid, syscall.SIGCONT)
	return nil
}

// signal sends s to the process pid. A process that has gone meanwhile is not an
// error: whoever waits for it learns of that by run.exited.
func signal(pid int, s syscall.Signal) { _ = syscall.Kill(pid, s) }

// freePort finds a port on 127.0.0.1 that nobody listens on, below the range from
// which the kernel takes the ports of outgoing connections (32768 and up on
// Linux), so that a server that was killed finds its port still free.
func freePort() (int, error) {
	for range 200 {
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, errors.New("no free port between 15000 and 32000 on 127.0.0.1")
}

// journalLines is how much of a server's log is kept for error messages.
const journalLines = 40

// journal keeps the last lines of a server's log and tells when awaited words come.
type journal struct {
	mu     sync.Mutex
	lines  []string
	rest   string // the line that is not complete yet
	marker string
	seen   chan struct{} // closed when marker came; nil when nobody waits
}

// await forgets the log so far and returns a channel that closes when a line with
// marker comes.
func (j *journal) await(marker string) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := make(chan struct{})
	j.lines, j.rest, j.marker, j.seen = nil, "", marker, seen
	return seen
}

// Write takes a piece of the log.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	parts := strings.Split(j.rest+string(b), "\n")
	j.rest = parts[len(parts)-1]
	for _, line := range parts[:len(parts)-1] {
		if j.seen != nil && strings.Contains(line, j.marker) {
			close(j.seen)
			j.seen = nil
		}
		j.lines = append(j.lines, line)
	}
	if extra := len(j.lines) - journalLines; extra > 0 {
		j.lines = append([]string(nil), j.lines[extra:]...)
	}
	return len(b), nil
}

func (j *journal) contains(words string) bool { return strings.Contains(j.String(), words) }

// String is the last lines of the log.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(append(j.lines[:len(j.lines):len(j.lines)], j.rest), "\n")
}
