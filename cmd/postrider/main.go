// Postrider sends bulk campaigns of SMS, MMS, letters and postcards through
// the ClickSend REST v3 API.
package main

import (
	"context"
	"os"
)

// version is set by the linker.
var version = "development"

func main() {
	m := &Main{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: os.Environ(), Version: version,
		Interrupts: interrupts(),
		Exit:       os.Exit,
	}
	os.Exit(m.Run(context.Background(), os.Args[1:]))
}
