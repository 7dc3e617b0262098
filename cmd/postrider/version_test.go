package main

import (
	"runtime"
	"testing"
)

func TestTheVersionIsSaid(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("version").exits(exitDone).says("postrider 1.2.3", runtime.Version(), runtime.GOOS)
	s.run("version", "--json").exits(exitDone).holds(map[string]any{"version": "1.2.3", "go": runtime.Version()})
	s.run("--version").exits(exitDone).says("postrider 1.2.3", runtime.Version())
	s.run("--version", "--json").exits(exitDone).holds(map[string]any{"version": "1.2.3"})
	s.run().exits(exitDone).says("Available Commands")
	s.run("nothing").exits(exitUsage)
	s.run("version", "now").exits(exitUsage)
}

func TestTheVersionIsSaidUnderABrokenConfiguration(t *testing.T) {
	t.Parallel()
	newShell(t).with("POSTRIDER_RATE=fast").run("version").exits(exitDone).says("1.2.3")
}
