// Postrider sends bulk campaigns of SMS, MMS, letters and postcards through
// the ClickSend REST v3 API.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/redis/go-redis/v9"
)

// version is set by the linker.
var version = "development"

func main() {
	// A batch's messages live for a moment: collecting them half as often saves
	// a tenth of the time, as long as it costs little memory (docs/benchmarks.md).
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(112 << 20)
	}
	redis.SetLogger(silence{}) // what Redis does not answer is said in our own words
	m := &Main{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: os.Environ(), Version: version,
		Interrupts: interrupts(),
		Exit:       os.Exit,
	}
	os.Exit(m.Run(context.Background(), os.Args[1:]))
}

// silence is a log that keeps nothing.
type silence struct{}

// Printf does nothing.
func (silence) Printf(context.Context, string, ...any) {}
