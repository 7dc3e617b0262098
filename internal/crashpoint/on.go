//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// armed is the point at which this process ends. It is read from the environment
// once, because the points lie where nobody could hand it in.
var armed = sync.OnceValue(func() *trap {
	t, err := parse(os.Getenv("CRASHPOINT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "CRASHPOINT:", err)
		os.Exit(2)
	}
	return t
})

// trap is what happens at which passing of which point.
type trap struct {
	at     Point
	nth    int64
	signal syscall.Signal
	passed atomic.Int64
}

func parse(s string) (*trap, error) {
	t := &trap{nth: 1, signal: syscall.SIGKILL}
	if s == "" {
		return t, nil
	}
	name, rest, _ := strings.Cut(s, ":")
	t.at = Point(name)
	if !slices.Contains(Points(), t.at) {
		return nil, fmt.Errorf("there is no point %q", name)
	}
	for rest != "" {
		var word string
		word, rest, _ = strings.Cut(rest, ":")
		n, err := strconv.ParseInt(word, 10, 64)
		switch {
		case word == "kill":
			t.signal = syscall.SIGKILL
		case word == "stop":
			t.signal = syscall.SIGSTOP
		case err == nil && n > 0:
			t.nth = n
		default:
			return nil, fmt.Errorf("%q: expected NAME[:NTH][:kill|stop]", s)
		}
	}
	return t, nil
}

// Here ends or stops the process if it was told so.
func Here(p Point) {
	t := armed()
	if t.at != p || t.passed.Add(1) != t.nth {
		return
	}
	fmt.Fprintln(os.Stderr, "crash point", p)
	if err := syscall.Kill(os.Getpid(), t.signal); err != nil {
		panic(err)
	}
	if t.signal == syscall.SIGKILL {
		select {} // another thread may take the signal: nothing may happen meanwhile
	}
	// Likewise. When the process goes on, this has long passed.
	time.Sleep(50 * time.Millisecond)
}

// Before is the point before a write.
func Before(w Write) { Here(w.before()) }

// Inside is the point at the end of a write, before its commit.
func Inside(w Write) { Here(w.inside()) }

// After is the point after the commit of a write.
func After(w Write) { Here(w.after()) }
