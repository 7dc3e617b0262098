package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// meter shows how far a long step is, with rate and time left: as a bar on a
// terminal, as a plain line now and then elsewhere.
type meter struct {
	w    io.Writer
	what string
	unit string
	bar  *progressbar.ProgressBar // nil where there is no terminal

	mu    sync.Mutex
	begun time.Time
	first int // where it stood when it began: what was done before is no rate
	told  time.Time
	last  string
}

// plainEvery is how often a plain line is written at most.
const plainEvery = 5 * time.Second

// newMeter begins a step. Nothing is shown until the first report.
func (m *Main) newMeter(what, unit string) *meter {
	t := &meter{w: m.Stderr, what: what, unit: unit, begun: time.Now(), told: time.Now()}
	if m.atTerminal() {
		t.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(m.Stderr),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSpinnerType(14),
			// Or a goroutine of the library's turns the spinner, and reads the bar while
			// we write it.
			progressbar.OptionSetSpinnerChangeInterval(0),
			progressbar.OptionClearOnFinish())
	}
	return t
}

// Report says that done of total are done; a total of 0 is unknown.
func (t *meter) Report(done, total int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		if total > 0 && t.bar.GetMax64() != int64(total) {
			t.bar.ChangeMax(total)
		}
		_ = t.bar.Set(done)
		return
	}
	if time.Since(t.told) < plainEvery {
		return
	}
	t.told = time.Now()
	t.line(done, total)
}

// line writes a plain line.
func (t *meter) line(done, total int) {
	rate := float64(done-t.first) / max(time.Since(t.begun).Seconds(), 0.001)
	s := fmt.Sprintf("%s: %s", t.what, number(done))
	if total > 0 {
		s += " of " + number(total)
	}
	s += fmt.Sprintf(" %s, %s/s", t.unit, number(int(rate)))
	if total > done && rate > 0 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		s += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	if s != t.last {
		fmt.Fprintln(t.w, s)
	}
	t.last = s
}

// End takes the bar away. What the step came to is said by its caller.
func (t *meter) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		_ = t.bar.Finish()
	}
}
