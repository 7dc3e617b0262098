package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionJSON is what `version --json` prints.
type versionJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"`     // of the commit
	Modified bool   `json:"modified,omitempty"` // built from more than the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (m *Main) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which Postrider this is",
		Args:        exactArgs(0, "nothing else"),
		Annotations: map[string]string{"config": "none"},
		RunE:        func(*cobra.Command, []string) error { return m.sayVersion() },
	}
}

// sayVersion prints which Postrider this is, and what it was built from.
func (m *Main) sayVersion() error {
	v := versionJSON{Version: m.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if m.json {
		return m.printJSON(v)
	}
	line := "postrider " + v.Version
	if v.Commit != "" {
		line += ", commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			line += " with changes"
		}
	}
	m.say("%s, %s, %s", line, v.Go, v.Platform)
	return nil
}
