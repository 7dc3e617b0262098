// Postrider sends bulk campaigns of SMS, MMS, letters and postcards through
// the ClickSend REST v3 API.
package main

import (
	"context"
	"os"
	"runtime/debug"
)

// version is set by the linker.
var version = "development"

func main() {
	// A batch's messages live for a moment: collecting half as often costs
	// some 30 MB and saves a tenth of the time (docs/benchmarks.md).
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	m := &Main{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: os.Environ(), Version: version,
		Interrupts: interrupts(),
		Exit:       os.Exit,
	}
	os.Exit(m.Run(context.Background(), os.Args[1:]))
}
