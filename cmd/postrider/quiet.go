package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
)

// saidInProse are the engine's records that a command which brings a campaign
// to its end leaves out: it says the same in plain words (sayWaits).
var saidInProse = [...]string{"nobody knows whether a batch was accepted", "looked into the provider's history"}

// driveLog is the engine's log in a command that shows how far a campaign is:
// only what needs attention, above the bar. Who sets the level to debug sees
// everything.
func (m *Main) driveLog() *slog.Logger {
	w := m.Stderr
	if m.atTerminal() {
		w = &aboveBar{w}
	}
	log := m.logTo(w)
	if m.cfg.LogLevel < slog.LevelInfo {
		return log
	}
	return slog.New(&quietHandler{log.Handler()})
}

// quietHandler passes on warnings and errors, without what is said in prose.
type quietHandler struct{ slog.Handler }

// Enabled reports whether a record of the level may be passed on.
func (h *quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// Handle passes a record on, unless it is said in prose.
func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	for _, said := range saidInProse {
		if strings.HasPrefix(r.Message, said) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler that adds attributes.
func (h *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler that opens a group.
func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.Handler.WithGroup(name)}
}

// aboveBar writes whole lines where a progress bar stands, which draws itself
// anew below them.
type aboveBar struct{ w io.Writer }

// Write writes p in place of the bar.
func (a *aboveBar) Write(p []byte) (int, error) {
	var line bytes.Buffer
	line.WriteString(clearLine)
	line.Write(p)
	if _, err := a.w.Write(line.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clearLine empties the line of a terminal.
const clearLine = "\r\x1b[K"
